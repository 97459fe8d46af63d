"""Policies over families of arms: search, revisions, and both as arms of one policy.

Each family is judged twice: with the same budget for every problem, as the paper does, and
allocating, with the average budget fixed; for oracle, predicted and charged difficulty (the
last two where there are scores to judge by). Everything is cross-validated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mull import difficulty
from mull.analysis.charged import charged_table
from mull.analysis.evidence import Evidence, pooled
from mull.analysis.measure import Measure, stacked
from mull.difficulty import Bins
from mull.policy import ArmTable, Measured, cross_validate
from mull.policy_allocate import cross_validate_allocating
from mull.policy_allocate_charged import cross_validate_allotment
from mull.policy_charged import ChargedTable, Variant, cross_validate_charged
from mull.policy_ratio import Curve, Ratio, equal_accuracy_ratio
from mull.strategies.base import Arm, find

Family = Literal["search", "revisions", "revisions_majority", "joint"]
FAMILIES: tuple[Family, ...] = ("search", "revisions", "revisions_majority", "joint")
SPLITS = 20
#: Bins of the allocating policy: finer than the paper's five, since it also moves compute between them.
#: Chosen with its spread on validation problems (docs/log.md).
FINER = 10


@dataclass(frozen=True, eq=False)
class Families:
    """Cross-validated policies by (family, kind of difficulty, allocating).

    ``arms`` are each family's candidates with their measures; ``bins`` the paper's five by kind.
    """

    budgets: tuple[int, ...]
    bins: Mapping[str, Bins]
    arms: Mapping[Family, Mapping[Arm, Measure]]
    measured: Mapping[tuple[Family, str, bool], Measured]

    def names(self, family: Family) -> tuple[str, ...]:
        """The family's arms, in the order of ``Measured.chosen``."""
        return tuple(map(str, self.arms[family]))


def candidates(evidence: Evidence) -> dict[Family, dict[Arm, Measure]]:
    """The arms of each family; the families that the study has no arms for are absent."""
    search = {Arm("majority", n): m for n, m in pooled(evidence, "majority", None).items()}
    if evidence.score is not None:
        weighted = pooled(evidence, "best_of_n_weighted", evidence.score)
        search |= {Arm("best_of_n_weighted", n): m for n, m in weighted.items()}
    search |= {arm: evidence.ran(arm) for arm in evidence.searches}
    found: dict[Family, dict[Arm, Measure]] = {"search": search}
    chains = evidence.revisions
    if chains is None:
        return found
    if evidence.recorded.study.revision is not None:
        found["revisions"] = chains.arms("hierarchical")
    found["revisions_majority"] = chains.arms("majority")
    joint = dict(search)
    for family in ("revisions", "revisions_majority"):
        joint |= found.get(family, {})
    joint |= {arm: evidence.ran(arm) for arm in evidence.mixed}
    return found | {"joint": joint}


