"""The protocol of allocation: a plan over many problems says what to sample next, and is sent what came of
it.

A plan is a generator. It yields :class:`Draw` (which problems get how many more samples, and the most
tokens that each sample may take), is sent one list of :class:`Sampled` a problem asked for, and returns its
:class:`Report`. It does no I/O, and all that reaches it is what it asked, and so paid, for. One plan runs
live and in a replay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import numpy as np

from mull.allocation.lengths import grains
from mull.allocation.paths import Seen
from mull.errors import MullError
from mull.select import tie_rank
from mull.study.pools import Floats


@dataclass(frozen=True)
class Draw:
    """``requests``: (problem's place, how many more samples), each problem once; ``limit``: tokens a
    sample."""

    requests: tuple[tuple[int, int], ...]
    limit: int


@dataclass(frozen=True)
class Sampled:
    """One sample as it was paid for.

    ``answer`` is None where it has none, and where it took as many tokens as the limit: engines do not tell
    alike whether a solution had ended just there, so such a sample never votes.
    """

    answer: str | None
    tokens: int


#: One list a request, in order.
Reply = list[list[Sampled]]


@dataclass(frozen=True)
class Given:
    """What one problem got: its answer (None: no vote), samples begun, samples that voted, tokens."""

    answer: str | None
    samples: int
    voting: int
    tokens: int


#: What a plan comes to, a problem each.
Report = list[Given]
Plan = Generator[Draw, Reply, Report]


def check_costs(costs: Sequence[float] | Floats | None, problems: int) -> Floats:
    """The costs of being wrong as shares of the largest, [P]; the same for all come out as exactly 1.

    Raises :class:`MullError` for a number of costs that does not fit, a negative one, or none above 0.
    """
    if costs is None:
        return np.ones(problems)
    found = np.asarray(costs, np.float64)
    if found.shape != (problems,):
        raise MullError(f"{problems} problems need {problems} costs of being wrong; there are {found.size}")
    if not np.isfinite(found).all() or (found < 0).any() or found.max(initial=0.0) <= 0:
        raise MullError("a cost of being wrong is a number of at least 0, and one of them is above 0")
    return np.asarray(found / found.max())


@dataclass
class Account:
    """What a plan knows of one problem: the votes and tokens that it paid for."""

    name: str
    votes: Counter[str] = field(default_factory=Counter)
    samples: int = 0
    whole: int = 0
    tokens: int = 0
    logs: int = 0

    def take(self, sampled: Sampled, *, cut: bool) -> None:
        """Count one sample; ``cut``: it was broken off where the budget ended, and tells nothing of its
        length."""
        self.samples += 1
        self.tokens += sampled.tokens
        if cut:
            return
        self.whole += 1
        self.logs += int(grains(np.array([sampled.tokens]))[0])
        if sampled.answer is not None:
            self.votes[sampled.answer] += 1

    @property
    def seen(self) -> Seen:
        """The same as arrays of one cell."""
        first, second = ([n for _, n in self.votes.most_common(2)] + [0, 0])[:2]
        numbers = (self.whole, self.votes.total(), first, second, self.logs)
        return Seen(*(np.array([n]) for n in numbers))

    @property
    def given(self) -> Given:
        """The outcome; ties go where :mod:`mull.select` puts them."""
        found = max(self.votes, key=lambda a: (self.votes[a], tie_rank(self.name, a)), default=None)
        return Given(found, self.samples, self.votes.total(), self.tokens)
