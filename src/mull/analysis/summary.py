"""What a study found: ``summary.json`` (docs/summary.md is its contract), ``policy.json``.

Everything follows from the shards and the study's seed, so the files are the same to the
last byte whenever they are written. They are replaced whole.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mull import __version__, policy_file
from mull.analysis import beyond
from mull.analysis.calibration import calibrations
from mull.analysis.evidence import Evidence, gather, pooled
from mull.analysis.measure import Measure, by_bin, by_bin_ci95
from mull.analysis.policies import UNITS, Policies, fit_all
from mull.analysis.usage import uncounted, usage
from mull.analysis.vocabulary import unspelt
from mull.difficulty import Bins
from mull.strategies.base import Arm
from mull.study import bootstrap, estimators, store
from mull.study.failures import reasons
from mull.study.folder import Recorded
from mull.study.incomplete import Lacks
from mull.study.plan import canonical
from mull.study.pooling import unscored

Floats = NDArray[np.float64]
SCHEMA = 1


def write(recorded: Recorded, lacking: Lacks | None = None) -> dict[str, Any]:
    """Analyse a finished study and write its summary and policy; returns the summary.

    ``lacking`` is what the study lacks of which ``recorded`` is the part that lacks nothing.
    """
    evidence = gather(recorded)
    policies = fit_all(evidence)
    summary = summarise(evidence, policies)
    if lacking is not None:
        summary["incomplete"] = lacking.as_json
        summary["warnings"].insert(0, f"incomplete: {lacking}")
    policy_file.save(policies.policy, recorded.path / "policy.json")
    store.write_text(recorded.path / "summary.json", json.dumps(summary, indent=1, allow_nan=False) + "\n")
    return summary


def summarise(evidence: Evidence, policies: Policies) -> dict[str, Any]:
    """The summary as plain data."""
    recorded, pool = evidence.recorded, evidence.pool
    study = recorded.study
    shares = bootstrap.weights(pool.problems, seed=study.seed)
    base = bootstrap.mean_ci95(pool.correct.mean(axis=1), shares)
    passes = estimators.pass_at_k(pool, evidence.sizes).mean(axis=0)
    found = {
        "schema": SCHEMA,
        "study": {
            "name": study.name,
            "hash": recorded.hash,
            "seed": study.seed,
            "engine": recorded.engine,
            "verifiers": {"prm": recorded.prm, "orm": recorded.orm},
            "temperature": study.temperature,
            "pool": study.pool,
            "mull": __version__,
        },
        "problems": pool.problems,
        "base": {
            "pass_at_1": base.mean,
            "ci95": [base.low, base.high],
            "pass_at_k": {str(k): value for k, value in zip(evidence.sizes, passes, strict=True)},
            "completion_tokens": float(pool.tokens.mean()),
        },
        "arms": arms(evidence, policies, shares),
        "difficulty": policies.difficulty,
        "compute_optimal": compute_optimal(evidence, policies, shares),
        "headline": {"equal_accuracy_ratio": policies.ratios},
        "calibration": calibrations(evidence),
        "warnings": warnings(evidence, policies),
        **beyond.sections(evidence, shares),
    }
    if not evidence.sized:
        found = _without_flops(found)
    if (asked := usage(recorded)) is not None:
        found["usage"] = asked
    clean: dict[str, Any] = _clean(found)
    return clean


def _without_flops(value: Any) -> Any:
    """The summary with null for every number of FLOPs: those of a model of unknown size are not known."""
    if isinstance(value, Mapping):
        unknown = {key for key in value if key == "flops" or key.endswith("_flops")}
        return {k: None if k in unknown else _without_flops(v) for k, v in value.items()}
    return [_without_flops(each) for each in value] if isinstance(value, list) else value


def arms(evidence: Evidence, policies: Policies, shares: Floats) -> list[dict[str, Any]]:
    """A row an arm: the pool's by selector and size, then those that were run."""
    rows = []
    selectors: list[tuple[str, str | None, dict[str, str]]] = [("majority", None, {})]
    for name in evidence.pool.scores:
        verifier, _, how = name.partition("-")
        by = {"verifier": verifier, "aggregation": how or "last"}
        if not how:
            selectors.append(("best_of_n", name, by))
        selectors.append(("best_of_n_weighted", name, by))
    for strategy, score, params in selectors:
        for n, measure in pooled(evidence, strategy, score).items():
            rows.append(_arm(Arm(strategy, n, tuple(params.items())), measure, policies, shares))
    for arm in evidence.recorded.study.live:
        rows.append(_arm(arm, evidence.ran(canonical(arm)), policies, shares))
    return rows


