"""The wire: JSON requests to one server, over pooled connections, tried again where that helps.

Tried again, after a wait that doubles with full jitter (or as long as the server's
``Retry-After`` says): no connection, a broken one, and statuses 408, 425, 429 and 500 to 504.
Another try takes a connection of its own: those that are kept may have been closed by the server.
Not tried again: a refusal (:class:`Refused`), a time-out, an answer that is no JSON object.
Cancelling a request closes its connection, which is how a server learns of it. The module
knows HTTP and nothing of models, prompts or tokens.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from mull.engines.openai.pace import Pace
from mull.errors import MullError

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")
#: Makes something of the events of a streamed answer.
Reader = Callable[[AsyncIterator[dict[str, Any]]], Awaitable[T]]
AGAIN = {408, 425, 429, 500, 502, 503, 504}
BUSY = {429, 503}
#: Seconds: the first wait, the longest by our own rule, and the longest that a server may ask for.
FIRST_WAIT, LONGEST_WAIT, LONGEST_ASKED = 0.25, 20.0, 120.0
#: Seconds for which an idle connection is kept: less than the 5 s of uvicorn and llama.cpp, which
#: would otherwise close one as it is used again.
KEPT = 3.0
#: So long after a request has given up on a server that is gone, others give up at once.
GONE = 5.0


class Refused(Exception):  # noqa: N818 - an answer, in the words of this package
    """The server answered with a status that asking again would not change."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"the server refused the request ({status}): {said}")
        self.status, self.said = status, said


class Failed(Exception):  # noqa: N818
    """No usable answer, and asking again did not help or would not; says why."""


class Gone(Failed):
    """No connection to the server."""


@dataclass
class _Line:
    """What belongs to one event loop: the sessions and the pace."""

    session: aiohttp.ClientSession
    #: Keeps no connections.
    anew: aiohttp.ClientSession
    pace: Pace
    closing: AsyncGenerator[None, None]
    gone_until: float = 0.0
    gone: str = ""


