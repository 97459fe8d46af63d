"""``mull exchange``: the bigger model, or more test-time compute on this one?"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mull.analysis.large_side import Large
    from mull.analysis.small_side import Small
    from mull.exchange_curve import Price

_DESCRIPTION = """\
Compare a study's policy on a small model with one answer of a larger model, at equal total cost:
in FLOPs (pretraining and inference, as the paper does and as measured), or in dollars.
"""
_EXAMPLE = """\
examples:
  mull exchange mull-study --small-params 7B --large-params 70B --large-by-bin 86,51,36,16,6
  mull exchange mull-study --large-study big-study --small-params 7B --large-params 70B --R 0.1,1,10
  mull exchange mull-study --large-accuracy 0.7 --price-small 0.1,0.4 --price-large 2.5,10 \\
      --price-verifier 0.1 --fixed-large 3000 --requests 1e6

Accuracies are fractions, or percentages if one is above 1. Counts may end in k, M, B or T.
docs/exchange.md has the formulae.
"""
_SUFFIXES = {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12}


def add(commands: Any) -> None:
    """Put the command on the parser."""
    own = commands.add_parser(
        "exchange",
        help="a larger model, or more test-time compute on this one?",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    own.add_argument(
        "study", type=Path, metavar="STUDY", help="a finished study's folder, or its summary.json"
    )
    own.add_argument(
        "--difficulty",
        choices=("oracle", "predicted", "charged"),
        default="oracle",
        help="the policy's kind of difficulty (default: %(default)s, the paper's)",
    )
    own.add_argument(
        "--family",
        choices=("search", "revisions", "revisions_majority", "joint"),
        default="search",
        help="the arms that the policy chooses from (default: %(default)s); others need the folder",
    )
    models = own.add_argument_group("the models", "defaults: what the study was recorded with, if it says so")
    models.add_argument("--small-params", type=_count, metavar="N", help="the study's model")
    models.add_argument("--large-params", type=_count, metavar="N")
    models.add_argument(
        "--pretraining-tokens",
        type=_counts(1, 2),
        metavar="D[,D]",
        help="of both, or of the small and the larger one; default: equal",
    )
    models.add_argument(
        "--finetuning-tokens",
        type=_amounts(2),
        metavar="F,F",
        help="of all that samples on the small side, and of the larger model; default: none",
    )
    better = own.add_argument_group("the larger model's answers").add_mutually_exclusive_group()
    better.add_argument("--large-accuracy", type=_accuracies(1), metavar="A", help="over all problems")
    better.add_argument(
        "--large-by-bin", type=_accuracies(5), metavar="A,A,A,A,A", help="by difficulty bin, easiest first"
    )
    better.add_argument(
        "--large-study",
        type=Path,
        metavar="PATH",
        help="a study of it: on the same problems (a folder) it is paired; a summary.json is overall alone",
    )
    flops = own.add_argument_group("in FLOPs")
    flops.add_argument(
        "--convention",
        choices=("v1", "iclr", "sensitivity", "all"),
        default="v1",
        help="inference is 2ND (v1), 4ND (iclr), or 4ND for the small model alone (sensitivity); default: v1",
    )
    flops.add_argument(
        "--R",
        type=_counts(1),
        dest="ratios",
        metavar="R,...",
        help="inference tokens over pretraining tokens; default: the paper's three",
    )
    money = own.add_argument_group("in dollars")
    money.add_argument(
        "--price-small",
        type=_price,
        metavar="IN,OUT[,CACHED]",
        help="for a million tokens; CACHED: default IN",
    )
    money.add_argument("--price-large", type=_price, metavar="IN,OUT[,CACHED]")
    money.add_argument("--price-verifier", type=_price, metavar="IN[,OUT]", help="default: free")
    money.add_argument(
        "--fixed-small", type=_dollars, default=0.0, metavar="$", help="a period, as --requests"
    )
    money.add_argument(
        "--fixed-large", type=_dollars, default=0.0, metavar="$", help="hosting, training, ..."
    )
    own.add_argument("--requests", type=_count, metavar="N", help="the expected volume of requests")
    own.add_argument(
        "--tokens-small",
        type=_counts(2, 2),
        metavar="IN,OUT",
        help="tokens of a prompt and of one sample; default: as measured",
    )
    own.add_argument("--tokens-large", type=_counts(2, 2), metavar="IN,OUT", help="of one answer")
    own.add_argument("--curve", action="store_true", help="show the break-even curve over volumes, too")
    own.add_argument("--json", action="store_true", help="print everything as JSON")
    own.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read both sides, compare, show."""
    from mull.analysis.exchange import Terms, exchange
    from mull.analysis.small_side import read_small

    small = read_small(args.study, args.difficulty, args.family)
    large = _larger(args, small)
    conventions = ("v1", "iclr", "sensitivity") if args.convention == "all" else (args.convention,)
    terms = Terms(
        parameters=(
            args.small_params or _recorded(small.proposer, "parameters"),
            args.large_params or _recorded(large.model, "parameters"),
        ),
        pretraining=_pretraining(args, small, large),
        finetuning=args.finetuning_tokens or _finetuning(small, large),
        conventions=conventions,
        ratios=args.ratios,
        requests=args.requests,
        price_small=args.price_small and _priced(args.price_small),
        price_large=args.price_large and _priced(args.price_large),
        price_verifier=args.price_verifier and _priced(args.price_verifier),
        tokens_small=args.tokens_small,
        tokens_large=args.tokens_large,
        fixed=(args.fixed_small, args.fixed_large),
    )
    found = exchange(small, large, terms)
    if args.json:
        print(json.dumps(found, indent=1, allow_nan=False))
        return 0
    from rich.console import Console

    from mull.cli.exchange_table import tables

    Console(width=None if sys.stdout.isatty() else 132).print(tables(found, curve=args.curve))
    return 0


