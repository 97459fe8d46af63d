"""How many requests are in flight at a time: additive increase, multiplicative decrease.

The limit grows while answers come as fast as they did (by one an answer until the first
setback, then by one a limit's worth of answers); it halves when the server says that it is
asked too much, and shrinks by a fifth when answers take many times as long a token as the
best. Waiting requests start in the order in which they came. The module counts and waits;
it sends nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque

#: A window's mean time a token may be so many times the best window's before the limit shrinks.
#: A server that batches is slower for each and faster for all, so the factor is not small.
PATIENCE = 8.0
START = 16


class Pace:
    """Belongs to one event loop. ``most`` bounds the limit."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = float(min(START, most))
        self.in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._paused_until = 0.0
        self._halved_at = -1.0
        self._growing = True
        self._window: list[float] = []
        self._best = 0.0

    async def enter(self, first: bool = False) -> None:
        """Wait for a place; a request tried again goes ``first``."""
        loop = asyncio.get_running_loop()
        if self.in_flight < int(self.limit) and (first or not self._waiting):
            self.in_flight += 1
        else:
            await self._place(loop.create_future(), first)
        try:
            while self._paused_until > loop.time():
                await asyncio.sleep(self._paused_until - loop.time())
        except asyncio.CancelledError:
            self.leave()
            raise

    async def _place(self, place: asyncio.Future[None], first: bool) -> None:
        (self._waiting.appendleft if first else self._waiting.append)(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():  # the place was given, and is not used
                self.leave()
            elif place in self._waiting:
                self._waiting.remove(place)
            raise

    def leave(self) -> None:
        """Give a place back."""
        self.in_flight -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self.in_flight < int(self.limit):
            place = self._waiting.popleft()
            if not place.done():
                self.in_flight += 1
                place.set_result(None)

    def answered(self, seconds: float, tokens: int | None) -> None:
        """Say that an answer of so many tokens (None: not known) took so long."""
        self.limit = min(float(self.most), self.limit + (1.0 if self._growing else 1.0 / self.limit))
        if tokens is not None:
            self._window.append(seconds / max(tokens, 1))
        if len(self._window) >= max(8, int(self.limit)):
            mean = sum(self._window) / len(self._window)
            self._window = []
            if self._best and mean > PATIENCE * self._best:
                self.limit, self._growing = max(1.0, self.limit * 0.8), False
            # The best is forgotten slowly: a server that became slower for good is the new normal.
            self._best = min(mean, self._best * 1.1) if self._best else mean
        self._wake()

    def refused(self, pause: float) -> None:
        """Say that the server is asked too much; nothing starts for ``pause`` seconds.

        Refusals of one moment are one setback: they halve the limit once a second.
        """
        now = asyncio.get_running_loop().time()
        if now - self._halved_at >= 1.0:
            self.limit, self._growing, self._halved_at = max(1.0, self.limit / 2), False, now
        self._paused_until = max(self._paused_until, now + pause)