def _arm(arm: Arm, measure: Measure, policies: Policies, shares: Floats) -> dict[str, Any]:
    found = bootstrap.mean_ci95(measure.accuracy, shares)
    return {
        "strategy": arm.strategy,
        "params": dict(arm.params),
        "budget": arm.budget,
        "generations": measure.generations.mean(),
        "completion_tokens": measure.completion_tokens.mean(),
        "verifier_tokens": measure.verifier_tokens.mean(),
        "flops": measure.flops.mean(),
        "accuracy": found.mean,
        "ci95": [found.low, found.high],
        **_by_bin("by_bin", policies.bins["oracle"], measure, shares),
        **_by_bin("by_bin_predicted", policies.bins.get("predicted"), measure, shares),
    }


def _by_bin(name: str, bins: Bins | None, measure: Measure, shares: Floats) -> dict[str, Any]:
    if bins is None:
        return {name: None, f"{name}_ci95": None}
    ends = by_bin_ci95(bins, measure.accuracy, shares)
    return {name: by_bin(bins, measure.accuracy), f"{name}_ci95": ends}


def compute_optimal(evidence: Evidence, policies: Policies, shares: Floats) -> list[dict[str, Any]]:
    """A row a budget: the policies beside best-of-N weighted and majority."""
    fixed = {"majority": pooled(evidence, "majority", None)}
    if evidence.score is not None:
        fixed["best_of_n"] = pooled(evidence, "best_of_n_weighted", evidence.score)
    rows = []
    for n, budget in enumerate(policies.budgets):
        row: dict[str, Any] = {"budget": budget}
        for name in ("oracle", "predicted", "charged"):
            measured = policies.measured.get(name)
            if measured is None:
                row |= {name: None, **{f"{name}_{field}": None for field in ("ci95", *UNITS, "sd", "arms")}}
                continue
            row[name] = measured.accuracy[n]
            row[f"{name}_ci95"] = _ends(measured.per_problem[:, n], shares)
            for unit in UNITS:
                row[f"{name}_{unit}"] = measured.per_problem_cost[unit].mean(axis=0)[n]
            row[f"{name}_sd"] = measured.sd[n]
            row[f"{name}_arms"] = policies.favourites(name, n)
        for name in ("best_of_n", "majority"):
            measure = fixed[name][budget] if name in fixed else None
            row[name] = None if measure is None else measure.accuracy.mean()
            row[f"{name}_ci95"] = None if measure is None else _ends(measure.accuracy, shares)
            for unit in UNITS:
                row[f"{name}_{unit}"] = None if measure is None else getattr(measure, unit).mean()
        rows.append(row)
    return rows


def warnings(evidence: Evidence, policies: Policies) -> list[str]:
    """What a reader should know before believing the rest."""
    samples, total = evidence.samples, evidence.samples.height
    finish = Counter(samples["finish"].to_list())
    found = []
    if finish["error"]:
        found.append(
            f"{finish['error']} of {total} pool samples failed; they have no answer and count as wrong"
        )
    if finish["length"]:
        found.append(f"{finish['length']} of {total} pool samples were cut by length")
    for name, model in (("prm", evidence.recorded.prm), ("orm", evidence.recorded.orm)):
        errors = samples.filter(pl.col(name).is_null())["error"].to_list() if model is not None else []
        if errors:
            whys = reasons(why for error in errors if (why := unscored(error, name)))
            often = "".join(f"; {count} times: {why}" for why, count in whys[:3])
            found.append(
                f"{len(errors)} of {total} pool samples were not scored by the {name.upper()}{often}"
            )
    for arm, frame in evidence.runs.items():
        touched = int((frame["events"].list.len() > 0).sum())
        if touched:
            first = frame["events"].explode().drop_nulls()[0]
            found.append(
                f"{arm}: something went wrong on {touched} of {frame.height} problems; first: {first}"
            )
    never = int((evidence.pool.correct.sum(axis=1) == 0).sum())
    if never > policies.difficulty["oracle"]["bin_sizes"][-1]:
        found.append(
            f"{never} problems were never solved in {evidence.pool.samples} samples, more than a bin holds: "
            "the hardest oracle bins differ by a hash alone"
        )
    if not evidence.sized:
        found.append("FLOPs are unknown: a model's parameters were not given; compute is compared in tokens")
    found += uncounted(evidence.recorded)
    found += unspelt(evidence.recorded)
    if evidence.score is None:
        found.append("there is no verifier: no weighted vote, no predicted and no charged difficulty")
    return found


def _ends(values: Floats, shares: Floats) -> list[float]:
    low, high = bootstrap.ci95(values, shares)
    return [float(low), float(high)]


def _clean(value: Any) -> Any:
    """Plain JSON: NumPy's numbers as Python's, 10 significant digits, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {key: _clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_clean(inner) for inner in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(f"{value:.10g}") if math.isfinite(value) else None
    return value
