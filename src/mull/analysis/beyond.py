"""The summary's sections beyond search: revisions, the larger model, policies by family.

Each follows from the evidence alone and is absent where the study recorded nothing for it.
docs/summary.md is the contract.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mull.analysis import families
from mull.analysis.evidence import Evidence
from mull.analysis.families import Families
from mull.analysis.measure import Measure, by_bin
from mull.analysis.revisions import Revisions, Selector, ratios
from mull.policy import Measured
from mull.policy_ratio import Ratio
from mull.study import bootstrap

Floats = NDArray[np.float64]
#: The baseline's budgets at whose accuracy the families' compute is compared.
AT = (16, 64, 256)
#: What their compute is counted in; FLOPs only where they are known.
UNITS = ("generations", "flops")


def sections(evidence: Evidence, shares: Floats) -> dict[str, Any]:
    """The sections for which there is something, by their key in the summary."""
    found: dict[str, Any] = {}
    if evidence.revisions is None and evidence.larger is None:
        return found
    judged, facts = families.judge(evidence), evidence.recorded.facts
    if evidence.revisions is not None:
        made = of_revisions(evidence.revisions, judged, shares, evidence.recorded.models)
        found["revisions"] = {**made, **facts["reviser"]}
        found["families"] = of_families(evidence, judged, shares)
    if evidence.larger is not None:
        measure = evidence.larger
        found["proposer"] = facts["engine"]
        found["larger"] = {
            "model": evidence.recorded.models.get("larger"),
            **facts["larger"],
            "accuracy": measure.accuracy.mean(),
            "ci95": ends(measure.accuracy, shares),
            "by_bin": by_bins(judged, measure.accuracy),
            "completion_tokens": measure.completion_tokens.mean(),
            "flops": measure.flops.mean(),
        }
    return found


def of_revisions(
    chains: Revisions, judged: Families, shares: Floats, models: Mapping[str, str]
) -> dict[str, Any]:
    """What chains of revisions do, and every ratio of sequential to parallel attempts."""
    lost, won = chains.transitions()
    rows = []
    selectors: list[Selector] = ["majority"]
    if not np.isnan(chains.scores["score"]).all():
        selectors.insert(0, "hierarchical")
    for selector in selectors:
        for budget in chains.budgets:
            for count, length in ratios(budget, chains.limit):
                measure = chains.measure(count, length, selector)
                rows.append(
                    {
                        "selector": selector,
                        "budget": budget,
                        "chains": count,
                        "length": length,
                        "accuracy": measure.accuracy.mean(),
                        "ci95": ends(measure.accuracy, shares),
                        "completion_tokens": measure.completion_tokens.mean(),
                        "verifier_tokens": measure.verifier_tokens.mean(),
                        "flops": measure.flops.mean(),
                        "by_bin": by_bins(judged, measure.accuracy),
                    }
                )
    return {
        "reviser": models.get("reviser"),
        "verifier": models.get("revision"),
        "limit": chains.limit,
        "pass_at_1": chains.by_position().mean(axis=0),
        "context_tokens": chains.by_position("context_tokens").mean(axis=0),
        "correct_to_incorrect": rate(lost, shares),
        "incorrect_to_correct": rate(won, shares),
        "ratios": rows,
    }


def of_families(evidence: Evidence, judged: Families, shares: Floats) -> list[dict[str, Any]]:
    """A row a policy: accuracy and cost at every budget, and its compute against best-of-N weighted's."""
    rows = []
    seed = evidence.recorded.study.seed
    baselines: dict[str, dict[int, Measure]] = {}
    if evidence.score is not None:
        baselines["ratio"] = families.parallel(evidence, "proposer")
    if evidence.revisions is not None and evidence.recorded.study.revision is not None:
        baselines["ratio_of_reviser"] = families.parallel(evidence, "reviser")
    for (family, kind, allocating), measured in judged.measured.items():
        found: dict[str, Any] = {
            "family": family,
            "difficulty": kind,
            "allocating": allocating,
            "budgets": list(measured.budgets),
            "accuracy": measured.accuracy,
            "ci95": [ends(column, shares) for column in measured.per_problem.T],
            "generations": measured.generations,
            "flops": measured.flops,
        }
        units = UNITS if evidence.sized else UNITS[:1]
        found |= {name: _ratios(fixed, measured, units, seed) for name, fixed in baselines.items()}
        rows.append(found)
    return rows


def _ratios(
    fixed: Mapping[int, Measure], measured: Measured, units: Sequence[str], seed: int
) -> dict[str, Any]:
    return {
        str(n): {unit: as_row(families.ratio(fixed, measured, n, unit, seed)) for unit in units}
        for n in AT
        if n in fixed
    }


def as_row(ratio: Ratio) -> dict[str, Any]:
    """An equal-accuracy ratio as plain data."""
    interval = None if ratio.ratio is None else [ratio.low, ratio.high]
    return {"accuracy": ratio.target, "ratio": ratio.ratio, "ci95": interval, "reason": ratio.reason or None}


def rate(counts: NDArray[np.int64], shares: Floats) -> dict[str, Any]:
    """How often of how often, from ``counts`` [P, 2] (times it could, times it did), over problems."""
    could, did = counts[:, 0].astype(np.float64), counts[:, 1].astype(np.float64)
    if not could.any():
        return {"rate": None, "ci95": None, "times": 0}
    drawn = (shares @ did) / np.maximum(shares @ could, 1e-12)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"rate": did.sum() / could.sum(), "ci95": [low, high], "times": int(could.sum())}


def ends(values: Floats, shares: Floats) -> list[float]:
    """The ends of a mean's 95 % interval."""
    low, high = bootstrap.ci95(values, shares)
    return [float(low), float(high)]


def by_bins(judged: Families, accuracy: Floats) -> dict[str, list[float | None]]:
    """Mean accuracy in each bin, easiest first, by kind of difficulty."""
    return {kind: by_bin(bins, accuracy) for kind, bins in judged.bins.items()}
