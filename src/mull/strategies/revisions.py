"""What the revising strategies share: chains of attempts, each shown the attempts before it.

A model that was trained to revise (or asked to) sees the problem and the last ``WINDOW``
attempts of its chain, and writes another. Chains never see each other. Only attempts that
the model ended itself are shown on; a failed or cut one is a candidate like any other, and
the chain goes on without it. Nothing is selected here.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from mull.problems import Problem
from mull.strategies.base import Finals, Request
from mull.trace import Sample, Score, Scores, Trace

#: How many attempts a model is shown at most (Snell et al. 2024, section 6.1).
WINDOW = 4


@dataclass(frozen=True)
class Chain:
    """A chain's number, and the texts of the attempts that it has so far."""

    number: int
    texts: tuple[str, ...] = ()

    def next(self, problem: Problem) -> Trace:
        """The trace of the chain's next attempt."""
        return Trace(problem, earlier=self.texts[-WINDOW:], chain=self.number)

    def after(self, attempt: Trace) -> Chain:
        """The chain, longer by an attempt if that is whole."""
        return Chain(self.number, (*self.texts, attempt.text)) if attempt.complete else self


def revised(
    problem: Problem, chains: Sequence[Chain], attempts: int, *, scored: bool
) -> Generator[Request, Any, Finals]:
    """``attempts`` more attempts, shared evenly by the chains (the first take what is over).

    Costs that many generations. All attempts are returned, round by round, with scores if ``scored``.
    """
    finals: Finals = []
    chains = list(chains)
    while len(finals) < attempts:
        chains = chains[: attempts - len(finals)]
        asked = tuple(chain.next(problem) for chain in chains)
        made: list[Trace] = yield Sample(asked, "end", by="reviser")
        found: list[Scores | None] = [None] * len(made)
        if scored:
            found = yield Score(tuple(made), need="revision")
        finals += zip(made, found, strict=True)
        chains = [chain.after(attempt) for chain, attempt in zip(chains, made, strict=True)]
    return finals
