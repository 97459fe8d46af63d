"""``mull ask``: one problem, answered within a budget, with the reasons."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mull.cli import models
from mull.cli.numbers import count

if TYPE_CHECKING:
    from mull.answering import Answer

_EXAMPLE = """\
examples:
  mull ask "Ann has 3 eggs. Ben has 4 more eggs than Ann. How many eggs does Ben have?" --budget 16
  mull ask "..." --budget 16 --strategy beam --param width=4
  mull ask "..." --budget 16 --policy mull-study/policy.json
  mull ask "..." --budget 16 --strategy majority --engine http://localhost:8000 --format chat --grader math
"""


def add(commands: Any) -> None:
    """Put the command on the parser."""
    own = commands.add_parser(
        "ask",
        help="answer one problem within a budget",
        description="Answer one problem within a budget; show candidates, scores, vote and cost.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    own.add_argument("problem", metavar="PROBLEM")
    own.add_argument("--budget", type=int, required=True, metavar="N", help="generations")
    how = own.add_mutually_exclusive_group()
    how.add_argument("--strategy", default="best_of_n_weighted", metavar="NAME", help="default: %(default)s")
    how.add_argument(
        "--policy", type=Path, metavar="FILE", help="choose by difficulty, read off a short probe"
    )
    own.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the strategy"
    )
    own.add_argument(
        "--prm",
        metavar="MODEL",
        help='a verifier: "tiny", a folder, or a table such as { adapter = "equations" }',
    )
    own.add_argument(
        "--max-tokens",
        type=count,
        metavar="N",
        help="of a solution (default: 256, and 2048 of a server's model)",
    )
    models.add_grader(own)
    own.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    own.add_argument("--json", action="store_true", help="print JSON")
    models.add(own)
    own.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Answer and show."""
    from mull.errors import settled
    from mull.problems import Problem, validate
    from mull.strategies.base import Arm, start

    validate([Problem("asked", args.problem)], graded=False)
    arm = Arm(args.strategy, args.budget, tuple(_param(text) for text in args.param))
    start(arm, Problem("asked", args.problem)).close()  # wrong arguments are told before models are loaded
    from mull.answering import ask, driver
    from mull.policy_file import load

    policy = None if args.policy is None else load(args.policy)
    prm = None if args.prm is None else models.verifier(args.prm, "--prm")
    using = driver(
        models.engine(args), prm, seed=args.seed, max_tokens=args.max_tokens, grader=args.grader, for_arm=arm
    )
    text = args.problem if args.problem.endswith("\n") else args.problem + "\n"
    answer = ask(text, args.budget, strategy=arm, policy=policy, using=using)
    if args.json:
        print(json.dumps(as_json(answer), indent=2))
    else:
        show(answer)
    # No answer because the verifier could not be asked: that is a failure, and the events say which.
    scored = any(candidate.scores is not None for candidate in answer.candidates)
    failed = any("unscored" in event and not settled(event) for event in answer.events)
    return 1 if answer.answer is None and failed and not scored else 0


def _param(text: str) -> tuple[str, int | float | str]:
    from mull.errors import MullError

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise MullError(f"--param is {text!r}; it must be NAME=VALUE, such as width=4")
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, value


def as_json(answer: Answer) -> dict[str, Any]:
    """The answer as plain data."""
    return {
        "answer": answer.answer,
        "arm": str(answer.arm),
        "probe": answer.probe,
        "difficulty": answer.difficulty,
        "bin": answer.bin,
        "weights": dict(answer.weights),
        "candidates": [
            {
                "answer": c.answer,
                "text": c.trace.text,
                "steps": None if c.scores is None else list(c.scores.steps),
                "finish": c.trace.finish,
                "chain": c.trace.chain,
                "thinking": None if c.trace.thinking is None else asdict(c.trace.thinking),
            }
            for c in answer.candidates
        ],
        "cost": {**asdict(answer.cost), "total_flops": answer.cost.total_flops},
        "events": list(answer.events),
    }


def show(answer: Answer) -> None:
    """Print the answer, the best candidate of each answer with its step scores, the vote, the cost."""
    print(f"answer: {answer.answer if answer.answer is not None else 'none'}")
    how = f"by {answer.arm}"
    if answer.probe:
        read = "unknown" if answer.difficulty is None else f"{answer.difficulty:.2f}"
        place = (answer.bin or 0) + 1
        how += f", after a probe of {answer.probe} (mean score {read}: bin {place}, 1 is the easiest)"
    print(how)
    total = sum(answer.weights.values())
    for name, weight in answer.weights.items():
        backers = [c for c in answer.candidates if c.answer == name]
        share = f", {weight / total:.0%} of the vote" if total else ""
        print(f"\n{name}: {len(backers)} of {len(answer.candidates)} candidates, weight {weight:.3g}{share}")
        backers.sort(key=lambda c: -1.0 if c.scores is None else c.scores.last, reverse=True)
        best = backers[0]
        values = best.scores.steps if best.scores is not None else ()
        blanks = len(best.trace.steps) - len(values)  # one value alone is the whole solution's
        for value, step in zip([None] * blanks + list(values), best.trace.steps, strict=True):
            print(f"  {'    ' if value is None else f'{value:.2f}'}  {step.text.rstrip()}")
        others = [f"{c.scores.last:.2f}" if c.scores is not None else "none" for c in backers[1:]]
        if len(set(others)) > 1 or others[:1] not in ([], ["none"]):
            more = f" and {len(others) - 12} more" if len(others) > 12 else ""
            print(f"  scores of the others: {' '.join(others[:12])}{more}")
    cost = answer.cost
    print(
        f"\ncost: {cost.generations} generations, {cost.completion_tokens} tokens sampled, "
        f"{cost.verifier_tokens} verified, {cost.total_flops:.2e} FLOPs"
    )
    for event in answer.events:
        print(f"note: {event}")
