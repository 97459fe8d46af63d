"""The meter: how many generations a run has spent, and the stop when it would overspend.

**The rule.** A generation is one sampling of each step position. The count of a position
(the number of steps before it) goes up by one for every open trace continued from it,
by one for every solution sampled to the end from there or from an earlier position, and
by k for every open trace scored with lookahead k. A run's generations are the count of
its busiest position. So (Snell et al. 2024, section 5.2):

- N independent solutions cost N, however many requests they come in;
- N beams cost N: each round samples the next position N times; pruned beams cost nothing
  more, and continuing the open ones to the end completes solutions already counted;
- a chain of revisions costs its length, since each attempt starts from the first position;
- lookahead k costs N(k + 1); two searches one after the other cost the sum.

The meter knows requests only; tokens and FLOPs are counted by the driver's ledger.
"""

from __future__ import annotations

from collections import Counter

from mull.errors import MullError
from mull.trace import Read, Sample, Score


class BudgetExceeded(MullError):  # noqa: N818
    """A strategy asked for more generations than its arm's budget: a bug in the strategy."""


class Meter:
    """Counts one run's requests by the rule above."""

    def __init__(self) -> None:
        self._here: Counter[int] = Counter()
        self._onward: Counter[int] = Counter()

    @property
    def generations(self) -> int:
        """Generations spent so far."""
        busiest = onward = 0
        for position in sorted(self._here.keys() | self._onward.keys()):
            onward += self._onward[position]
            busiest = max(busiest, self._here[position] + onward)
        return busiest

    def charge(self, request: Sample | Score | Read, budget: int, who: str) -> None:
        """Count a request before it goes out.

        Raises :class:`BudgetExceeded` naming ``who`` if it would take the run above
        ``budget`` generations.
        """
        for trace in request.traces:
            if trace.open and not isinstance(request, Read):
                position = len(trace.steps)
                if isinstance(request, Score):
                    self._here[position] += request.lookahead
                elif request.until == "end":
                    self._onward[position] += 1
                else:
                    self._here[position] += 1
        if self.generations > budget:
            raise BudgetExceeded(
                f"{who}: a {type(request).__name__} request would spend {self.generations} generations "
                f"of a budget of {budget}; this is a bug in the strategy"
            )
