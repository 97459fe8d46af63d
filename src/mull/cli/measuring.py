"""The options of commands that measure rules on a pool of samples. It measures nothing."""

from __future__ import annotations

import argparse

from mull.cli.numbers import count


def on_a_pool(own: argparse.ArgumentParser) -> None:
    """Put them on a parser, behind the command's own."""
    own.add_argument("--runs", type=count, help="random orders of the samples; default: by the pool's size")
    own.add_argument("--splits", type=count, default=20, help="two-fold splits; default: %(default)s")
    own.add_argument("--draws", type=count, default=1000, help="of the bootstrap; default: %(default)s")
    own.add_argument(
        "--empty",
        choices=("vote", "drop"),
        default="vote",
        help="whether empty answers vote; default: %(default)s",
    )
    own.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    own.add_argument("--json", action="store_true", help="print JSON")
