"""What ``mull allocate`` prints: every rule at one budget, with intervals, and the histogram of what
problems got.

The module arranges what :mod:`mull.allocation.held` measured, and reads the file of costs. It measures
nothing.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from mull.allocation.held import RULES, Held
from mull.allocation.protocol import check_costs
from mull.errors import MullError
from mull.replay.recorded import Recorded
from mull.study import bootstrap
from mull.study.pools import Floats

#: The histogram's groups of samples begun: from each number up to the next.
GROUPS = (0, 1, 2, 3, 5, 9, 17, 33)


def read_costs(path: Path, names: Sequence[str]) -> Floats:
    """Each problem's cost of being wrong, [P], from a JSON object {problem: cost} or a CSV file with these
    columns.

    Raises :class:`MullError` for a file that cannot be read, for a value that is no number of at least 0,
    and for a problem of the pool that has none.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MullError(f"cannot read the costs in {path}: {error}") from None
    given = _json(text, path) if text.lstrip().startswith("{") else _csv(text, path)
    found = []
    for name in names:
        if name not in given:
            raise MullError(f"{path} has no cost for problem {name!r}; give one to each of the {len(names)}")
        try:
            value = float(given[name])
        except (TypeError, ValueError):
            value = -1.0
        if isinstance(given[name], bool) or not 0 <= value < float("inf"):
            raise MullError(
                f"{path}: the cost of problem {name!r} is {given[name]!r}; it must be a number of at least 0"
            )
        found.append(value)
    costs = np.array(found)
    check_costs(costs, len(names))
    return costs


def _json(text: str, path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise MullError(f"{path}, line {error.lineno}: not JSON ({error.msg})") from None
    assert isinstance(found, dict)  # it begins with a brace
    return found


def _csv(text: str, path: Path) -> Mapping[str, Any]:
    rows = csv.DictReader(text.splitlines())
    if not {"problem", "cost"} <= set(rows.fieldnames or ()):
        raise MullError(
            f"{path} needs a JSON object of costs by problem, or CSV columns 'problem' and 'cost'"
        )
    return {str(row["problem"]): row["cost"] for row in rows}


def table(
    recorded: Recorded,
    held: Held,
    rules: Sequence[str],
    budget: float,
    *,
    costs: Floats | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Accuracy, its 95 % interval, tokens and samples of every rule at ``budget`` tokens a problem.

    With ``costs`` also the loss: the share of all cost that was lost to wrong answers. The bootstrap is
    over problems, with one set of draws for all rules. A rule that cannot spend so little is listed without
    values.
    """
    problems, samples = recorded.shape
    shares = bootstrap.weights(problems, draws, seed=seed)
    weight = None if costs is None else costs / costs.mean()
    base = held.at("uniform", 0, budget) if "uniform" in held.lines else None
    rows = []
    for rule in rules:
        values = held.at(rule, 0, budget)
        if values is None:
            rows.append({"rule": rule, "what": RULES[rule], "accuracy": None})
            continue
        accuracy = bootstrap.mean_ci95(values.right, shares)
        row: dict[str, Any] = {
            "rule": rule,
            "what": RULES[rule],
            "accuracy": accuracy.mean,
            "ci95": [accuracy.low, accuracy.high],
            "tokens": float(values.tokens.mean()),
            "generations": float(values.generations.mean()),
        }
        if base is not None and rule != "uniform":
            ahead = bootstrap.difference_ci95(values.right, base.right, shares)
            row["against_uniform"] = {"accuracy": ahead.mean, "ci95": [ahead.low, ahead.high]}
        if weight is not None:
            lost = bootstrap.mean_ci95(weight * (1.0 - values.right), shares)
            row["loss"] = {"mean": lost.mean, "ci95": [lost.low, lost.high]}
        if rule in held.got:
            row["got"] = histogram(held.got[rule][0])
        rows.append(row)
    return {
        "problems": problems,
        "samples": samples,
        "mean_tokens": float(recorded.tokens.mean()),
        "budget": budget,
        "draws": draws,
        "seed": seed,
        "rules": rows,
    }


def histogram(shares: Floats) -> dict[str, float]:
    """Shares of problems by samples begun, from ``shares`` [most + 1], in a few groups."""
    most = len(shares) - 1
    ends = [*(g for g in GROUPS if g <= most), most + 1]
    found = {}
    for low, high in pairwise(ends):
        found[str(low) if high == low + 1 else f"{low}-{high - 1}"] = float(shares[low:high].sum())
    return found
