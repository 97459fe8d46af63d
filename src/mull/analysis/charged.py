"""Outcomes of "k probe samples, then an arm": what a policy is judged on that pays for its difficulty.

The probes are the first k samples of random orders of the pool. A pool arm counts them
among its own; a search arm's recorded finals are joined by them in the final weighted
vote. The module evaluates variants; it never chooses between them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mull.analysis.evidence import Evidence, pooled
from mull.answers import is_correct
from mull.policy_charged import ChargedTable, Variant
from mull.strategies.base import Arm
from mull.study import estimators
from mull.study.estimators import TIE, Draws

Floats = NDArray[np.float64]
#: Probe sizes that are tried, and runs of each.
PROBES = (1, 2, 4, 8)
RUNS = 64


def charged_table(evidence: Evidence, searches: Sequence[Arm]) -> ChargedTable:
    """Every variant of majority, best-of-N weighted and the ``searches``."""
    pool, score = evidence.pool, evidence.score
    assert score is not None, "a charged policy needs scores"
    draws = estimators.draw(pool.samples, RUNS, seed=evidence.recorded.study.seed + 1)
    probes = [k for k in PROBES if k <= pool.samples]
    variants: list[Variant] = []
    outcomes: list[NDArray[np.float32]] = []
    tokens: list[Floats] = []
    flops: list[Floats] = []

    def add(variant: Variant, outcome: NDArray[np.float32], spent: Floats, worked: Floats) -> None:
        variants.append(variant)
        outcomes.append(outcome)
        tokens.append(spent)
        flops.append(worked)

    weighted = pooled(evidence, "best_of_n_weighted", score)
    plain = pooled(evidence, "majority", None)
    for name, selector, measures in (
        ("best_of_n_weighted", f"best_of_n_weighted:{score}", weighted),
        ("majority", "majority", plain),
    ):
        found = estimators.outcomes(pool, selector, evidence.sizes, draws)
        for i, n in enumerate(evidence.sizes):
            for k in (0, *(k for k in probes if k <= n)):
                worked = measures[n].flops
                if k and name == "majority":  # its probes are scored, too
                    worked = (
                        worked + evidence.reading(score, k)[1] + evidence.grid(f"{score}_prompt_flops")[:, 0]
                    )
                add(Variant.pool(Arm(name, n), k), found[i], measures[n].completion_tokens, worked)
    shares = {k: _probed(evidence, score, k, draws) for k in probes}
    for arm in searches:
        measure, finals = evidence.ran(arm), _finals(evidence, arm)
        fixed = np.broadcast_to(measure.accuracy.astype(np.float32), (RUNS, pool.problems))
        add(Variant.search(arm, 0), fixed, measure.completion_tokens, measure.flops)
        for k in probes:
            spent = measure.completion_tokens + pool.mean_tokens([k])[:, 0]
            worked = measure.flops + k * evidence.grid("flops").mean(axis=1) + evidence.reading(score, k)[1]
            add(Variant.search(arm, k), _joined(finals, shares[k]), spent, worked)
    values = {k: estimators.probe(pool, score, k, draws) for k in probes}
    return ChargedTable(tuple(variants), np.stack(outcomes), np.stack(tokens), np.stack(flops), values)


#: One problem's votes: by answer class, with which classes are right.
Votes = list[NDArray[np.float64]]


def _probed(evidence: Evidence, score: str, k: int, draws: Draws) -> Votes:
    """The first k samples' votes of every run: for each problem [classes, R]."""
    members = draws.members(k).astype(np.float64)
    scores = np.nan_to_num(evidence.pool.scores[score].astype(np.float64))
    found = []
    for row, names in enumerate(evidence.names):
        onehot = evidence.pool.answers[row] == np.arange(len(names))[:, None]
        found.append((onehot * scores[row]) @ members)
    return found


def _finals(evidence: Evidence, arm: Arm) -> list[tuple[Floats, NDArray[np.bool_]]]:
    """An arm's votes for each problem: by class (the pool's, then those of its own), and which are right."""
    found = []
    for row, vote in enumerate(evidence.votes(arm)):
        names = {name: i for i, name in enumerate(evidence.names[row])}
        held = [(a, s) for a, s in zip(vote.answers, vote.scores, strict=True) if a is not None and s == s]
        weights = np.zeros(len(names) + len({a for a, _ in held if a not in names}))
        for answer, score in held:
            weights[names.setdefault(answer, len(names))] += score
        gold = str(evidence.recorded.problems[row].gold)
        found.append((weights, np.array([is_correct(name, gold) for name in names], bool)))
    return found


def _joined(finals: Sequence[tuple[Floats, NDArray[np.bool_]]], probes: Votes) -> NDArray[np.float32]:
    """The right answers' share of the winners when finals and probes vote together, [R, P]."""
    found = np.zeros((RUNS, len(finals)), np.float32)
    for row, ((weights, right), drawn) in enumerate(zip(finals, probes, strict=True)):
        if not right.any():
            continue
        votes = np.repeat(weights[:, None], RUNS, axis=1)
        votes[: len(drawn)] += drawn
        top = votes.max(axis=0)
        wins = (votes >= top * (1 - TIE)) & (votes > 0)
        found[:, row] = wins[right].sum(axis=0) / np.maximum(wins.sum(axis=0), 1)
    return found
