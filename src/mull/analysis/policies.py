"""A study's policies: fitted for the file, cross-validated for the figures, compared with best-of-N.

Puts together what :mod:`mull.difficulty`, :mod:`mull.policy` and :mod:`mull.policy_charged` compute, for the
three kinds of difficulty: oracle, predicted, charged. It estimates nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mull import difficulty
from mull.analysis import families
from mull.analysis.charged import RUNS
from mull.analysis.evidence import Evidence, pooled
from mull.analysis.measure import Measure, stacked
from mull.difficulty import BINS, Bins
from mull.policy import ArmTable, Measured, Provenance, cross_validate, fit
from mull.policy_allocate import cross_validate_allocating, fit_allocating
from mull.policy_allocate_charged import cross_validate_allotment, fit_allotment
from mull.policy_charged import ChargedTable, cross_validate_charged, fit_charged
from mull.policy_file import Policy, Row
from mull.policy_ratio import Curve, Ratio, equal_accuracy_ratio
from mull.strategies.base import Arm

Floats = NDArray[np.float64]
#: Random splits that policies are cross-validated over.
SPLITS = 20
#: The probe that the charged bins are shown for if the fitted policy takes none.
USUAL_PROBE = 4
#: What compute is counted in.
UNITS = ("generations", "completion_tokens", "flops")


@dataclass(frozen=True, eq=False)
class Policies:
    """Everything about policies that a summary tells; the kinds that could not be fitted are absent."""

    budgets: tuple[int, ...]
    bins: Mapping[str, Bins]
    rows: Mapping[str, tuple[Row, ...]]
    average: Mapping[str, tuple[Row, ...]]
    measured: Mapping[str, Measured]
    choices: Mapping[str, tuple[str, ...]]
    difficulty: dict[str, Any]
    ratios: dict[str, Any]
    provenance: Provenance

    @property
    def policy(self) -> Policy:
        """What ``policy.json`` holds."""
        return Policy(self.rows, self.provenance, self.average)

    def favourites(self, kind: str, budget: int) -> list[str]:
        """For each bin the arm most often chosen at the ``budget``-th budget."""
        counts = self.measured[kind].chosen[:, budget]
        names = self.choices[kind]
        first = names[int(counts[0].argmax())]  # a run without a probe has bin 0 alone
        return [names[int(row.argmax())] if row.any() else first for row in counts]


@dataclass(frozen=True, eq=False)
class _Table(ArmTable):
    """An arm table whose measured policies also tell ``completion_tokens`` [A, P], the proposer's."""

    completion_tokens: Floats

    def costs(self) -> dict[str, Floats]:
        """The cost arrays, by name."""
        return {**super().costs(), "completion_tokens": self.completion_tokens}


def fit_all(evidence: Evidence) -> Policies:
    """Fit and cross-validate every policy that the evidence allows."""
    recorded, pool, score = evidence.recorded, evidence.pool, evidence.score
    seed, budgets = recorded.study.seed, evidence.sizes
    ids = [problem.id for problem in recorded.problems]
    measures = candidates(evidence)
    table = ArmTable(
        tuple(measures),
        *(stacked(list(measures.values()), name) for name in ("accuracy", "generations", "tokens", "flops")),
    )
    completion = stacked(list(measures.values()), "completion_tokens")
    counted = _Table(table.arms, table.accuracy, table.generations, table.tokens, table.flops, completion)
    values = {"oracle": difficulty.oracle(pool)}
    if score is not None:
        values["predicted"] = difficulty.predicted(pool, score)
    bins = {kind: difficulty.quantile_bins(value, ids=ids) for kind, value in values.items()}
    base = values["oracle"]
    shown: dict[str, Any] = {"oracle": None, "predicted": None, "charged": None}
    rows: dict[str, tuple[Row, ...]] = {}
    measured: dict[str, Measured] = {}
    average: dict[str, tuple[Row, ...]] = {}
    choices: dict[str, tuple[str, ...]] = {}
    for kind, found in bins.items():
        measured[kind] = cross_validate(counted, found, budgets, splits=SPLITS, seed=seed, allow_cheaper=True)
        rows[kind] = fit(table, found, budgets, allow_cheaper=True, held_out=measured[kind], seed=seed)
        choices[kind] = tuple(map(str, table.arms))
        finer = difficulty.quantile_bins(values[kind], ids=ids, count=families.finer(len(ids)))
        shared = cross_validate_allocating(table, finer, budgets, splits=SPLITS, seed=seed)
        average[kind] = fit_allocating(table, finer, budgets, held_out=shared, seed=seed)
        shown[kind] = _described(found.sizes, found.labels, base, found.thresholds, pool.samples)
    if score is not None:
        tables = families.charged_tables(evidence)
        ran = tables.get("joint", tables["search"])
        measured["charged"] = cross_validate_charged(ran, budgets, splits=SPLITS, seed=seed)
        rows["charged"] = fit_charged(ran, budgets, held_out=measured["charged"], seed=seed)
        allotted = cross_validate_allotment(ran, budgets, splits=SPLITS, seed=seed)
        average["charged"] = fit_allotment(ran, budgets, held_out=allotted, seed=seed)
        choices["charged"] = tuple(_words(str(v.arm), v.probe) for v in ran.variants)
        shown["charged"] = _charged_bins(ran, rows["charged"], base)
    provenance = Provenance(
        recorded.study.name, recorded.hash, recorded.engine, str(recorded.prm or recorded.orm or ""), seed
    )
    ratios = _ratios(evidence, measured) if score is not None else dict.fromkeys(shown)
    return Policies(budgets, bins, rows, average, measured, choices, shown, ratios, provenance)


