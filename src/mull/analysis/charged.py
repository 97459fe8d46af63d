"""Outcomes of "k probe samples, then an arm": what a policy is judged on that pays for its difficulty.

The probes are the first k samples of random orders of the pool. A pool arm counts them
among its own; a search arm's recorded finals are joined by them in the final weighted
vote. The module evaluates variants; it never chooses between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mull.analysis.evidence import Evidence, pooled
from mull.analysis.measure import Measure, stacked
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
    costs: list[Measure] = []

    def add(variant: Variant, outcome: NDArray[np.float32], cost: Measure) -> None:
        variants.append(variant)
        outcomes.append(outcome)
        costs.append(cost)

    weighted = pooled(evidence, "best_of_n_weighted", score)
    plain = pooled(evidence, "majority", None)
    prompt = evidence.reading_prompt(score), evidence.grid(f"{score}_prompt_flops")[:, 0]
    for name, selector, measures in (
        ("best_of_n_weighted", f"best_of_n_weighted:{score}", weighted),
        ("majority", "majority", plain),
    ):
        found = estimators.outcomes(pool, selector, evidence.sizes, draws)
        for i, n in enumerate(evidence.sizes):
            for k in (0, *(k for k in probes if k <= n)):
                cost = measures[n]
                if k and name == "majority":  # its probes are scored, too
                    read, worked = evidence.reading(score, k)
                    cost = replace(
                        cost, verifier_tokens=read + prompt[0], flops=cost.flops + worked + prompt[1]
                    )
                add(Variant.pool(Arm(name, n), k), found[i], cost)
    shares, known = _probed(evidence, score, probes, draws), _known(evidence)
    for arm in searches:
        measure, finals = evidence.ran(arm), _finals(evidence, arm, known)
        fixed = np.broadcast_to(measure.accuracy.astype(np.float32), (RUNS, pool.problems))
        add(Variant.search(arm, 0), fixed, measure)
        for k in probes:
            read, worked = evidence.reading(score, k)
            cost = replace(
                measure,
                completion_tokens=measure.completion_tokens + pool.mean_tokens([k])[:, 0],
                verifier_tokens=measure.verifier_tokens + read,
                flops=measure.flops + k * evidence.grid("flops").mean(axis=1) + worked,
            )
            add(Variant.search(arm, k), _joined(finals, shares[k]), cost)
    values = {k: estimators.probe(pool, score, k, draws) for k in probes}
    return ChargedTable(
        tuple(variants),
        np.stack(outcomes),
        stacked(costs, "completion_tokens"),
        stacked(costs, "verifier_tokens"),
        stacked(costs, "flops"),
        values,
    )


#: Every problem's votes: [classes, R] in the order of the pool's answer classes.
Votes = list[Floats]
#: Every problem's answer classes: the number of each, and which are right.
Known = list[tuple[dict[str, int], NDArray[np.bool_]]]


def _probed(evidence: Evidence, score: str, probes: Sequence[int], draws: Draws) -> dict[int, Votes]:
    """The votes of the first k samples of every run, by k (rising in ``probes``)."""
    order = draws.ranks.argsort(axis=0)[: max(probes)]
    scores = np.nan_to_num(evidence.pool.scores[score].astype(np.float64))
    runs = np.arange(draws.size)
    found: dict[int, Votes] = {k: [] for k in probes}
    for row, names in enumerate(evidence.names):
        votes = np.zeros((len(names) + 1, draws.size))  # the last: no answer
        for at, sample in enumerate(order, 1):
            votes[evidence.pool.answers[row, sample], runs] += scores[row, sample]
            if at in found:
                found[at].append(votes[:-1].copy())
    return found


def _known(evidence: Evidence) -> Known:
    """The pool's answer classes; which are right was found when it was read."""
    found: Known = []
    for names, answers, correct in zip(
        evidence.names, evidence.pool.answers, evidence.pool.correct, strict=True
    ):
        right = np.zeros(len(names), bool)
        right[answers[correct]] = True
        found.append(({name: i for i, name in enumerate(names)}, right))
    return found


def _finals(evidence: Evidence, arm: Arm, known: Known) -> list[tuple[Floats, NDArray[np.bool_]]]:
    """An arm's votes for each problem: by class (the pool's, then those of its own), and which are right."""
    found = []
    for row, (vote, (names, right)) in enumerate(zip(evidence.votes(arm), known, strict=True)):
        held = [(a, s) for a, s in zip(vote.answers, vote.scores, strict=True) if a is not None and s == s]
        own = {
            name: len(names) + i for i, name in enumerate(dict.fromkeys(a for a, _ in held if a not in names))
        }
        weights = np.zeros(len(names) + len(own))
        for answer, score in held:
            weights[names[answer] if answer in names else own[answer]] += score
        mine = np.array([evidence.right(row, name) for name in own], bool)
        found.append((weights, np.concatenate([right, mine])))
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
