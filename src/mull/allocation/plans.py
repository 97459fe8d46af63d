"""Allocators as plans: greedy over a set of problems, and by a price over a stream of them.

Both spend where the model's worth is highest and stop where it is at most 0. A sample's tokens are known
only once it is drawn, so each may take no more than what is left: no plan ever exceeds its budget. Nothing
is drawn here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mull.allocation.model import Model
from mull.allocation.protocol import Account, Draw, Plan, check_costs
from mull.allocation.text import TOKENS
from mull.errors import MullError
from mull.study.pools import Floats


@dataclass(frozen=True)
class Stream:
    """How a stream spends: ``average`` tokens a request; ``price``: the first price, worth a token.

    ``count``: the number of requests, if it is known. Then ``average * count`` is never exceeded; if not,
    spending never exceeds ``credit`` tokens plus ``average`` times the requests so far. Every request gets
    its first sample while there is anything left; further ones while spending is no more than ``credit``
    (with a known count: a share of it that shrinks to none at the end; else half of it) ahead of the
    average. ``rate``: how fast the price follows the spending.
    """

    average: float
    price: float
    count: int | None = None
    credit: float = 0.0
    rate: float = 0.05

    def __post_init__(self) -> None:
        if not self.average >= 1 or not self.price >= 0 or self.credit < 0 or not 0 <= self.rate <= 1:
            raise MullError(
                "a stream needs an average of at least 1 token, a price and a credit of at least 0 and "
                f"a rate from 0 to 1; got {self.average:g}, {self.price:g}, {self.credit:g}, {self.rate:g}"
            )
        if self.count is not None and self.count < 1:
            raise MullError(f"a stream has at least 1 request, not {self.count}")


def greedy_plan(
    model: Model,
    names: Sequence[str],
    budget: int,
    *,
    longest: int,
    costs: Sequence[float] | Floats | None = None,
    mean: Floats | None = None,
    width: int = 1,
) -> Plan:
    """Spend ``budget`` tokens over the problems ``names``, the highest worth next.

    ``longest``: the most tokens that a solution can take where the model sets no limit; ``costs`` [P] of
    being wrong; ``mean`` [P]: expected log-lengths (see :meth:`Model.look`), found by reading the problems'
    texts, for which each is charged :data:`mull.allocation.text.TOKENS`; ``width``: so many problems get
    their next sample at once (1: each is chosen knowing all others).
    """
    weights = check_costs(costs, len(names))
    read = 0 if mean is None else TOKENS
    if budget < 1 or longest < 1 or width < 1:
        raise MullError("an allocation needs a budget, a longest solution and a width of at least 1")
    if budget < read * len(names):
        raise MullError(
            f"a budget of {budget} tokens does not pay for reading {len(names)} problems, {read} each"
        )
    accounts = [Account(name, tokens=read) for name in names]
    left = budget - read * len(names)
    return _greedy(model, accounts, left, model.limit or longest, weights, mean, width)


def _greedy(
    model: Model,
    accounts: list[Account],
    left: int,
    limit: int,
    weights: Floats,
    mean: Floats | None,
    width: int,
) -> Plan:
    worth = np.array([_worth(model, account, mean, row) for row, account in enumerate(accounts)]) * weights
    while left > 0 and accounts:
        order = np.argsort(-worth, kind="stable")[: min(width, max(left // limit, 1))]
        rows = [int(row) for row in order if worth[row] > 0]
        if not rows:
            break
        most = min(limit, left)
        reply = yield Draw(tuple((row, 1) for row in rows), most)
        for row, (sampled,) in zip(rows, reply, strict=True):
            left -= sampled.tokens
            account = accounts[row]
            account.take(sampled, cut=sampled.tokens >= most and most < limit)
            worth[row] = _worth(model, account, mean, row) * weights[row]
    return [account.given for account in accounts]


def _worth(model: Model, account: Account, mean: Floats | None, row: int) -> float:
    if account.samples >= model.most:
        return -1.0
    return float(model.worth(account.seen, None if mean is None else mean[row : row + 1])[0])


def stream_plan(
    model: Model,
    names: Sequence[str],
    stream: Stream,
    *,
    longest: int,
    weights: Sequence[float] | Floats | None = None,
    mean: Floats | None = None,
) -> Plan:
    """Requests in order, each sampled while its worth is at least the price, which follows the spending.

    ``weights``: each request's cost of being wrong over that of a usual one (1 where all are alike): the
    future is unknown, so there is no largest to divide by. Each request is charged for its ``mean`` as in
    :func:`greedy_plan`; where that is not there any more, it gets nothing.
    """
    known = np.ones(len(names)) if weights is None else np.asarray(weights, np.float64)
    if known.shape != (len(names),) or (known < 0).any():
        raise MullError(f"{len(names)} requests need as many weights of at least 0")
    if stream.count is not None and stream.count < len(names):
        raise MullError(f"the stream was announced with {stream.count} requests; there are {len(names)}")
    return _stream(model, [Account(name) for name in names], stream, model.limit or longest, known, mean)


def _stream(
    model: Model, accounts: list[Account], stream: Stream, limit: int, weights: Floats, mean: Floats | None
) -> Plan:
    price, spent, given = stream.price, 0, []
    for row, account in enumerate(accounts):
        pace = paced(stream, row, spent)
        account.tokens = 0 if mean is None or pace.hard < TOKENS else TOKENS
        while account.samples < model.most:
            worth = _worth(model, account, mean, row) * weights[row]
            most = int(min(limit, pace.hard - account.tokens))
            if worth <= 0 or most < 1:
                break
            if account.samples and (worth < price or account.tokens >= pace.soft):
                break
            ((sampled,),) = yield Draw(((row, 1),), most)
            account.take(sampled, cut=sampled.tokens >= most and most < limit)
        spent += account.tokens
        price = next_price(price, account.tokens, pace.target, stream.rate)
        given.append(account.given)
    return given


@dataclass(frozen=True, eq=False)
class Pace:
    """Tokens that a request may spend in all (``hard``), before another sample (``soft``), and as a rule."""

    hard: float
    soft: float
    target: float


def paced(stream: Stream, row: int, spent: float) -> Pace:
    """The pace of request ``row`` after ``spent`` tokens."""
    due = stream.average * (row + 1) - spent
    if stream.count is None:
        return Pace(due + stream.credit, due + stream.credit / 2, stream.average)
    after = stream.count - row - 1
    left = stream.average * stream.count - spent
    return Pace(left, due + stream.credit * after / stream.count, max(left / (after + 1), 1.0))


def next_price(price: float, tokens: float, target: float, rate: float) -> float:
    """The price after a request: up where it cost more than ``target``, down where less.

    A step of dual descent on the Lagrangian of the average budget (Balseiro, Lu and Mirrokni 2020),
    relative to the price, with one request's step bounded.
    """
    return price * (1.0 + rate * min(max(tokens / target - 1.0, -1.0), 4.0))
