"""What runs over drawn samples would see of each problem after 0, 1, ... samples.

The module lays out; it decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mull.allocation.lengths import grains, known
from mull.replay.recorded import Drawn, Tally
from mull.study.pools import Bools, Ints


@dataclass(frozen=True, eq=False)
class Seen:
    """What was paid for, in arrays of one shape.

    Samples ``drawn``, those ``voting``, the votes for the leader (``top``) and the runner-up (``second``),
    and ``logs``, the sum of the samples' log-lengths in grains.
    """

    drawn: Ints
    voting: Ints
    top: Ints
    second: Ints
    logs: Ints

    def at(self, place: Any) -> Seen:
        """The same of some cells."""
        parts = (self.drawn, self.voting, self.top, self.second, self.logs)
        return Seen(*(part[place] for part in parts))


@dataclass(frozen=True, eq=False)
class Paths:
    """R runs on P problems.

    ``seen`` and ``leader`` (-1: none) [most + 1, R, P]: after 0, 1, ... samples; ``right`` bool like them;
    ``tokens`` [most, R, P]: what each sample costs.
    """

    seen: Seen
    leader: NDArray[np.int16]
    right: Bools
    tokens: Ints

    @property
    def most(self) -> int:
        """The most samples of a problem."""
        return len(self.tokens)

    def of_problems(self, rows: Bools) -> Paths:
        """The same of some problems."""
        seen = self.seen.at((slice(None), slice(None), rows))
        return Paths(seen, self.leader[:, :, rows], self.right[:, :, rows], self.tokens[:, :, rows])

    @classmethod
    def of(cls, drawn: Drawn, limit: int, most: int) -> Paths:
        """The first ``most`` samples of every run, each cut at ``limit`` tokens (0: none); cut ones do not
        vote."""
        tokens, cut = known(drawn.tokens[:most], limit)
        ballots = np.where(cut, np.int16(-1), drawn.answers[:most])
        tally = Tally.of(ballots, drawn.recorded.right.shape[1])
        right = np.stack([drawn.right(leader) for leader in tally.leader])

        def after(values: NDArray[np.generic], before: int = 0) -> Ints:
            first = np.full((1, values.shape[1]), before, values.dtype)
            return np.concatenate([first, values]).reshape(len(values) + 1, drawn.runs, -1)

        size = after(tally.top).shape
        seen = Seen(
            np.broadcast_to(np.arange(most + 1)[:, None, None], size),
            after((ballots >= 0).cumsum(axis=0)),
            after(tally.top),
            after(tally.second),
            after(grains(tokens).cumsum(axis=0)),
        )
        leader = np.asarray(after(tally.leader, -1), np.int16)
        return cls(seen, leader, after(right).astype(bool), tokens.reshape(most, *size[1:]))
