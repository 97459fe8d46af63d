"""The allocating policy that pays for its judgement: a probe, then what its bin is allotted.

Every problem spends a few samples; their mean score puts it in a bin, and the bins share the
average budget, probes included, as in :mod:`mull.policy_allocate`. Probe size, thresholds and
shares are chosen on some problems and measured on others. Nothing is run here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mull.difficulty import assign, thresholds_of
from mull.errors import MullError
from mull.policy import Measured, halves
from mull.policy_allocate import SPREAD, allocate
from mull.policy_charged import ChargedTable, charged_entry
from mull.policy_file import Entry, Row
from mull.study import bootstrap

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Allotment:
    """What was chosen at one mean budget: probe size, thresholds, and shares [bins, V] of the variants."""

    probe: int
    thresholds: tuple[float, ...]
    shares: Floats
    expected: float


def allot(
    table: ChargedTable,
    budgets: Sequence[float],
    training: NDArray[np.bool_],
    *,
    count: int = 10,
    spread: float = SPREAD,
) -> list[Allotment]:
    """The best allotment at each mean budget in generations, reading the ``training`` problems [P] alone."""
    total = np.asarray([variant.total for variant in table.variants], np.float64)
    best: list[Allotment | None] = [None] * len(budgets)
    for k in sorted({variant.probe for variant in table.variants}):
        mine = np.asarray([i for i, variant in enumerate(table.variants) if variant.probe == k])
        bounds = thresholds_of(table.probe_value[k][:, training], count) if k else ()
        labels = bins_of(table, k, bounds)[:, training].ravel()
        size = len(bounds) + 1
        inside = (labels[:, None] == np.arange(size)).astype(np.float64)
        cells = table.outcome[mine][:, :, training].reshape(len(mine), -1).astype(np.float64)
        apart = (np.arange(size)[:, None] - np.arange(size)) / size
        near = np.exp(-0.5 * (apart / spread) ** 2) if spread > 0 else np.eye(size)
        held = inside.sum(axis=0)
        value = (near @ (cells @ inside).T) / np.maximum(near @ held, 1e-9)[:, None]
        weight = held / held.sum()
        cost = np.broadcast_to(total[mine], value.shape)
        for n, budget in enumerate(budgets):
            if budget < total[mine].min():
                continue
            found = allocate(value, cost, weight, budget)
            expected = float((weight[:, None] * found * value).sum())
            held_best = best[n]
            if held_best is None or expected > held_best.expected + 1e-12:
                shares = np.zeros((size, len(table.variants)))
                shares[:, mine] = found
                best[n] = Allotment(k, bounds, shares, expected)
    for budget, one in zip(budgets, best, strict=True):
        if one is None:
            raise MullError(f"a mean budget of {budget:g} is below what the cheapest variants cost")
    return [one for one in best if one is not None]


def fit_allotment(
    table: ChargedTable,
    budgets: Sequence[int],
    *,
    count: int = 10,
    spread: float = SPREAD,
    held_out: Measured | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[Row, ...]:
    """Allotments chosen on all problems, as a policy's rows; ``budgets`` are means, probes included.

    ``held_out`` is :func:`cross_validate_allotment`'s measurement of the same.
    """
    draw = bootstrap.weights(table.problems, draws, seed=seed)
    rows = []
    everyone = np.ones(table.problems, bool)
    for budget, found in zip(
        budgets, allot(table, budgets, everyone, count=count, spread=spread), strict=True
    ):
        labels = bins_of(table, found.probe, found.thresholds)
        entries = tuple(_entry(table, share, labels == b, draw) for b, share in enumerate(found.shares))
        outside = None if held_out is None else held_out.at(budget)
        rows.append(Row(budget, found.thresholds, entries, found.probe, outside))
    return tuple(rows)


def _entry(table: ChargedTable, share: Floats, inside: NDArray[np.bool_], draw: Floats) -> Entry:
    """What to expect in a bin's runs ``inside`` [R, P]; ``draw`` [draws, P] resamples problems."""
    parts = [
        (float(share[v]), charged_entry(table, int(v), inside, draw))
        for v in np.argsort(-share, kind="stable")[:2]
        if share[v] > 1e-9
    ]
    (part, first), (_, other) = parts[0], parts[-1]
    if len(parts) == 1:
        return first

    def mean(of: Callable[[Entry], float]) -> float:
        return part * of(first) + (1 - part) * of(other)

    return replace(
        first,
        accuracy=mean(lambda e: e.accuracy),
        ci95=(mean(lambda e: e.ci95[0]), mean(lambda e: e.ci95[1])),
        generations=mean(lambda e: e.generations),
        tokens=mean(lambda e: e.tokens),
        flops=mean(lambda e: e.flops),
        share=part,
        other=other.arm,
    )


