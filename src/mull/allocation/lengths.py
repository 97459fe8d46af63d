"""What the next solution will cost: its tokens, and the chance that it has an answer, learned as samples
come in.

log(tokens) of a problem's samples scatter (variance ``within``) around the problem's own mean, which
scatters (``between``) around the mean expected of it. After n samples the best linear prediction of the
problem's departure from that is (sum of the departures so far) / (n + within / between): credibility theory
(Buehlmann 1967), and the posterior mean where both are normal. The chance of an answer is credible in the
same way. Logarithms are whole grains, so that no sum depends on its order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mull.study.pools import Bools, Floats, Ints

#: Grains of a logarithm.
GRAIN = 1024
#: Steps of a predicted logarithm.
STEP = 64
_LONGEST = 20  # of a logarithm


@dataclass(frozen=True)
class Lengths:
    """Log-lengths of solutions over problems, and how often there is an answer.

    ``mean`` over problems; variances ``within`` and ``between`` problems; ``smear``: mean tokens over
    exp(mean log-length); ``least`` and ``most`` tokens predicted; ``answered``: the share of solutions with
    an answer, and ``trust``: how many samples that share counts for.
    """

    mean: float
    within: float
    between: float
    smear: float
    least: float
    most: float
    answered: float = 1.0
    trust: float = 1.0

    def departure(self, drawn: Ints, logs: Ints, mean: Floats | float) -> Floats:
        """How far problems are above their expected ``mean`` log-length, after ``logs`` (a sum of grains)."""
        return np.asarray((logs / GRAIN - drawn * mean) / (drawn + self.within / self.between))

    def tokens(self, departure: Floats, mean: Floats | float) -> Floats:
        """The next solution's expected tokens."""
        step = np.rint((departure + mean) * STEP).astype(np.int64)
        found = _exponentials()[np.clip(step, 0, _LONGEST * STEP)] * self.smear
        return np.asarray(np.clip(found, self.least, self.most))

    def votes(self, drawn: Ints, voting: Ints) -> Floats:
        """The chance that the next solution has an answer."""
        return np.asarray((self.trust * self.answered + voting) / (self.trust + drawn))


def grains(tokens: Ints) -> Ints:
    """The logarithm of each number of tokens, in whole grains; 0 tokens count as 1."""
    found = np.asarray(tokens)
    table = _logarithms(int(found.max(initial=1)).bit_length())
    return np.asarray(table[np.maximum(found, 1)])


@lru_cache(4)
def _logarithms(bits: int) -> Ints:
    return np.asarray(np.rint(np.log(np.maximum(np.arange(1 << bits), 1)) * GRAIN), np.int64)


@lru_cache(1)
def _exponentials() -> Floats:
    return np.exp(np.arange(_LONGEST * STEP + 1) / STEP)


def fit(tokens: Ints, voting: Bools, mean: Floats | None = None) -> Lengths:
    """From training problems: tokens and whether there is an answer, both [Q, S].

    ``mean`` [Q]: the log-lengths expected of them (None: the same for all).
    """
    logs = grains(tokens) / GRAIN
    own = logs.mean(axis=1)
    overall = float(own.mean())
    samples = tokens.shape[1]
    within = max(float(logs.var(axis=1, ddof=1).mean()), 1e-3) if samples > 1 else 0.5
    apart = own - (overall if mean is None else mean)
    between = max(float((apart**2).mean()) - within / samples, 1e-2 * within)
    by_problem = tokens.mean(axis=1)
    smear = float(by_problem.mean() / np.exp(own).mean())
    share = voting.mean(axis=1)
    answered = float(share.mean())
    noise = answered * (1.0 - answered)
    spread = float(share.var()) - noise / samples
    trust = 1.0 if noise < 1e-9 else float(np.clip(noise / max(spread, 1e-9) - 1.0, 0.2, 50.0))
    least, most = max(float(by_problem.min()) / 2, 1.0), max(float(by_problem.max()) * 2, 2.0)
    return Lengths(overall, within, between, smear, least, most, answered, trust)


def known(tokens: Ints, limit: int) -> tuple[Ints, Bools]:
    """Tokens as paid for under a ``limit`` on each solution (0: none), and which solutions reach it.

    Those do not vote.
    """
    if not limit:
        return tokens, np.zeros(tokens.shape, bool)
    return np.minimum(tokens, limit), tokens >= limit
