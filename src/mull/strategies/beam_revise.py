"""Beam search over first attempts, then revision of the survivors.

The paper studies search and revisions apart (Snell et al. 2024, section 8 leaves their
union open). Here half of the budget finds good first attempts, and the other half revises
the best of them.
"""

from __future__ import annotations

from mull.problems import Problem
from mull.strategies.base import Finals, Plan, strategy
from mull.strategies.budgets import beam_shape, beams_fit, check_count, require
from mull.strategies.revisions import Chain, revised
from mull.strategies.rounds import search
from mull.strategies.sampling import independent
from mull.trace import Read, Score, Scores


@strategy("beam_revise", selector="hierarchical", verifier="process", also=("revision",), reviser=True)
def beam_revise(
    problem: Problem, *, budget: int, width: int = 4, chains: int = 4, max_rounds: int = 40
) -> Plan:
    """Beam search with half the budget; its best finals are revised with the other half.

    N/2 beams of ``width`` children a survivor; the ``chains`` best finals with different
    answers each start a chain of revisions, N/2 attempts in all. The finals vote too.
    Budget: N/2 a multiple of ``width`` and of ``chains``, or 1.
    """
    for name, value in (("width", width), ("chains", chains), ("max_rounds", max_rounds)):
        check_count("beam_revise", name, value, 1)

    def fits(n: int) -> bool:
        return n == 1 or (n % 2 == 0 and n >= 4 and beams_fit(n // 2, width) and n // 2 % chains == 0)

    require(f"beam_revise(width={width}, chains={chains})", budget, fits)
    if budget == 1:
        return independent(problem, 1, scored=True)
    return _plan(problem, budget // 2, width, chains, max_rounds)


def _plan(problem: Problem, half: int, width: int, chains: int, max_rounds: int) -> Plan:
    slots, children = beam_shape("beam_revise", half, width)
    searched = yield from search(problem, groups=1, slots=slots, width=children, max_rounds=max_rounds)
    answers: list[str | None] = yield Read(tuple(trace for trace, _ in searched))
    best = sorted(range(len(searched)), key=lambda i: -scores.last if (scores := searched[i][1]) else 1.0)
    firsts: dict[str, int] = {}
    for i in best:
        answer = answers[i]
        if answer is not None:
            firsts.setdefault(answer, i)
    started = [Chain(n).after(searched[i][0]) for n, i in enumerate(list(firsts.values())[:chains])]
    if not started:  # nothing to revise: the chains start from nothing
        started = [Chain(n) for n in range(chains)]
    # Scored again as the reviser's attempts are, so that all candidates' values compare.
    attempts = tuple(trace for trace, _ in searched)
    scores: list[Scores | None] = yield Score(attempts, need="revision")
    finals: Finals = list(zip(attempts, scores, strict=True))
    return finals + (yield from revised(problem, started, half, scored=True))