def candidates(evidence: Evidence) -> dict[Arm, Measure]:
    """What a policy may choose: majority, best-of-N weighted, every search that was run, and revisions.

    Greedy decoding is measured, but not among them: beside a baseline that samples it would
    count the temperature's effect as the policy's.
    """
    found = families.candidates(evidence)
    return dict(found.get("joint", found["search"]))


def _words(arm: str, probe: int) -> str:
    return f"{arm} after a probe of {probe}" if probe else arm


def _described(
    sizes: Sequence[float], labels: NDArray[np.int64], base: Floats, thresholds: Sequence[float], samples: int
) -> dict[str, Any]:
    """A kind of difficulty for the summary; ``labels`` [P] or [R, P]."""
    every = np.broadcast_to(base, labels.shape)
    means = [float(every[labels == b].mean()) if (labels == b).any() else None for b in range(BINS)]
    return {
        "bin_sizes": list(sizes),
        "base_pass_at_1": means,
        "thresholds": list(thresholds),
        "samples": samples,
    }


def _charged_bins(table: ChargedTable, rows: Sequence[Row], base: Floats) -> dict[str, Any]:
    """The bins that a probe gives, for the probe that the fitted policy takes at its largest budget."""
    taken = [row.probe for row in rows if row.probe]
    probe = taken[-1] if taken else max(k for k in table.probe_value if k <= USUAL_PROBE)
    values = table.probe_value[probe]
    thresholds = difficulty.thresholds_of(values)
    labels = difficulty.assign(values, thresholds)
    sizes = np.bincount(labels.ravel(), minlength=BINS) / RUNS
    return _described([float(size) for size in sizes], labels, base, thresholds, probe)


def _ratios(evidence: Evidence, measured: Mapping[str, Measured]) -> dict[str, Any]:
    """Best-of-N weighted's compute over each policy's, at equal accuracy, in every unit."""
    fixed = list(pooled(evidence, "best_of_n_weighted", evidence.score).values())
    accuracy, seed = stacked(fixed, "accuracy").T, evidence.recorded.study.seed
    found: dict[str, Any] = {}
    for kind in ("oracle", "predicted", "charged"):
        if kind not in measured:
            found[kind] = None
            continue
        whole: dict[str, Ratio] = {}
        at: list[dict[str, Any]] = [{"budget": n} for n in evidence.sizes]
        for unit in UNITS:
            spent, cost = stacked(fixed, unit).T, measured[kind].per_problem_cost[unit]
            if not ((spent > 0).all() and (cost > 0).all()):
                whole[unit] = Ratio(float("nan"), None, None, None, 0.0, f"{unit} are not known")
                for row in at:
                    row[unit] = None
                continue
            theirs = Curve(spent, accuracy)
            ours = Curve(cost, measured[kind].per_problem)
            whole[unit] = equal_accuracy_ratio(theirs, ours, seed=seed)
            for i, row in enumerate(at):
                point = equal_accuracy_ratio(theirs, ours, at=i, draws=1, seed=seed)
                row |= {"accuracy": point.target, unit: point.ratio}
        found[kind] = {
            **{unit: whole[unit].ratio for unit in UNITS},
            **{f"{unit}_ci95": _interval(whole[unit]) for unit in UNITS},
            "accuracy": whole["generations"].target,
            "at": at,
        }
    return found


def _interval(ratio: Ratio) -> list[float | None] | None:
    return None if ratio.ratio is None else [ratio.low, ratio.high]