def bins_of(table: ChargedTable, probe: int, thresholds: Sequence[float]) -> NDArray[np.int64]:
    """The bin of every run, [R, P], by its probe alone; one bin without a probe."""
    if probe == 0:
        return np.zeros((table.runs, table.problems), np.int64)
    return assign(table.probe_value[probe], thresholds)


def cross_validate_allotment(
    table: ChargedTable,
    budgets: Sequence[int],
    *,
    count: int = 10,
    spread: float = SPREAD,
    splits: int = 20,
    seed: int = 0,
) -> Measured:
    """Allotments chosen on a random half of the problems and measured on the other, both ways.

    Costs are totals, averaged over runs. ``chosen`` counts variants, by the bin a run's probe put it in.
    """
    rng = np.random.default_rng(seed)
    shape = (table.problems, len(budgets))
    total = np.asarray([variant.total for variant in table.variants], np.float64)
    costs = {
        "generations": np.repeat(total[:, None], table.problems, axis=1),
        "tokens": table.tokens,
        "flops": table.flops,
    }
    scored, spent = np.zeros(shape), {name: np.zeros(shape) for name in costs}
    chosen = np.zeros((count, len(budgets), len(table.variants)))
    right, seen = np.zeros((count, len(budgets))), np.zeros((count, len(budgets)))
    overall = []
    for _ in range(splits):
        fold = halves(np.zeros(table.problems, np.int64), rng)
        split = np.zeros(shape)
        for part in (0, 1):
            at = np.nonzero(fold == part)[0]
            for n, found in enumerate(allot(table, budgets, fold != part, count=count, spread=spread)):
                labels = bins_of(table, found.probe, found.thresholds)[:, at]
                hit = np.zeros(labels.shape)
                for v in np.nonzero(found.shares.any(axis=0))[0].tolist():
                    share = found.shares[labels, v]  # [R, problems]
                    hit += share * table.outcome[v][:, at]
                    for name, cost in costs.items():
                        spent[name][at, n] += share.mean(axis=0) * cost[v, at]
                split[at, n] = hit.mean(axis=0)
                right[:, n] += np.bincount(labels.ravel(), hit.ravel(), count)
                seen[:, n] += np.bincount(labels.ravel(), minlength=count)
                chosen[: len(found.shares), n] += found.shares
        scored += split
        overall.append(split.mean(axis=0))
    scored /= splits
    spent = {name: cost / splits for name, cost in spent.items()}
    return Measured(
        budgets=tuple(budgets),
        accuracy=scored.mean(axis=0),
        sd=np.std(overall, axis=0, ddof=1) if splits > 1 else np.zeros(len(budgets)),
        bin_accuracy=np.divide(right, seen, out=np.full_like(right, np.nan), where=seen > 0),
        generations=spent["generations"].mean(axis=0),
        tokens=spent["tokens"].mean(axis=0),
        flops=spent["flops"].mean(axis=0),
        per_problem=scored,
        per_problem_cost=spent,
        chosen=chosen / (2 * splits),
    )