@dataclass(frozen=True)
class Wire:
    """Requests to the server at ``url`` (with its ``/v1``), with ``key`` as bearer token if there is one.

    ``timeout`` (seconds) limits one request's answer, ``retries`` how often it is tried again,
    ``concurrency`` the requests in flight. One wire serves any number of event loops, one after
    the other or at a time; the connections of each are closed when it shuts down.
    """

    url: str
    key: str | None = field(default=None, repr=False)
    timeout: float = 600.0
    retries: int = 5
    concurrency: int = 256
    _lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = field(
        default_factory=WeakKeyDictionary, init=False, repr=False, compare=False
    )

    @property
    def pace(self) -> Pace:
        """The running event loop's pace; for looking at."""
        line = self._lines.get(asyncio.get_running_loop())
        return Pace(self.concurrency) if line is None else line.pace

    async def aclose(self) -> None:
        """Close the running event loop's connections."""
        line = self._lines.pop(asyncio.get_running_loop(), None)
        if line is not None:
            await line.closing.aclose()

    async def get(self, path: str) -> dict[str, Any]:
        """The JSON object at a path."""
        return await self._answer("GET", path, None, _json)

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The JSON object that the server answers."""
        return await self._answer("POST", path, body, _json)

    async def stream(self, path: str, body: dict[str, Any], read: Reader[T]) -> T:
        """What ``read`` makes of an answer in server-sent events.

        It gets the events one by one and may return before the last: that closes the connection.
        It starts anew where the request is tried again.
        """

        async def whole(response: aiohttp.ClientResponse) -> T:
            async with aclosing(_events(response)) as events:
                found = await read(events)
            response.close()
            return found

        return await self._answer("POST", path, body | {"stream": True}, whole)

    async def _answer(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        read: Callable[[aiohttp.ClientResponse], Awaitable[T]],
    ) -> T:
        """What ``read`` makes of the first good answer; every failure is one of our own."""
        line = await self._line()
        import aiohttp

        loop = asyncio.get_running_loop()
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        attempt = 0
        while True:
            if line.gone_until > loop.time():
                raise Gone(line.gone)
            await line.pace.enter(first=attempt > 0)
            started, wait, kind = loop.time(), 0.0, Failed
            session = line.anew if attempt else line.session
            try:
                async with session.request(method, self.url + path, data=data) as response:
                    if response.status < 400:
                        found = await read(response)
                        line.pace.answered(loop.time() - started, _tokens(found))
                        return found
                    why = await _said(response)
                    if response.status not in AGAIN:
                        raise Refused(response.status, why)
                    wait = _retry_after(response.headers.get("Retry-After")) or 0.0
                    why = f"the server answers {response.status}: {why}"
                    if response.status in BUSY:
                        why = f"rate-limited or overloaded, {why}"
                        line.pace.refused(min(wait, LONGEST_ASKED))
            except aiohttp.ConnectionTimeoutError:
                why, kind = f"cannot connect to {self.url}: it does not answer", Gone
            except TimeoutError:
                raise Failed(f"no answer within {self.timeout:g} s") from None
            except aiohttp.ClientConnectorError as error:
                why, kind = f"cannot connect to {self.url}: {error.strerror or error}", Gone
            except (aiohttp.ClientError, ConnectionError) as error:
                why = f"the connection broke: {type(error).__name__} {error}".rstrip()
            finally:
                line.pace.leave()
            if wait > LONGEST_ASKED:
                raise Failed(f"{why}; it asks to wait {wait:.0f} s, which is too long to wait for")
            if attempt >= self.retries:
                why = f"{why}; tried {attempt + 1} times"
                if kind is Gone:
                    line.gone, line.gone_until = why, loop.time() + GONE
                raise kind(why)
            await asyncio.sleep(wait + random.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2**attempt)))
            attempt += 1

    async def _line(self) -> _Line:
        loop = asyncio.get_running_loop()
        if loop not in self._lines:
            try:
                import aiohttp
            except ImportError:
                raise MullError("engines over HTTP need the extra 'http': pip install 'mull[http]'") from None

            limit = aiohttp.ClientTimeout(total=self.timeout, sock_connect=min(10.0, self.timeout))
            headers = {"Content-Type": "application/json"}
            if self.key:
                headers["Authorization"] = f"Bearer {self.key}"
            session, anew = (
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(limit=0, **how),
                    timeout=limit,
                    headers=headers,
                    trust_env=not _here(self.url),
                    read_bufsize=1 << 20,
                )
                for how in ({"keepalive_timeout": KEPT}, {"force_close": True})
            )
            # An event loop that shuts down closes its asynchronous generators: so the sessions
            # are closed in time though nobody has to remember it.
            closing = _closing(session, anew)
            await anext(closing)
            self._lines[loop] = _Line(session, anew, Pace(self.concurrency), closing)
        return self._lines[loop]


async def _closing(*sessions: aiohttp.ClientSession) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        for session in sessions:
            await session.close()


def _here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        raise Failed(f"the server's answer is not JSON: {_short(text)}") from None
    if not isinstance(found, dict):
        raise Failed(f"the server's answer is no JSON object: {_short(text)}")
    return found


async def _events(response: aiohttp.ClientResponse) -> AsyncGenerator[dict[str, Any]]:
    """The objects of server-sent events; an answer in one piece is one event."""
    if "event-stream" not in response.headers.get("Content-Type", ""):
        yield await _json(response)
        return
    async for line in response.content:
        data = line.decode("utf-8", "replace").strip()
        if data == "data: [DONE]":
            return
        if data.startswith("data:"):
            yield _object(data[5:])


def _tokens(answer: object) -> int | None:
    """How many tokens an answer says it has."""
    usage = answer.get("usage") if isinstance(answer, dict) else None
    count = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return count if isinstance(count, int) else None


async def _json(response: aiohttp.ClientResponse) -> dict[str, Any]:
    return _object((await response.read()).decode("utf-8", "replace"))


async def _said(response: aiohttp.ClientResponse) -> str:
    """The server's words about an error, in one short line."""
    text = (await response.read()).decode("utf-8", "replace")
    try:
        found = json.loads(text)
    except ValueError:
        return _short(text)
    for _ in range(2):
        if isinstance(found, dict):
            found = next((found[k] for k in ("error", "message", "detail") if found.get(k)), found)
    return _short(found if isinstance(found, str) else json.dumps(found))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return (line[:300] + "...") if len(line) > 300 else line or "nothing"


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait: the header holds seconds or a date."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (when - datetime.now(when.tzinfo or UTC)).total_seconds())
