"""The charged policy: difficulty found out by the run itself, and paid for out of its budget.

A run takes k probe samples, reads the verifier on them, and spends what is left on the
arm for that reading. The outcomes of "k probes, then this arm" come in evaluated; the
module chooses k, thresholds and arms on some problems and measures on others. It never
sees a label of a problem it measures on when it chooses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mull.difficulty import BINS, assign, thresholds_of
from mull.errors import MullError
from mull.policy import DECIMALS, Floats, Labels, Measured, halves
from mull.policy_file import Entry, Row
from mull.strategies.base import Arm
from mull.study import bootstrap


@dataclass(frozen=True)
class Variant:
    """``probe`` samples, then ``arm``; ``total`` generations in all.

    A pool arm (majority, best-of-N) counts the probes among its N samples: total = N. A
    search arm adds them to its final vote: total = N + probe. ``probe`` 0 is the fixed arm.
    """

    arm: Arm
    probe: int
    total: int

    @classmethod
    def pool(cls, arm: Arm, probe: int) -> Variant:
        """A variant whose probes are among the arm's own samples."""
        if probe > arm.budget:
            raise MullError(f"{arm} cannot take {probe} probes out of its {arm.budget} samples")
        return cls(arm, probe, arm.budget)

    @classmethod
    def search(cls, arm: Arm, probe: int) -> Variant:
        """A variant whose probes come on top of the arm's budget."""
        return cls(arm, probe, arm.budget + probe)


@dataclass(frozen=True, eq=False)
class ChargedTable:
    """V variants evaluated in R runs of P problems.

    ``outcome`` [V, R, P] in [0, 1]: expected accuracy given run r's probes. ``completion_tokens``
    (the proposer's), ``verifier_tokens`` and ``flops`` [V, P]: in total, probes and the reading of
    them included (generations are the variants' own). ``probe_value``: by probe size k > 0, the mean
    verifier score of run r's first k samples [R, P], NaN where none.
    """

    variants: tuple[Variant, ...]
    outcome: NDArray[np.floating]
    completion_tokens: Floats
    verifier_tokens: Floats
    flops: Floats
    probe_value: Mapping[int, Floats]

    def __post_init__(self) -> None:
        """Refuse shapes that disagree and probes without values."""
        shape = self.outcome.shape
        if len(shape) != 3 or 0 in shape or shape[0] != len(self.variants):
            raise MullError(f"charged outcomes are [variants, runs, problems]; got {shape}")
        if not ((self.outcome >= 0) & (self.outcome <= 1)).all():
            raise MullError("charged outcomes are in [0, 1]; one is not, or is missing")
        costs = (self.completion_tokens, self.verifier_tokens, self.flops)
        if any(cost.shape != (shape[0], shape[2]) for cost in costs):
            raise MullError(f"charged costs are [variants, problems], {(shape[0], shape[2])}")
        for k in {v.probe for v in self.variants} - {0}:
            if k not in self.probe_value or self.probe_value[k].shape != shape[1:]:
                raise MullError(f"the charged table needs values of its {k}-sample probes, {shape[1:]}")

    @cached_property
    def tokens(self) -> Floats:
        """The proposer's tokens and the verifier's, [V, P]."""
        return self.completion_tokens + self.verifier_tokens

    @property
    def runs(self) -> int:
        """R."""
        return int(self.outcome.shape[1])

    @property
    def problems(self) -> int:
        """P."""
        return int(self.outcome.shape[2])


@dataclass(frozen=True)
class _Choice:
    """What was fitted at one budget: probe size, thresholds, and a variant (index) a bin."""

    probe: int
    thresholds: tuple[float, ...]
    variants: tuple[int, ...]