def finer(problems: int) -> int:
    """How many bins the allocating policy has: :data:`FINER`, fewer where problems are few."""
    return min(FINER, problems // 5)


def judge(evidence: Evidence) -> Families:
    """Cross-validate every family's policies, for every kind of difficulty."""
    seed = evidence.recorded.study.seed
    ids = [problem.id for problem in evidence.recorded.problems]
    values = {"oracle": difficulty.oracle(evidence.pool)}
    if evidence.score is not None:
        values["predicted"] = difficulty.predicted(evidence.pool, evidence.score)
    bins = {kind: difficulty.quantile_bins(value, ids=ids) for kind, value in values.items()}
    finest = {
        kind: difficulty.quantile_bins(value, ids=ids, count=finer(len(ids)))
        for kind, value in values.items()
    }
    arms = candidates(evidence)
    measured: dict[tuple[Family, str, bool], Measured] = {}
    for family, found in arms.items():
        table = table_of(found)
        for kind in values:
            measured[family, kind, False] = cross_validate(
                table, bins[kind], evidence.sizes, splits=SPLITS, seed=seed, allow_cheaper=True
            )
            measured[family, kind, True] = cross_validate_allocating(
                table, finest[kind], evidence.sizes, splits=SPLITS, seed=seed
            )
    for family, variants in charged_tables(evidence).items():
        for allocating, judged in ((False, cross_validate_charged), (True, cross_validate_allotment)):
            key = (family, "charged", allocating)
            measured[key] = judged(variants, evidence.sizes, splits=SPLITS, seed=seed)
    return Families(evidence.sizes, bins, arms, measured)


def charged_tables(evidence: Evidence) -> dict[Family, ChargedTable]:
    """The charged variants of each family that there is, evaluated; none without scores to judge by."""
    if evidence.score is None:
        return {}
    arms, ran = candidates(evidence), charged_table(evidence, evidence.searches)
    found: dict[Family, ChargedTable] = {"search": ran}
    for family in ("revisions", "revisions_majority"):
        if family in arms:
            found[family] = revised(evidence, ran, arms[family])
    if "joint" in arms:
        revising = {arm: m for arm, m in arms["joint"].items() if find(arm.strategy).reviser}
        found["joint"] = _both(ran, revised(evidence, ran, revising))
    return found


def revised(evidence: Evidence, ran: ChargedTable, arms: Mapping[Arm, Measure]) -> ChargedTable:
    """The charged variants of ``arms`` that revise, in the runs of ``ran``.

    A probe before revisions is for judging alone: its samples, another model's, have no vote.
    """
    score, pool = evidence.score, evidence.pool
    assert score is not None
    variants, outcomes, completion, verifier, flops = [], [], [], [], []
    prompts = evidence.grid("prompt_flops")[:, 0] + evidence.grid(f"{score}_prompt_flops")[:, 0]
    for k in (0, *sorted(ran.probe_value)):
        read, spent = evidence.reading(score, k) if k else (np.zeros(pool.problems),) * 2
        sampled = pool.mean_tokens([k])[:, 0]
        worked = k * evidence.grid("flops").mean(axis=1) + spent + (prompts if k else 0.0)
        read = read + (evidence.reading_prompt(score) if k else 0.0)
        for arm, measure in arms.items():
            variants.append(Variant.search(arm, k))
            outcomes.append(np.broadcast_to(measure.accuracy, (1, ran.runs, pool.problems)))
            completion.append((measure.completion_tokens + sampled)[None])
            verifier.append((measure.verifier_tokens + read)[None])
            flops.append((measure.flops + worked)[None])
    return ChargedTable(
        tuple(variants),
        np.concatenate(outcomes).astype(np.float32),
        np.concatenate(completion),
        np.concatenate(verifier),
        np.concatenate(flops),
        ran.probe_value,
    )


def _both(first: ChargedTable, second: ChargedTable) -> ChargedTable:
    """The variants of two tables of the same runs."""
    return ChargedTable(
        (*first.variants, *second.variants),
        np.concatenate([first.outcome, second.outcome]),
        np.concatenate([first.completion_tokens, second.completion_tokens]),
        np.concatenate([first.verifier_tokens, second.verifier_tokens]),
        np.concatenate([first.flops, second.flops]),
        first.probe_value,
    )


def table_of(found: Mapping[Arm, Measure]) -> ArmTable:
    """Arms with their measures as a policy's table."""
    measures = list(found.values())
    return ArmTable(
        tuple(found),
        *(stacked(measures, name) for name in ("accuracy", "generations", "tokens", "flops")),
    )


def parallel(evidence: Evidence, by: Literal["proposer", "reviser"]) -> dict[int, Measure]:
    """A baseline, by N: best-of-N weighted over the proposer's samples, or the reviser's first attempts.

    A reviser that was fine-tuned is a better sampler before it revises anything, so what
    revising itself saves shows against its own first attempts alone (the paper's "parallel").
    """
    if by == "proposer":
        return pooled(evidence, "best_of_n_weighted", evidence.score)
    chains = evidence.revisions
    assert chains is not None
    return {n: chains.measure(n, 1) for n in chains.budgets}


def ratio(
    fixed: Mapping[int, Measure], measured: Measured, budget: int, unit: str = "generations", seed: int = 0
) -> Ratio:
    """A baseline's compute (:func:`parallel`) over a policy's, at the baseline's accuracy at ``budget``."""
    sizes = list(fixed)
    theirs = Curve(stacked(list(fixed.values()), unit).T, stacked(list(fixed.values()), "accuracy").T)
    ours = Curve(measured.per_problem_cost[unit], measured.per_problem)
    return equal_accuracy_ratio(theirs, ours, at=sizes.index(budget), seed=seed)
