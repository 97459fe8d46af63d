"""Fitting the policy: for every (difficulty bin, budget) the arm that does best there.

The table of arms comes in measured; this module chooses on some problems, measures on
others, and says how sure it is. It never measures on the problems it chose on, except
where a name says so (:func:`without_cv`), and never runs anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mull.difficulty import Bins
from mull.errors import MullError
from mull.policy_file import Entry, Policy, Provenance, Row, choose, load, save
from mull.strategies.base import Arm
from mull.study import bootstrap

__all__ = [
    "ArmTable",
    "Entry",
    "Fitted",
    "Measured",
    "Policy",
    "Provenance",
    "Row",
    "choose",
    "cross_validate",
    "fit",
    "halves",
    "load",
    "recombine",
    "save",
    "without_cv",
]

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
#: Decimals that mean accuracies are compared to; beyond these they are a tie.
DECIMALS = 12


@dataclass(frozen=True, eq=False)
class ArmTable:
    """A arms on P problems: ``accuracy`` [A, P] in [0, 1], and what they cost.

    ``generations``, ``tokens`` and ``flops`` [A, P] are means a problem, ``flops`` with the
    verifier's.
    """

    arms: tuple[Arm, ...]
    accuracy: Floats
    generations: Floats
    tokens: Floats
    flops: Floats

    def __post_init__(self) -> None:
        """Refuse shapes that disagree, accuracies out of range and missing costs."""
        shape = self.accuracy.shape
        if len(shape) != 2 or 0 in shape or shape[0] != len(self.arms):
            raise MullError(f"{len(self.arms)} arms need accuracies [arms, problems]; got {shape}")
        if not ((self.accuracy >= 0) & (self.accuracy <= 1)).all():
            raise MullError("an arm table's accuracies are in [0, 1]; one is not, or is missing")
        for name, cost in self.costs().items():
            if cost.shape != shape or not np.isfinite(cost).all():
                raise MullError(f"an arm table needs its {name} finite and of shape {shape}")
        if len(set(self.arms)) < len(self.arms):
            raise MullError("an arm table names an arm twice")

    def costs(self) -> dict[str, Floats]:
        """The three cost arrays, by name."""
        return {"generations": self.generations, "tokens": self.tokens, "flops": self.flops}

    @property
    def problems(self) -> int:
        """P."""
        return int(self.accuracy.shape[1])

    @property
    def budgets(self) -> tuple[int, ...]:
        """The arms' budgets, each once, ascending."""
        return tuple(sorted({arm.budget for arm in self.arms}))


@dataclass(frozen=True, eq=False)
class Measured:
    """A way of choosing, measured at N budgets on P problems.

    ``accuracy``, ``generations``, ``tokens``, ``flops`` [N]: means over problems; ``sd`` [N]: of
    the accuracy over the random splits (0 without); ``bin_accuracy`` [bins, N], NaN in an
    empty bin; ``per_problem`` and ``per_problem_cost`` (by unit) [P, N], averaged over splits;
    ``chosen`` [bins, N, A]: the share of choices that fell on each arm.
    """

    budgets: tuple[int, ...]
    accuracy: Floats
    sd: Floats
    bin_accuracy: Floats
    generations: Floats
    tokens: Floats
    flops: Floats
    per_problem: Floats
    per_problem_cost: dict[str, Floats]
    chosen: Floats

    def at(self, budget: int) -> float:
        """The accuracy at ``budget``, which must be one that was measured."""
        if budget not in self.budgets:
            listed = ", ".join(map(str, self.budgets))
            raise MullError(f"nothing was measured at a budget of {budget}; measured: {listed}")
        return float(self.accuracy[self.budgets.index(budget)])


#: Rows of a fitted policy, one a budget.
Fitted = tuple[Row, ...]


