"""The paper's schematics (figures 2 and 5) from a study's own runs on one problem each.

Which problem is a stated rule, not a choice by eye; the attempts are those that the
study's own numbers at that budget are made of.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mull.paper.arrays import Labels
from mull.paper.samples import question
from mull.paper.searched import Rerun, agrees, grown, whole
from mull.paper.shown import Attempt, Content, Grown, Way, attempt, lines_of
from mull.problems import Problem
from mull.select import SELECTORS, Selection
from mull.strategies.base import Arm
from mull.study.plan import chain_lengths
from mull.trace import Candidate, Scores, Step, Trace

#: What is drawn: attempts (beams) of a method, steps of a solution at most.
SHOWN, STEPS = 4, 5
#: How many problems are run again at most until one is found.
TRIES = 60
SEARCH_RULE = (
    f"The problem is the first of which some of {SHOWN} samples are right and some wrong, on which not all "
    f"three methods do equally well, whose two searches each pruned a step for a worse score in two rounds, "
    f"and whose solutions have at most {STEPS} steps."
)
REVISION_RULE = (
    f"The problem is the first of which some of {SHOWN} first attempts are right and some wrong, whose chain "
    f"of {SHOWN} puts a wrong attempt right, and whose solutions have at most {STEPS + 1} steps."
)


def arms_shown(runs: Collection[Arm]) -> tuple[Arm, Arm] | None:
    """The recorded beam search of 4 beams and the lookahead of as many and the same width, least k first."""
    found: list[tuple[int, int, Arm, Arm]] = []
    for beam in runs:
        if beam.strategy != "beam" or beam.budget != SHOWN:
            continue
        for look in runs:
            params = dict(look.params)
            k, width = int(params.get("k", 1)), params.get("width")
            same = width == dict(beam.params).get("width")
            if look.strategy == "lookahead" and k and same and look.budget == SHOWN * (k + 1):
                found.append((int(width or 0), k, beam, look))
    return min(found, key=lambda f: f[:2])[2:] if found else None


def searches(
    problems: Sequence[Problem],
    bins: Labels | None,
    pool: pl.DataFrame,
    runs: Mapping[Arm, pl.DataFrame],
    rerun: Rerun,
) -> Content | None:
    """Figure 2 on the first problem that its rule allows; None if the study has no such problem or arms."""
    arms = arms_shown(runs)
    if arms is None:
        return None
    each, tried = pool.height // len(problems), 0
    for row, problem in enumerate(problems):
        rows = pool.slice(row * each, SHOWN).to_dicts()
        right = sum(bool(r["correct"]) for r in rows)
        short = all(len(lines_of(r["text"])) <= STEPS and r["prm"] for r in rows)
        if not 0 < right < SHOWN or not short:
            continue
        if tried == TRIES:
            break
        tried += 1
        found = [_search(problem, arm, runs[arm].row(row, named=True), rerun) for arm in arms]
        made = [whole(problem, rows, "Best-of-N", _SAYS["best"]), *(g for g in found if g is not None)]
        if len(made) == 3 and {g.correct for g in made} == {True, False} and all(map(_fits, made[1:])):
            return Content(question(problem, bins, row), tuple(made))
    return None


_SAYS = {
    "best": f"{SHOWN} whole solutions, sampled side by side; each is scored at its end, and they vote",
    "beam": f"{SHOWN} steps a round, each scored; the best {{kept}} go on, {{width}} ways each",
    "lookahead": "the same, but each step is scored after a greedy rollout of {k} more; {budget} generations",
}


def _search(problem: Problem, arm: Arm, row: Mapping[str, Any], rerun: Rerun) -> Grown | None:
    params = dict(arm.params)
    k, width = int(params.get("k", 0)), int(params.get("width", 1))
    result, rollouts = rerun.run(problem, arm)
    if not agrees(result, row):
        return None
    title = "Beam search" if not k else f"Lookahead search, {k} step{'s' if k > 1 else ''}"
    says = _SAYS[arm.strategy].format(kept=SHOWN // width, width=width, k=k, budget=arm.budget)
    return grown(result, rollouts, k, title, says)


def _fits(found: Grown) -> bool:
    return found.depths <= STEPS and telling(found) >= 2


def telling(found: Grown) -> int:
    """In how many rounds a step was pruned that scored less than one kept beside it."""
    rounds = 0
    for depth in range(found.depths):
        level = [n for n in found.nodes if n.depth == depth and n.score is not None]
        kept = max((n.score for n in level if n.kept and n.score is not None), default=0.0)
        rounds += any(not n.kept and n.score is not None and n.score < kept for n in level)
    return rounds


def revisions(
    problems: Sequence[Problem], bins: Labels | None, chains: pl.DataFrame, limit: int
) -> Content | None:
    """Figure 5 on the first problem that its rule allows; None if the study has none."""
    lengths = np.asarray(chain_lengths(limit))
    starts, each = np.concatenate([[0], np.cumsum(lengths)[:-1]]), int(lengths.sum())
    right = chains["correct"].to_numpy().reshape(len(problems), each)
    for row, problem in enumerate(problems):
        first, line = right[row, starts[:SHOWN]], right[row, :SHOWN]
        if first.all() or not first.any() or not (~line[:-1] & line[1:]).any():
            continue
        rows = chains.slice(row * each, each).to_dicts()
        ways = [
            _way(problem, rows, starts, title, says, count, SHOWN // count)
            for title, says, count in (
                ("Parallel", f"{SHOWN} first attempts, none shown another", SHOWN),
                ("Sequential", f"one chain of {SHOWN}: each attempt is shown those before it", 1),
                ("Combined", f"2 chains of {SHOWN // 2}: the verifier chooses in each chain, then across", 2),
            )
        ]
        found = [a for way in ways for chain in way.chains for a in chain]
        if all(len(a.lines) <= STEPS + 1 and a.answer and a.score is not None for a in found):
            return Content(question(problem, bins, row), ways=tuple(ways))
    return None


def _way(
    problem: Problem,
    rows: Sequence[Mapping[str, Any]],
    starts: NDArray[np.int64],
    title: str,
    says: str,
    count: int,
    length: int,
) -> Way:
    """``count`` chains cut to ``length``, chosen from as the study's own hierarchical vote does."""
    taken = [(c, rows[int(starts[c]) + i]) for c in range(count) for i in range(length)]
    candidates = [_candidate(problem, row, chain) for chain, row in taken]
    made = SELECTORS["hierarchical"](problem.id, candidates)
    stand = {
        c * length + at for c in range(count) if (at := _stands(problem, candidates, c, length)) is not None
    }
    attempts: list[Attempt] = []
    for i, (chain, row) in enumerate(taken):
        before = taken[i - 1][1] if i % length else None
        label = f"Attempt {i % length + 1}" if length > 1 else f"Attempt {i + 1}"
        label = f"Chain {chain + 1}, {label.lower()}" if length > 1 and count > 1 else label
        shown = attempt(row, label, before)
        attempts.append(replace(shown, stands=length > 1 and i in stand, chosen=i == made.chosen))
    right = any(a.correct for a in attempts if a.answer == made.answer and made.answer is not None)
    held = tuple(tuple(attempts[c * length : (c + 1) * length]) for c in range(count))
    return Way(title, says, held, dict(made.weights), made.answer, right)


def _candidate(problem: Problem, row: Mapping[str, Any], chain: int) -> Candidate:
    trace = Trace(problem, (Step(row["text"], ()),), row["finish"], chain=chain)
    score = row["score"] if row["score"] is not None else row["prm"]
    return Candidate(trace, row["answer"], None if score is None else Scores((score,)))


def _stands(problem: Problem, found: Sequence[Candidate], chain: int, length: int) -> int | None:
    chosen: Selection = SELECTORS["best_of_n_weighted"](
        problem.id, found[chain * length : (chain + 1) * length]
    )
    return chosen.chosen
