"""Calls: how requests of tasks in flight reach an engine or a verifier.

:class:`Together` holds requests back until every task in flight waits for one and makes
one call of them all; :class:`Apart` makes each request a call of its own, at once. A
request is a function and its arguments, so nothing here knows what is being called. A
call that fails is not retried as such; a joint one is made again request by
request, so that a failure reaches only the task that caused it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from mull.errors import MullError

T = TypeVar("T")
R = TypeVar("R")
Function = Callable[[Sequence[T]], Awaitable[list[R]]]


class Calls(Protocol):
    """A way of making calls for several tasks at once."""

    def join(self) -> None:
        """Say that one more worker is going to make requests."""
        ...

    def leave(self) -> None:
        """Say that a worker that joined makes no more requests."""
        ...

    async def ask(self, function: Function[T, R], items: Sequence[T]) -> list[R]:
        """The function's results for the items, one an item; raises what it raises."""
        ...


async def _call(function: Function[T, R], items: Sequence[T]) -> list[R]:
    found = await function(items)
    if len(found) != len(items):
        raise ValueError(f"{len(found)} results for {len(items)} traces")
    return found


class Apart:
    """Each request is a call of its own, made at once; at most ``timeout`` seconds long (None: no limit)."""

    def __init__(self, timeout: float | None = None) -> None:
        self._timeout = timeout

    def join(self) -> None:
        """Nothing to do: nobody waits for others."""

    def leave(self) -> None:
        """Nothing to do: nobody waits for others."""

    async def ask(self, function: Function[T, R], items: Sequence[T]) -> list[R]:
        """The results of one call; raises ``TimeoutError`` with the limit when it is passed."""
        try:
            async with asyncio.timeout(self._timeout) as limit:
                return await _call(function, items)
        except TimeoutError:
            if limit.expired():
                raise TimeoutError(f"no answer within {self._timeout:g} s") from None
            raise


@dataclass(eq=False)
class _Waiting:
    function: Callable[[Sequence[Any]], Awaitable[list[Any]]]
    items: Sequence[Any]
    found: asyncio.Future[list[Any]]


class Together:
    """Requests wait until every worker that joined has one, then go out in one call a function.

    Belongs to one event loop. Workers may come and go at any time; while a joint call is
    under way new requests gather for the next.
    """

    def __init__(self) -> None:
        self._members = 0
        self._waiting: list[_Waiting] = []
        self._flushes: set[asyncio.Task[None]] = set()

    def join(self) -> None:
        """From here on others' requests wait for this worker's next one."""
        self._members += 1

    def leave(self) -> None:
        """Nobody waits for this worker any more."""
        self._members -= 1
        self._flush_if_all_wait()

    async def ask(self, function: Function[T, R], items: Sequence[T]) -> list[R]:
        """The results for these items of the joint call that they go out in."""
        waiting = _Waiting(function, items, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._flush_if_all_wait()
        try:
            return await waiting.found
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    def _flush_if_all_wait(self) -> None:
        if self._waiting and len(self._waiting) >= self._members:
            batch, self._waiting = self._waiting, []
            flush = asyncio.get_running_loop().create_task(self._flush(batch))
            self._flushes.add(flush)
            flush.add_done_callback(self._flushes.discard)

    async def _flush(self, batch: list[_Waiting]) -> None:
        by_function: dict[Any, list[_Waiting]] = {}
        for waiting in batch:
            by_function.setdefault(waiting.function, []).append(waiting)
        await asyncio.gather(*(_joint(function, group) for function, group in by_function.items()))


async def _joint(function: Callable[[Sequence[Any]], Awaitable[list[Any]]], group: list[_Waiting]) -> None:
    """One call for a group of requests; on failure one call each."""
    group = [waiting for waiting in group if not waiting.found.done()]
    try:
        found = iter(await _call(function, [item for waiting in group for item in waiting.items]))
    except Exception as error:
        if len(group) > 1 and not isinstance(error, MullError):
            for waiting in group:
                await _joint(function, [waiting])
            return
        for waiting in group:
            if not waiting.found.done():
                waiting.found.set_exception(error)
    else:
        for waiting in group:
            mine = [next(found) for _ in waiting.items]
            if not waiting.found.done():
                waiting.found.set_result(mine)