def fit(
    table: ArmTable,
    bins: Bins,
    budgets: Sequence[int] | None = None,
    *,
    allow_cheaper: bool = False,
    held_out: Measured | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Fitted:
    """The best arm for every bin and budget on all problems (the paper's equation 1, approximated by bins).

    Candidates are the arms at exactly the budget, with ``allow_cheaper`` also those below;
    ties go to the cheaper arm. ``held_out`` is :func:`cross_validate`'s measurement of the same.
    """
    budgets = _budgets(table, budgets)
    allowed = _allowed(table, budgets, allow_cheaper)
    members = bins.labels[:, None] == np.arange(bins.count)
    picks = _pick(table, members, allowed)
    rows = []
    for n, budget in enumerate(budgets):
        entries = tuple(
            _entry(table, int(picks[b, n]), members[:, b], draws, seed) for b in range(bins.count)
        )
        outside = None if held_out is None else held_out.at(budget)
        rows.append(Row(budget, bins.thresholds, entries, held_out=outside))
    return tuple(rows)


def without_cv(
    table: ArmTable, bins: Bins, budgets: Sequence[int] | None = None, *, allow_cheaper: bool = False
) -> Measured:
    """The best arm of each bin, measured on the problems it was chosen on: at least every fixed strategy."""
    budgets = _budgets(table, budgets)
    everyone = np.zeros(table.problems, np.int64)
    return _measure(table, bins, budgets, allow_cheaper, everyone[None], folds=1)


def cross_validate(
    table: ArmTable,
    bins: Bins,
    budgets: Sequence[int] | None = None,
    *,
    splits: int = 20,
    seed: int = 0,
    allow_cheaper: bool = False,
) -> Measured:
    """Choose on one half of every bin, measure on the other, both ways round, over ``splits`` random splits.

    The paper's two-fold cross-validation (section 3.2), repeated. Where a bin's fold is
    empty the arm is chosen on the other bins' problems of that fold.
    """
    budgets = _budgets(table, budgets)
    if splits < 1 or table.problems < 2:
        raise MullError(f"cross-validation needs a split and two problems; got {splits}, {table.problems}")
    rng = np.random.default_rng(seed)
    folds = np.stack([halves(bins.labels, rng) for _ in range(splits)])
    return _measure(table, bins, budgets, allow_cheaper, folds, folds=2)


def halves(labels: Labels, rng: np.random.Generator) -> Labels:
    """A random half of every bin: fold 0 or 1 of each problem, [P]; odd ones go either way, in turn."""
    turn = rng.permutation(len(labels))
    order = turn[np.argsort(labels[turn], kind="stable")]
    fold = np.empty(len(labels), np.int64)
    fold[order] = (np.arange(len(labels)) + rng.integers(2)) % 2
    return fold


def recombine(bin_values: Floats, sizes: Sequence[int]) -> Floats:
    """The mean over problems from means by bin, [bins, ...] to [...]; empty bins drop out."""
    held = np.asarray(sizes) > 0
    shares = np.asarray(sizes, np.float64)[held] / sum(sizes)
    return np.asarray(np.tensordot(shares, np.asarray(bin_values, np.float64)[held], axes=1))


def _budgets(table: ArmTable, budgets: Sequence[int] | None) -> tuple[int, ...]:
    found = table.budgets if budgets is None else tuple(sorted(set(budgets)))
    if not found:
        raise MullError("a policy needs at least one budget")
    return found


def _allowed(table: ArmTable, budgets: Sequence[int], allow_cheaper: bool) -> NDArray[np.bool_]:
    """Which arms are candidates at which budget, [N, A]."""
    of = np.asarray([arm.budget for arm in table.arms])
    limits = np.asarray(budgets)[:, None]
    allowed = of <= limits if allow_cheaper else of == limits
    empty = np.nonzero(allowed.sum(axis=1) == 0)[0]
    if empty.size:
        budget = budgets[int(empty[0])]
        listed = ", ".join(map(str, table.budgets))
        raise MullError(f"no arm was measured at a budget of {budget}; measured: {listed}")
    return allowed


def _pick(table: ArmTable, members: NDArray[np.bool_], allowed: NDArray[np.bool_]) -> Labels:
    """The best candidate for each column of ``members`` [P, G] and each budget: arm indices [G, N].

    A group without problems takes the arm that is best over all columns' problems.
    """
    filled = np.where(members.any(axis=0), members, members.max(axis=1, keepdims=True))
    means = (table.accuracy @ filled) / filled.sum(axis=0)
    costs = [cost.mean(axis=1).round(6) for cost in (table.flops, table.tokens, table.generations)]
    order = np.lexsort(costs)  # by generations, then tokens, then FLOPs, then place
    ranked = np.where(allowed[:, order, None], means[order].round(DECIMALS), -1.0)
    return np.asarray(order[ranked.argmax(axis=1)].T)


def _measure(
    table: ArmTable, bins: Bins, budgets: tuple[int, ...], allow_cheaper: bool, splits: Labels, *, folds: int
) -> Measured:
    """Choose and measure over ``splits`` [splits, P] of fold numbers; with one fold, on the same problems."""
    if len(bins.labels) != table.problems:
        raise MullError(f"the bins hold {len(bins.labels)} problems, the arm table {table.problems}")
    allowed = _allowed(table, budgets, allow_cheaper)
    in_bin = bins.labels[:, None] == np.arange(bins.count)
    columns = np.arange(table.problems)
    values = {"accuracy": table.accuracy, **table.costs()}
    sums = {name: np.zeros((table.problems, len(budgets))) for name in values}
    chosen = np.zeros((bins.count, len(budgets), len(table.arms)))
    overall = []
    for fold in splits:
        picks = np.empty((table.problems, len(budgets)), np.int64)
        for part in range(folds):
            training = fold != part if folds > 1 else fold == part
            arms = _pick(table, in_bin & training[:, None], allowed)
            measured = fold == part
            picks[measured] = arms[bins.labels[measured]]
            for b in range(bins.count):
                chosen[b, np.arange(len(budgets)), arms[b]] += 1
        for name, cells in values.items():
            sums[name] += cells[picks, columns[:, None]]
        overall.append(table.accuracy[picks, columns[:, None]].mean(axis=0))
    means = {name: total / len(splits) for name, total in sums.items()}
    scored = means.pop("accuracy")
    by_bin = np.full((bins.count, len(budgets)), np.nan)
    for b in range(bins.count):
        if in_bin[:, b].any():
            by_bin[b] = scored[in_bin[:, b]].mean(axis=0)
    return Measured(
        budgets=budgets,
        accuracy=scored.mean(axis=0),
        sd=np.std(overall, axis=0, ddof=1) if len(splits) > 1 else np.zeros(len(budgets)),
        bin_accuracy=by_bin,
        generations=means["generations"].mean(axis=0),
        tokens=means["tokens"].mean(axis=0),
        flops=means["flops"].mean(axis=0),
        per_problem=scored,
        per_problem_cost=means,
        chosen=chosen / (len(splits) * folds),
    )


def _entry(table: ArmTable, arm: int, members: NDArray[np.bool_], draws: int, seed: int) -> Entry:
    count = int(members.sum())
    held = members if count else np.ones(table.problems, bool)
    shares = bootstrap.weights(int(held.sum()), draws, seed=seed)
    found = bootstrap.mean_ci95(table.accuracy[arm, held], shares)
    costs = {name: float(cost[arm, held].mean()) for name, cost in table.costs().items()}
    spent = (costs["generations"], costs["tokens"], costs["flops"])
    return Entry(table.arms[arm], found.mean, (found.low, found.high), *spent, problems=count)
