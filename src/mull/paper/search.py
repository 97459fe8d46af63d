"""The paper's lines of sampling and search, from a study's pool and its recorded searches.

The compute-optimal policy here chooses between the paper's own two arms, best-of-N weighted
and beam search of width 4, at exactly the budget (ICLR section 5.3); mull's wider policies
are a line of their own. Weak verifiers are the recorded scores, spoilt (ICLR appendix K).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from mull.analysis.evidence import Evidence, pooled
from mull.analysis.families import SPLITS, Families, table_of
from mull.analysis.measure import Measure
from mull.difficulty import Bins
from mull.paper.arrays import Floats, Line, line
from mull.policy import cross_validate
from mull.strategies.base import Arm
from mull.study import estimators
from mull.study.pools import Pool, Singles

#: The share of scores that the worse verifier of ICLR appendix K has the wrong way round.
FLIPPED = 0.2
#: Searches by line: strategy and parameters; a width of None is the square root of the budget.
SEARCHES: dict[str, tuple[str, int, int | None]] = {
    "beam:4": ("beam", 0, 4),
    "beam:sqrt": ("beam", 0, None),
    "lookahead:1:sqrt": ("lookahead", 1, None),
    "lookahead:3:sqrt": ("lookahead", 3, None),
    "lookahead:3:4": ("lookahead", 3, 4),
}


def lines(evidence: Evidence, families: Families) -> dict[str, Line]:
    """Every line of sampling, search and their policies that the study has."""
    sizes = np.asarray(evidence.sizes, np.float64)
    found = {"majority": Line(sizes, evidence.accuracies["majority"])}
    for name, table in evidence.accuracies.items():
        kind, _, score = name.partition(":")
        if kind in ("best_of_n", "best_of_n_weighted"):
            found[f"{'best' if kind == 'best_of_n' else 'weighted'}:{score}"] = Line(sizes, table)
    found |= weak(evidence)
    found |= searches(evidence)
    found |= policies(evidence, families.bins)
    return found


def searches(evidence: Evidence) -> dict[str, Line]:
    """The searches' lines; at a budget of one sample each is pass@1, as any method is."""
    first = evidence.accuracies["majority"][:, 0]
    found = {}
    for name in SEARCHES:
        runs = dict(_runs(evidence, name))
        if runs:
            columns = [first, *(evidence.ran(runs[budget]).accuracy for budget in sorted(runs))]
            found[name] = line([1, *sorted(runs)], np.stack(columns, axis=1))
    return found


def _runs(evidence: Evidence, name: str) -> Iterator[tuple[int, Arm]]:
    """A search's recorded arms by budget."""
    strategy, k, width = SEARCHES[name]
    for arm in evidence.runs:
        params = dict(arm.params)
        if arm.strategy != strategy or int(params.get("k", 0)) != k:
            continue
        beams = arm.budget // (k + 1)
        root = int(np.sqrt(beams))
        if params.get("width") == (root if width is None else width):
            if width is None and root * root != beams:
                continue
            yield arm.budget, arm


def policies(evidence: Evidence, bins: Mapping[str, Bins]) -> dict[str, Line]:
    """The paper's compute-optimal search: the better of its two arms in each bin, on held-out folds."""
    runs = dict(_runs(evidence, "beam:4"))
    if evidence.score is None or not runs:
        return {}
    weighted = pooled(evidence, "best_of_n_weighted", evidence.score)
    budgets = sorted({1, *runs} & set(weighted))
    arms: dict[Arm, Measure] = {Arm("best_of_n_weighted", n): weighted[n] for n in budgets}
    arms |= {runs[n]: evidence.ran(runs[n]) for n in budgets if n in runs}
    table, found = table_of(arms), {}
    for kind, held in bins.items():
        measured = cross_validate(table, held, budgets, splits=SPLITS, seed=evidence.recorded.study.seed)
        found[f"policy:search:{kind}"] = line(budgets, measured.per_problem)
        found[f"cost:search:{kind}"] = line(budgets, measured.per_problem_cost["generations"])
    return found


def weak(evidence: Evidence) -> dict[str, Line]:
    """Best-of-N weighted by a random verifier, and by one with a fifth of its scores p turned to 1 - p."""
    if evidence.score is None:
        return {}
    spoilt = spoil(evidence.pool.scores[evidence.score], seed=evidence.recorded.study.seed)
    pool = Pool(evidence.pool.answers, evidence.pool.correct, spoilt, evidence.pool.tokens)
    sizes, draws = evidence.sizes, evidence.draws
    return {
        f"weighted:{name}": line(sizes, estimators.best_of_n_weighted(pool, name, sizes, draws))
        for name in spoilt
    }


def spoil(scores: Singles, *, seed: int) -> dict[str, Singles]:
    """The two weak verifiers' scores in place of ``scores`` [P, S]; what has none stays without."""
    rng = np.random.default_rng([seed, 17])
    drawn, turned = rng.random(scores.shape), rng.random(scores.shape) < FLIPPED
    return {
        "random": np.where(np.isnan(scores), np.nan, drawn).astype(np.float32),
        "flipped": np.where(turned, 1 - scores, scores).astype(np.float32),
    }


def wide(families: Families) -> dict[str, Line]:
    """mull's own policies over all arms: search, revisions, and both together; equal budgets or shared."""
    found = {}
    for (family, kind, allocating), measured in families.measured.items():
        if family == "revisions_majority":
            continue
        how = "allocating" if allocating else "equal"
        found[f"wide:{family}:{how}:{kind}"] = line(measured.budgets, measured.per_problem)
        cost: Floats = measured.per_problem_cost["generations"]
        found[f"spent:{family}:{how}:{kind}"] = line(measured.budgets, cost)
    return found
