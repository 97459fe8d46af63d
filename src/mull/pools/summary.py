"""What a pool says: accuracies by number of samples, tokens, difficulty, with intervals and warnings.

Everything comes from the estimators and the bootstrap of studies; docs/pools.md lists the
fields. Nothing is generated, and what is resampled says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from mull.errors import MullError
from mull.pools.check import capped, warnings
from mull.pools.data import PoolData
from mull.pools.steps import auroc
from mull.pools.vote import agreement, behaviour_majority
from mull.study import bootstrap
from mull.study.estimators import best_of_n, best_of_n_weighted, draw, majority, pass_at_k
from mull.study.pools import Floats, Pool

#: The version of what :func:`summarize` gives.
VERSION = 1
_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
#: Bootstrap draws, fewer where there are so many problems that the draws would fill the memory.
_DRAWS, _CELLS = 1000, 20_000_000


def powers(samples: int) -> list[int]:
    """1, 2, 4, ... up to ``samples``, and ``samples`` itself; every number up to ten."""
    if samples <= 10:
        return list(range(1, samples + 1))
    return sorted({2**i for i in range(samples.bit_length())} | {samples})


def summarize(
    data: PoolData, *, ks: Sequence[int] | None = None, draws: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """The summary as plain data, ready for JSON.

    ``ks`` defaults to :func:`powers`; ``draws`` seeded subsets stand for all where no formula is fast
    (weighted votes of 2 < k < S). Where empty answers vote, the votes without them are there too.
    """
    ks = list(ks or powers(data.samples))
    if bad := [k for k in ks if not 1 <= k <= data.samples]:
        raise MullError(f"k = {bad[0]} needs that many samples a problem; there are {data.samples}")
    if draws < 1:
        raise MullError(f"draws is {draws}; it must be at least 1")
    shares = bootstrap.weights(data.problems, max(100, min(_DRAWS, _CELLS // data.problems)), seed=seed)
    found: dict[str, Any] = {
        "schema": VERSION,
        "source": data.info.source,
        "kind": data.info.kind,
        "problems": data.problems,
        "samples": data.samples,
    }
    judged = bool(data.judged.any())
    found |= _accuracies(data, ks, draws, seed, shares) if judged else {"pass@k": None, "majority@k": None}
    found |= _tokens(data)
    if judged:
        found |= _difficulty(data)
        if data.behaviours is not None:
            found["behaviour"] = _behaviour(data)
        if data.info.kind == "trials":
            found["solved_by_trial"] = solved_by_trial(data)
        if data.info.kind == "search":
            found["search"] = {
                "first": float(data.correct[:, 0].mean()),
                "any": float(data.correct.any(axis=1).mean()),
            }
    if data.layout.step_scores and "step_labels" in data.frame.columns:
        found["step_auroc"] = step_auroc(data)
    return {**found, "warnings": warnings(data)}


def _accuracies(data: PoolData, ks: list[int], draws: int, seed: int, shares: Floats) -> dict[str, Any]:
    pool, orders = data.pool, draw(data.samples, draws, seed=seed)
    opposite = Pool(np.where(data.correct, 0, 1), ~data.correct, {}, data.tokens)
    rows: dict[str, Floats] = {"pass@k": pass_at_k(pool, ks), "pass^k": 1 - pass_at_k(opposite, ks)}
    if data.answered:
        rows["majority@k"] = majority(pool, ks)
        if data.blank.any():
            rows["majority_answered@k"] = majority(data.without_blanks().pool, ks)
    found: dict[str, Any] = {"majority@k": None, **_by_k(rows, ks, shares)}
    if data.samples > 1 and data.scores:
        chosen = {name: best_of_n(pool, name, ks) for name in data.scores}
        found |= _nested("best_of_n@k", _by_k(chosen, ks, shares))
        if data.answered:
            voted = {name: best_of_n_weighted(pool, name, ks, orders) for name in data.scores}
            found |= _nested("best_of_n_weighted@k", _by_k(voted, ks, shares))
    weighted = "best_of_n_weighted@k" in found
    between = [k for k in ks if 2 < k < data.samples] if weighted else []
    kept = {name: ~np.isnan(score) & data.judged for name, score in data.scores.items()}
    kept = {name: held for name, held in kept.items() if len(np.unique(data.correct[held])) == 2}
    if kept:
        found["auroc"] = {n: auroc(data.scores[n][held], data.correct[held]) for n, held in kept.items()}
    found["resampled"] = {"draws": draws, "seed": seed, "votes_at": between}
    found["bootstrap"] = {"draws": len(shares), "seed": seed, "over": "problems"}
    return found


def _by_k(rows: dict[str, Floats], ks: list[int], shares: Floats) -> dict[str, Any]:
    """Means and intervals by k of per-problem accuracies, each [P, len(ks)]: NAME and NAME_ci95."""
    found: dict[str, Any] = {}
    for name, values in rows.items():
        low, high = bootstrap.ci95(values, shares)
        found[name] = {str(k): float(v) for k, v in zip(ks, values.mean(axis=0), strict=True)}
        found[f"{name}_ci95"] = {str(k): [float(a), float(b)] for k, a, b in zip(ks, low, high, strict=True)}
    return found


def _nested(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """Figures by verifier under one name, their intervals under another."""
    ends = {key.removesuffix("_ci95"): value for key, value in found.items() if key.endswith("_ci95")}
    return {name: {key: found[key] for key in ends}, f"{name}_ci95": ends}


def _tokens(data: PoolData) -> dict[str, Any]:
    counts = data.tokens[data.timed]
    if not counts.size:
        return {"mean_tokens": None, "tokens": None}
    cap, at = capped(data)
    tokens = {
        "mean": float(counts.mean()),
        "median": float(np.median(counts)),
        "p90": float(np.percentile(counts, 90)),
        "max": cap,
        "share_at_cap": at / counts.size,
        "share_zero": float((counts == 0).mean()),
        "share_unknown": 1 - counts.size / data.tokens.size,
    }
    return {"mean_tokens": tokens["mean"], "tokens": tokens}


def _difficulty(data: PoolData) -> dict[str, Any]:
    chance = data.correct.mean(axis=1)
    edges = np.linspace(0, 1, 11)
    counts = np.bincount(np.minimum((chance * 10 + 1e-9).astype(int), 9), minlength=10)
    histogram = [
        {"from": round(float(a), 1), "to": round(float(b), 1), "problems": int(n)}
        for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    found: dict[str, Any] = {
        "histogram": histogram,
        "quantiles": {
            str(q): float(v) for q, v in zip(_QUANTILES, np.quantile(chance, _QUANTILES), strict=True)
        },
        "never_right": int((chance == 0).sum()),
        "always_right": int((chance == 1).sum()),
    }
    if data.answered:
        whole = majority(data.pool, [data.samples])[:, 0]
        found["majority_below_chance"] = int((whole < chance - 1e-12).sum())
    return {"difficulty": found}


def _behaviour(data: PoolData) -> dict[str, float]:
    found = {"majority": float(behaviour_majority(data).mean())}
    if not data.scores:
        return found
    kinds = data.frame.group_by("problem", "behaviour").agg(pl.col("scores").struct.unnest().n_unique())
    counts = [name for name in data.scores if (kinds[name] == 1).all()]  # one value a behaviour
    return found | {f"agreement:{name}": float(agreement(data, name).mean()) for name in counts}


def solved_by_trial(data: PoolData) -> list[int]:
    """Problems solved after trial 0, 1, ...: of every trial that was recorded, not of the first S alone.

    A pool of kind "trials" stops a problem's rows at its success, so the count needs all rows.
    """
    if data.attempts is None:
        raise MullError("only a pool of kind 'trials' has trials in order")
    first = data.attempts.filter(data.attempts["correct"]).group_by("problem").agg(pl.col("sample").min())
    last = int(data.attempts["sample"].max() or 0)  # type: ignore[arg-type]
    counts = np.bincount(first["sample"].to_numpy(), minlength=last + 1)
    return [int(n) for n in np.cumsum(counts)]


def step_auroc(data: PoolData) -> dict[str, float]:
    """By verifier of steps: how well its scores rank right above wrong, over all labelled steps."""
    labels = data.frame["step_labels"].explode()
    found = {}
    for name in data.layout.step_scores:
        values = data.frame["step_scores"].struct.field(name).explode()
        if len(values) != len(labels):
            raise MullError(f"step scores {name!r} and step labels are not of one length")
        kept = values.is_not_null() & labels.is_not_null()
        found[name] = auroc(values.filter(kept).to_numpy(), labels.filter(kept).to_numpy() >= 0.5)
    return found
