"""What an allocator steers by: the gain in the chance of a right answer per token, from what was paid for.

The model holds the prior over types of problems, the lengths, the tilt that they give to a problem's prior,
and the limit on a solution. ``worth`` is a function of the votes and tokens of samples drawn so far, and of
what is known of a problem before the first; it never sees a label or a sample that was not drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from mull.allocation.index import Indices, indices
from mull.allocation.lengths import Lengths
from mull.allocation.paths import Seen
from mull.allocation.tables import MOST, tables
from mull.allocation.types import Prior
from mull.study.pools import Floats, Ints

#: Tilts that indices are worked out for; a problem's is rounded to the nearest.
TILTS = np.linspace(-4.0, 4.0, 17)
#: After so many samples the lengths' tilt is halved: by then the votes speak for themselves.
FADE = 8


@dataclass(frozen=True, eq=False)
class Model:
    """What was fitted on training problems (:func:`mull.allocation.fit`).

    ``slope``: the tilt of the prior for each unit of log-length above the mean; ``limit``: the most tokens of
    a solution (0: none); ``lift``: by how many halves of a power of the expected length gains are taken to
    grow beyond the tilt (0: not at all; 2: in proportion, so that a gain is worth the same whatever
    the sample costs); ``most``: samples a problem.
    """

    prior: Prior
    lengths: Lengths
    slope: float = 0.0
    limit: int = 0
    lift: int = 0
    most: int = MOST

    @cached_property
    def indices(self) -> Indices:
        """The index of every state under every tilt."""
        return indices(tables(self.most), self.prior.tilted(TILTS))

    @cached_property
    def typical(self) -> float:
        """The expected tokens of a solution to a problem of which nothing is known."""
        return float(self.lengths.tokens(np.zeros(1), self.lengths.mean)[0])

    def lifted(self, lift: int) -> Model:
        """The same with another ``lift``; the indices, which do not depend on it, are kept."""
        found = replace(self, lift=lift)
        found.__dict__["indices"] = self.indices
        return found

    def look(self, seen: Seen, mean: Floats | None = None) -> tuple[Ints, Ints, Floats]:
        """The tilt's place, the vote's state, and the tokens expected for the next sample that votes.

        ``mean``: the log-lengths expected of the problems (None: of all the same).
        """
        expected = self.lengths.mean if mean is None else mean
        departure = self.lengths.departure(seen.drawn, seen.logs, expected)
        above = departure + expected - self.lengths.mean
        tilt = np.clip(above * self.slope * (FADE / (FADE + seen.drawn)), TILTS[0], TILTS[-1])
        place = np.rint((tilt - TILTS[0]) / (TILTS[1] - TILTS[0])).astype(np.int64)
        state = self.indices.states.of(seen.voting, seen.top, seen.second)
        votes = self.lengths.votes(seen.drawn, seen.voting)
        return place, state, self.lengths.tokens(departure, expected) / votes

    def worth(self, seen: Seen, mean: Floats | None = None) -> Floats:
        """The gain per token; at most 0 where no number of further samples is expected to help."""
        place, state, tokens = self.look(seen, mean)
        if self.lift:
            tokens = np.sqrt(tokens * self.typical) if self.lift == 1 else np.full(tokens.shape, self.typical)
        return np.asarray(self.indices.index[place, state] / tokens)
