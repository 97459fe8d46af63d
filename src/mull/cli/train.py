"""``mull train``: the small world's models again, from nothing; verifiers and revisers of real models."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mull.cli import tune
from mull.errors import MullError


def add(commands: Any) -> None:
    """Put the command on the parser."""
    own = commands.add_parser(
        "train",
        help="train models (needs an extra: pip install 'mull[train]')",
        description="Train models. Needs torch: pip install 'mull[train]', or 'mull[lora]' for real ones.",
        epilog="examples:\n  mull train tiny --out my-tiny\n  mull train prm --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = own.add_subparsers(dest="kind", required=True, metavar="WHAT", title="what to train")
    tiny = kinds.add_parser(
        "tiny",
        help="the small world's models",
        description="Train the small world's models; goes on where it was cut off.",
        epilog="examples:\n  mull train tiny --out my-tiny\n"
        "  mull train tiny --out my-tiny --stages proposer,labels,prm\n"
        "  mull train tiny --out trial --scale 0.1     # a tenth of everything, poor models",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    tiny.add_argument(
        "--out", type=Path, default=Path("mull-tiny"), metavar="DIR", help="default: %(default)s"
    )
    tiny.add_argument("--stages", default="", metavar="A,B,...", help="only these stages (default: all)")
    tiny.add_argument(
        "--scale",
        type=float,
        default=1.0,
        metavar="PART",
        help="part of the data and of the training to do, above 0 (default: 1, the shipped models' own)",
    )
    tiny.set_defaults(run=run)
    tune.add(kinds)


def run(args: argparse.Namespace) -> int:
    """Train, saying how far it is."""
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError:
        raise MullError("training needs the extra: pip install 'mull[train]'") from None
    from mull.train.tiny import train_tiny

    stages = [stage.strip() for stage in args.stages.split(",") if stage.strip()]
    train_tiny(args.out, lambda line: print(line, flush=True), stages, args.scale)
    return 0
