"""mull's own stopping rule: sample on while the chance of a right majority still rises by more than it costs.

With n samples drawn, a votes for the leader and b for the runner-up, one more sample is taken to raise
the chance of a right majority by

    g = Q(a, b) / sqrt(n),

where Q is the posterior probability that the leader is not the commoner of the two
(Aggarwal et al. 2023), and sqrt(n) stands for how slowly a lead of n samples moves: the difference of
two counts is a random walk, so the chance that it is near 0 falls as 1 / sqrt(n). Sampling stops when g
falls below ``price``.

More votes do not help every problem: where the samples scatter, the majority converges to a wrong
answer as often as to the right one. ``patience`` is the number of samples after which the rule stops
paying for a problem whose leader has less than ``AGREED`` of them. A solution still open after
``cap`` tokens is dropped; it drew, and does not vote. :mod:`mull.replay.learn` learns all three on
training problems; by itself the rule has neither patience nor cap (0). Uses no verifier.
"""

from __future__ import annotations

from math import sqrt

from mull.problems import Problem
from mull.strategies.adaptive_consistency import lead_probability
from mull.strategies.base import Plan, strategy
from mull.strategies.budgets import check_count, require
from mull.strategies.races import race
from mull.strategies.tallies import check_share, lead, read
from mull.trace import Trace

#: A leader with less of the samples is doubted once patience is at an end.
AGREED = 0.5


def gain(drawn: int, top: int, second: int, patience: int = 0) -> float:
    """What one more sample is taken to add to the chance of a right majority (formula above)."""
    if patience and drawn >= patience and top < AGREED * drawn:
        return 0.0
    return (1.0 - lead_probability(top, second)) / sqrt(drawn)


@strategy("marginal", selector="majority")
def marginal(
    problem: Problem,
    *,
    budget: int,
    price: float = 0.025,
    patience: int = 0,
    cap: int = 0,
) -> Plan:
    """Samples while the expected gain in the chance of a right majority is above ``price``; its answer.

    Budget: the most samples, any N from 1 on; a budget of one is sampled to its end, whatever the cap.
    """
    require("marginal", budget, lambda b: b >= 1)
    check_share("marginal", "price", price)
    check_count("marginal", "patience", patience, 0)
    check_count("marginal", "cap", cap, 0)
    return _sampled(problem, budget, price, patience, cap if budget > 1 else 0)


def _sampled(problem: Problem, budget: int, price: float, patience: int, cap: int) -> Plan:
    ended: list[Trace] = []
    dropped: list[Trace] = []
    answers: list[str | None] = []
    while len(answers) < budget:
        one = yield from race(problem, 1, 1, cap)
        ended += one.finished + one.spare
        dropped += one.open
        answers += (yield from read(one.finished)) if one.finished else [None]
        now = lead(answers)
        if gain(now.drawn, now.top, now.second, patience) < price:
            break
    return [(trace, None) for trace in ended or dropped]