def _larger(args: argparse.Namespace, small: Small) -> Large:
    """The larger model's answers: a study's, the user's numbers, or those recorded with this study."""
    from mull.analysis.large_side import given_large, read_large, recorded_large

    if args.large_study is not None:
        return read_large(args.large_study, small)
    if args.large_accuracy is not None:
        return given_large(small, args.large_accuracy[0])
    if args.large_by_bin is not None:
        return given_large(small, None, args.large_by_bin)
    return recorded_large(small)


def _pretraining(args: argparse.Namespace, small: Small, large: Large) -> tuple[float | None, float | None]:
    """Both models' pretraining tokens; one number stands for both."""
    if args.pretraining_tokens is not None:
        return args.pretraining_tokens[0], args.pretraining_tokens[-1]
    name = "pretraining_tokens"
    return _recorded(small.proposer, name), _recorded(large.model, name)


def _finetuning(small: Small, large: Large) -> tuple[float, float]:
    """Tokens of fine-tuning as recorded: the small side's proposer and reviser, and the larger model's."""
    name = "finetuning_tokens"
    ours = sum(_recorded(model, name) or 0.0 for model in (small.proposer, small.reviser))
    return ours, _recorded(large.model, name) or 0.0


def _recorded(model: Any, name: str) -> float | None:
    value = model.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _priced(listed: tuple[float, ...]) -> Price:
    from mull.exchange_curve import Price

    return Price(*listed)


def _number(text: str) -> float:
    """A number, with a suffix for thousands to trillions."""
    text = text.strip()
    scale = _SUFFIXES.get(text[-1:], 1.0)
    try:
        value = float(text[:-1] if scale != 1 else text) * scale
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number")
    return value


def _count(text: str) -> float:
    value = _number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"must be above 0, not {text}")
    return value


def _dollars(text: str) -> float:
    value = _number(text.removeprefix("$"))
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be 0 or more, not {text}")
    return value


def _counts(least: int, most: int | None = None) -> Any:
    """A parser of ``least`` to ``most`` numbers above 0, between commas."""

    def parsed(text: str) -> tuple[float, ...]:
        return tuple(_count(part) for part in _parts(text, least, most))

    return parsed


def _amounts(count: int) -> Any:
    """A parser of ``count`` numbers of 0 or more, between commas."""

    def parsed(text: str) -> tuple[float, ...]:
        return tuple(_dollars(part) for part in _parts(text, count, count))

    return parsed


def _accuracies(count: int) -> Any:
    """A parser of ``count`` accuracies, to fractions."""

    def parsed(text: str) -> tuple[float, ...]:
        values = [_number(part.strip().removesuffix("%")) for part in _parts(text, count, count)]
        scale = 100.0 if "%" in text or max(values) > 1 else 1.0
        if min(values) < 0 or max(values) > scale:
            raise argparse.ArgumentTypeError(f"accuracies are from 0 to 1, or to 100; got {text}")
        return tuple(value / scale for value in values)

    return parsed


def _price(text: str) -> tuple[float, ...]:
    values = tuple(_dollars(part) for part in _parts(text, 1, 3))
    if not any(values):
        raise argparse.ArgumentTypeError("a price must be above 0")
    return values


def _parts(text: str, least: int, most: int | None) -> list[str]:
    parts = text.split(",")
    if len(parts) < least or (most is not None and len(parts) > most):
        wanted = str(least) if least == most else f"{least} to {most}" if most else f"{least} or more"
        raise argparse.ArgumentTypeError(f"needs {wanted} numbers with commas between; got {text!r}")
    return parts
