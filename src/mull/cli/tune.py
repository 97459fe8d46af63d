"""``mull train prm``, ``orm`` and ``reviser``: real checkpoints, on data by any engine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from mull.cli import models
from mull.errors import MullError

_EXAMPLES = """\
examples:
  mull train {kind} --engine http://localhost:8000 --format chat-steps --problems gsm8k \\
      --base Qwen/Qwen2.5-Math-1.5B-Instruct --out my-{kind}
  mull train {kind} --data data.parquet --base Qwen/Qwen2.5-Math-1.5B-Instruct --out my-{kind}
"""
_WHAT = {
    "prm": "a process reward model: step labels by rollouts, a token classifier trained on them",
    "orm": "an outcome reward model: samples that are right or wrong, a sequence classifier",
    "reviser": "a reviser: wrong answers in context, a right one as the target",
}
_SAMPLES = {"prm": 4, "orm": 16, "reviser": 32}


def add(kinds: Any) -> None:
    """Put the three commands on the parser of ``mull train``."""
    for kind, what in _WHAT.items():
        own = kinds.add_parser(
            kind,
            help=what,
            description=f"Train {what}. Goes on where it was cut off.",
            epilog=_EXAMPLES.format(kind=kind),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        own.add_argument("--base", metavar="MODEL", help="the checkpoint to start from: folder or repository")
        own.add_argument("--out", type=Path, required=True, metavar="DIR", help="where everything is kept")
        own.add_argument("--data", type=Path, metavar="POOL", help="train on this pool, and make no data")
        _add_data(own, kind)
        _add_training(own, kind)
        own.set_defaults(run=run, kind=kind)


def _add_data(own: Any, kind: str) -> None:
    models.add(own)
    group = own.add_argument_group("making data")
    group.add_argument("--problems", metavar="SET", help="tiny, a file, or a data set by name")
    group.add_argument("--split", default="train", help="of the data set (default: %(default)s)")
    group.add_argument("--count", type=int, metavar="N", help="the first N problems (default: all)")
    models.add_grader(group)
    group.add_argument(
        "--samples", type=int, default=_SAMPLES[kind], metavar="N", help="a problem (default: %(default)s)"
    )
    if kind == "prm":
        group.add_argument(
            "--rollouts", type=int, default=8, metavar="N", help="from every step (default: %(default)s)"
        )
    group.add_argument("--temperature", type=float, default=1.0, help="default: %(default)s")
    group.add_argument("--max-tokens", type=int, metavar="N", help="a solution (default: 2048; tiny: 256)")
    group.add_argument("--data-only", action="store_true", help="make the data and stop")


def _add_training(own: Any, kind: str) -> None:
    group = own.add_argument_group("training")
    group.add_argument(
        "--rank", type=int, default=16, help="of LoRA's adapters; 0 trains all weights (default: %(default)s)"
    )
    group.add_argument("--alpha", type=int, default=32, help="LoRA's (default: %(default)s)")
    group.add_argument("--lr", type=float, default=2e-4, help="learning rate (default: %(default)s)")
    group.add_argument("--epochs", type=float, default=1.0, help="default: %(default)s")
    group.add_argument("--batch-tokens", type=int, default=8192, metavar="N", help="default: %(default)s")
    group.add_argument("--accumulate", type=int, default=1, metavar="N", help="batches an update")
    group.add_argument("--limit", type=int, default=4096, metavar="N", help="tokens of the longest sequence")
    group.add_argument("--checkpointing", action="store_true", help="less memory, more time")
    group.add_argument("--train-device", default="auto", help="default: cuda if there is one")
    group.add_argument(
        "--train-dtype", default="auto", help="of the frozen weights (default: the checkpoint's)"
    )
    group.add_argument("--seed", type=int, default=0, help="of data and training (default: %(default)s)")
    if kind == "prm":
        group.add_argument(
            "--hard",
            action="store_true",
            help="a step is good if any rollout was right (default: their share)",
        )
    if kind == "reviser":
        group.add_argument("--targets", type=int, default=6, metavar="N", help="most examples of a problem")


def run(args: argparse.Namespace) -> int:
    """Make the data, train, say how the result is used."""
    if args.base is None and not args.data_only:
        raise MullError("name the checkpoint to start from with --base (or make only the data: --data-only)")
    if args.data is None and args.problems is None:
        raise MullError("name the problems with --problems and --engine, or data of your own with --data")
    if args.data is not None and (args.problems is not None or args.engine is not None or args.data_only):
        raise MullError("--data takes the place of --problems, --engine and --data-only")
    try:
        from mull.train.adapting import Tuning, tune
        from mull.train.encoding import Encoding
        from mull.train.real import usage
    except ModuleNotFoundError as error:
        what = f"training needs {error.name}, which is in the extra 'lora': pip install 'mull[lora]'"
        raise MullError(what) from None
    from mull.verifiers.prm.tokens import Tokenizer

    try:
        pool = args.data or _data(args)
        if args.data_only:
            return 0
        form = _form(args) if args.kind == "reviser" else None
        how = Encoding(
            args.kind,
            Tokenizer.load(args.base),
            limit=args.limit,
            hard=getattr(args, "hard", False),
            form=form,
            targets=getattr(args, "targets", 6),
            seed=args.seed,
        )
        names = ("rank", "alpha", "lr", "epochs", "batch_tokens", "accumulate", "checkpointing", "seed")
        settings = {name: getattr(args, name) for name in names}
        settings |= {"device": args.train_device, "dtype": args.train_dtype}
        checkpoint = tune(pool, how, Tuning(args.base, **settings), args.out, _say)
    except KeyboardInterrupt:
        print("\nmull: interrupted; the same command goes on", file=sys.stderr)
        return 130
    print(f"done: {checkpoint}\nuse it in a study:\n{usage(args.kind, checkpoint, form)}")
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _form(args: argparse.Namespace) -> Any:
    """The prompt format in which a reviser is shown problems, in training and later."""
    from mull.models import ModelSpec

    given = {name: getattr(args, name) for name in ("format", "steps", "ask", "shots")}
    return ModelSpec(url="http://localhost", **{k: v for k, v in given.items() if v is not None}).form


def _data(args: argparse.Namespace) -> Path:
    import asyncio

    from mull.grading import grader
    from mull.models import engine, model_spec, ready
    from mull.sets import default_grader
    from mull.study.config import load_problems
    from mull.train.real import Data, make_data

    named = args.grader or default_grader(args.problems)
    grader(named)
    problems = load_problems(args.problems, args.count, args.split)
    stepwise = args.kind == "prm"
    chosen = asyncio.run(ready(models.engine(args) or "tiny", "steps" if stepwise else "whole"))
    data = Data(
        problems,
        engine(chosen),
        args.samples,
        rollouts=getattr(args, "rollouts", 1),
        seed=args.seed,
        temperature=args.temperature,
        max_tokens=args.max_tokens or (2048 if model_spec(chosen).served else 256),
        grader=named,
    )
    return make_data(args.kind, data, args.out, _say)
