"""The allocating policy: an average budget is fixed, and the bins share it as pays best.

The paper gives every problem the same budget and lets the policy choose the arm. Here
easy and hopeless problems give to those in between: over all (bin, arm) the mean accuracy
is maximised subject to the mean cost. With costs and accuracies as means over a bin that is
a linear programme whose solution is greedy on each bin's concave hull, and at most one bin
divides its problems between two arms. Chosen on some problems, measured on others; nothing
is run here.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mull.difficulty import Bins
from mull.errors import MullError
from mull.policy import ArmTable, Measured, halves
from mull.policy_file import Entry, Row
from mull.study import bootstrap

Floats = NDArray[np.float64]
#: How far around a bin its arms' accuracies are averaged, as a share of all problems.
SPREAD = 0.1


def allocate(value: Floats, cost: Floats, weight: Floats, budget: float) -> Floats:
    """Shares [G, A] of each group's problems for each arm that maximise the mean value within ``budget``.

    ``value`` and ``cost`` [G, A] are means over each group, ``weight`` [G] the groups' shares of all
    problems. Every group takes an arm; raises :class:`MullError` if even the cheapest exceed the budget.
    """
    share = np.zeros_like(value)
    steps: list[tuple[float, int, int, int]] = []
    left = float(budget)
    for g in range(len(value)):
        hull = _hull(value[g], cost[g])
        share[g, hull[0]] = 1.0
        left -= weight[g] * cost[g, hull[0]]
        for here, there in pairwise(hull):
            gain = (value[g, there] - value[g, here]) / (cost[g, there] - cost[g, here])
            steps.append((-gain, g, here, there))
    if left < -1e-9:
        raise MullError(f"a mean budget of {budget:g} is below what the cheapest arms cost")
    for _, g, here, there in sorted(steps):
        price = weight[g] * (cost[g, there] - cost[g, here])
        part = 1.0 if price <= max(left, 0.0) else max(left, 0.0) / price
        share[g, here] -= part
        share[g, there] += part
        left -= part * price
        if part < 1.0:
            break
    return share


def fit_allocating(
    table: ArmTable,
    bins: Bins,
    budgets: Sequence[int],
    *,
    spread: float = SPREAD,
    held_out: Measured | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[Row, ...]:
    """The shares chosen on all problems, as a policy's rows; ``budgets`` are mean generations a problem.

    ``held_out`` is :func:`cross_validate_allocating`'s measurement of the same.
    """
    everyone = np.ones(table.problems, bool)
    found = shares(table, bins, budgets, everyone, "generations", spread)
    rows = []
    for n, budget in enumerate(budgets):
        entries = tuple(
            entry_of(table, found[n, b], bins.labels == b, draws, seed) for b in range(bins.count)
        )
        outside = None if held_out is None else held_out.at(budget)
        rows.append(Row(budget, bins.thresholds, entries, held_out=outside))
    return tuple(rows)


def entry_of(table: ArmTable, share: Floats, members: NDArray[np.bool_], draws: int, seed: int) -> Entry:
    """What to expect of a bin whose problems are divided by ``share`` [A] between one or two arms."""
    order = [int(arm) for arm in np.argsort(-share, kind="stable")]
    first = order[0]
    mixed = share[first] < 1.0 - 1e-9
    count = int(members.sum())
    held = members if count else np.ones(table.problems, bool)
    draw = bootstrap.weights(int(held.sum()), draws, seed=seed)
    found = bootstrap.mean_ci95(share @ table.accuracy[:, held], draw)
    costs = {name: float((share @ cost[:, held]).mean()) for name, cost in table.costs().items()}
    return Entry(
        table.arms[first],
        found.mean,
        (found.low, found.high),
        generations=costs["generations"],
        tokens=costs["tokens"],
        flops=costs["flops"],
        problems=count,
        share=float(share[first]) if mixed else 1.0,
        other=table.arms[order[1]] if mixed else None,
    )


def _hull(value: Floats, cost: Floats) -> list[int]:
    """Arms on the upper concave hull of value over cost, from the best of the cheapest on."""
    order = np.lexsort((-value, cost)).tolist()
    hull: list[int] = []
    for arm in order:
        if hull and value[arm] <= value[hull[-1]] + 1e-12:
            continue
        if hull and cost[arm] <= cost[hull[-1]] + 1e-12:
            continue
        while len(hull) > 1:
            a, b = hull[-2], hull[-1]
            before = (value[b] - value[a]) * (cost[arm] - cost[b])
            after = (value[arm] - value[b]) * (cost[b] - cost[a])
            if before > after:
                break
            hull.pop()
        hull.append(arm)
    return hull


def cross_validate_allocating(
    table: ArmTable,
    bins: Bins,
    budgets: Sequence[int],
    *,
    unit: str = "generations",
    spread: float = SPREAD,
    splits: int = 20,
    seed: int = 0,
) -> Measured:
    """Shares chosen on one half of every bin and measured on the other, both ways, over random splits.

    ``budgets`` are means a problem in ``unit``. The measured cost can differ a little from the
    budget, since it is the other half's. ``Measured.chosen`` holds the shares.
    """
    if len(bins.labels) != table.problems:
        raise MullError(f"the bins hold {len(bins.labels)} problems, the arm table {table.problems}")
    rng = np.random.default_rng(seed)
    costs = table.costs()
    size = (table.problems, len(budgets))
    scored, spent = np.zeros(size), {name: np.zeros(size) for name in costs}
    chosen = np.zeros((bins.count, len(budgets), len(table.arms)))
    overall = []
    for _ in range(splits):
        fold = halves(bins.labels, rng)
        split = np.zeros(size)
        for part in (0, 1):
            found = shares(table, bins, budgets, fold != part, unit, spread)
            at = np.nonzero(fold == part)[0]
            mine = found[:, bins.labels[at]]  # [N, problems, A]
            split[at] = np.einsum("npa,ap->pn", mine, table.accuracy[:, at])
            for name, cost in costs.items():
                spent[name][at] += np.einsum("npa,ap->pn", mine, cost[:, at])
            chosen += found.transpose(1, 0, 2)
        scored += split
        overall.append(split.mean(axis=0))
    scored /= splits
    spent = {name: cost / splits for name, cost in spent.items()}
    by_bin = np.full((bins.count, len(budgets)), np.nan)
    for b in range(bins.count):
        if (bins.labels == b).any():
            by_bin[b] = scored[bins.labels == b].mean(axis=0)
    return Measured(
        budgets=tuple(budgets),
        accuracy=scored.mean(axis=0),
        sd=np.std(overall, axis=0, ddof=1) if splits > 1 else np.zeros(len(budgets)),
        bin_accuracy=by_bin,
        generations=spent["generations"].mean(axis=0),
        tokens=spent["tokens"].mean(axis=0),
        flops=spent["flops"].mean(axis=0),
        per_problem=scored,
        per_problem_cost=spent,
        chosen=chosen / (2 * splits),
    )


def shares(
    table: ArmTable,
    bins: Bins,
    budgets: Sequence[int],
    training: NDArray[np.bool_],
    unit: str,
    spread: float = SPREAD,
) -> Floats:
    """The best shares [N, bins, A] at each mean budget, reading the ``training`` problems [P] alone.

    A bin is judged by all training problems, weighted by a Gaussian in the distance of their bins,
    ``spread`` (a share of all problems) wide: neighbouring bins are alike, and the means of a
    bin's own few problems are noisy. With ``spread`` 0 only its own count.
    """
    cost = table.costs()[unit]
    apart = (np.arange(bins.count)[:, None] - bins.labels) / bins.count
    near = np.exp(-0.5 * (apart / spread) ** 2) if spread > 0 else (apart == 0).astype(np.float64)
    near = near * training
    none = near.sum(axis=1, keepdims=True) < 1e-9
    near = np.where(none, training, near)
    near /= near.sum(axis=1, keepdims=True)
    sizes = np.bincount(bins.labels[training], minlength=bins.count)
    weight = sizes / max(int(training.sum()), 1)
    value, price = near @ table.accuracy.T, near @ cost.T
    return np.stack([allocate(value, price, weight, budget) for budget in budgets])