def fit_charged(
    table: ChargedTable,
    budgets: Sequence[int],
    *,
    count: int = BINS,
    held_out: Measured | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[Row, ...]:
    """Probe size, thresholds and a variant for each bin, at every total budget, on all problems.

    Candidates are the variants within the budget; ties go to the fewer probes, then to the
    cheaper variant. A choice without probes has one bin. An entry's accuracy is over the
    runs that fall in the bin; its interval over their problems.
    """
    everyone = np.ones(table.problems, bool)
    shares = bootstrap.weights(table.problems, draws, seed=seed)
    rows = []
    for budget, choice in zip(budgets, _choose(table, budgets, everyone, count), strict=True):
        labels = _labels(table, choice)
        entries = tuple(charged_entry(table, v, labels == b, shares) for b, v in enumerate(choice.variants))
        outside = None if held_out is None else held_out.at(budget)
        rows.append(Row(budget, choice.thresholds, entries, choice.probe, outside))
    return tuple(rows)


def cross_validate_charged(
    table: ChargedTable, budgets: Sequence[int], *, splits: int = 20, seed: int = 0, count: int = BINS
) -> Measured:
    """The charged policy chosen on a random half of the problems and measured on the other, both ways.

    Probe size and thresholds are the training half's too. Costs are totals, averaged
    over runs. ``bin_accuracy`` and ``chosen`` are by the bin a run's probe put it in (row 0 where there
    was no probe); ``chosen`` counts variants.
    """
    if splits < 1 or table.problems < 2:
        raise MullError(f"cross-validation needs a split and two problems; got {splits}, {table.problems}")
    rng = np.random.default_rng(seed)
    size = (table.problems, len(budgets))
    total = np.asarray([v.total for v in table.variants], np.float64)
    generations = np.repeat(total[:, None], table.problems, axis=1)
    costs = {
        "generations": generations,
        "completion_tokens": table.completion_tokens,
        "tokens": table.tokens,
        "flops": table.flops,
    }
    scored, spent = np.zeros(size), {name: np.zeros(size) for name in costs}
    chosen = np.zeros((count, len(budgets), len(table.variants)))
    right, seen = np.zeros((count, len(budgets))), np.zeros((count, len(budgets)))
    overall = []
    for _ in range(splits):
        fold = halves(np.zeros(table.problems, np.int64), rng)
        split = np.zeros(size)
        for part in (0, 1):
            at = np.nonzero(fold == part)[0]
            for n, choice in enumerate(_choose(table, budgets, fold != part, count)):
                labels = _labels(table, choice)[:, at]
                picks = np.asarray(choice.variants)[labels]
                found = table.outcome[picks, np.arange(table.runs)[:, None], at].astype(np.float64)
                split[at, n] = found.mean(axis=0)
                for name, cost in costs.items():
                    spent[name][at, n] += cost[picks, at].mean(axis=0)
                right[:, n] += np.bincount(labels.ravel(), found.ravel(), count)
                seen[:, n] += np.bincount(labels.ravel(), minlength=count)
                for b, v in enumerate(choice.variants):
                    chosen[b, n, v] += 1
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


def _labels(table: ChargedTable, choice: _Choice) -> Labels:
    """The bin of every run, [R, P], by its probe alone."""
    if choice.probe == 0:
        return np.zeros((table.runs, table.problems), np.int64)
    return assign(table.probe_value[choice.probe], choice.thresholds)


def _choose(
    table: ChargedTable, budgets: Sequence[int], training: NDArray[np.bool_], count: int
) -> list[_Choice]:
    """The best choice for each budget, reading nothing but the ``training`` problems [P]."""
    best: list[tuple[float, _Choice] | None] = [None] * len(budgets)
    for k in sorted({v.probe for v in table.variants}):
        mine = [i for i, v in enumerate(table.variants) if v.probe == k]
        mine.sort(key=lambda i: (table.variants[i].total, float(table.tokens[i].mean()), i))
        bounds = thresholds_of(table.probe_value[k][:, training], count) if k else ()
        labels = _labels(table, _Choice(k, bounds, ()))[:, training].ravel()
        inside = (labels[:, None] == np.arange(len(bounds) + 1)).astype(np.float64)
        cells = table.outcome[mine][:, :, training].reshape(len(mine), -1).astype(np.float64)
        sums, held = cells @ inside, inside.sum(axis=0)
        means = np.where(held > 0, sums / np.maximum(held, 1), cells.mean(axis=1)[:, None]).round(DECIMALS)
        for n, budget in enumerate(budgets):
            within = np.asarray([table.variants[i].total <= budget for i in mine])
            if not within.any():
                continue
            picks = np.where(within[:, None], means, -1.0).argmax(axis=0)
            reached = round(float(sums[picks, np.arange(len(held))].sum() / held.sum()), DECIMALS)
            held_best = best[n]
            if held_best is None or reached > held_best[0]:
                best[n] = reached, _Choice(k, bounds, tuple(mine[p] for p in picks))
    for budget, found in zip(budgets, best, strict=True):
        if found is None:
            raise MullError(f"no charged variant fits a budget of {budget} generations")
    return [found[1] for found in best if found is not None]


def charged_entry(table: ChargedTable, variant: int, inside: NDArray[np.bool_], shares: Floats) -> Entry:
    """What to expect of ``variant`` in the runs ``inside`` a bin [R, P]; ``shares`` draw problems."""
    held = inside if inside.any() else np.ones_like(inside)
    weight = held.sum(axis=0).astype(np.float64)
    right = np.where(held, table.outcome[variant], 0.0).sum(axis=0, dtype=np.float64)
    mean = float(right.sum() / weight.sum())
    drawn = shares @ weight
    found = np.divide(shares @ right, drawn, out=np.full(len(shares), mean), where=drawn > 0)
    low, high = np.percentile(found, [2.5, 97.5])
    chosen = table.variants[variant]
    tokens, flops = (float(cost[variant] @ weight / weight.sum()) for cost in (table.tokens, table.flops))
    problems = int(inside.any(axis=0).sum())
    return Entry(chosen.arm, mean, (float(low), float(high)), float(chosen.total), tokens, flops, problems)
