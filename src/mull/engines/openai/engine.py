"""The engine for OpenAI-compatible servers: jobs to requests, answers to continuations.

Jobs of one call that share a prefix go out one after the other, so that a server with a
prefix cache finds it warm; jobs that are alike in everything share one request where the
server gives several choices and honours no seeds, or none are wanted. A step is sampled with
the format's step rule as stop texts where the server tells a step's end from the solution's,
else by cutting the stream there. A failure that may pass marks the trace; a mistake
to put right raises :class:`MullError`. Token counts are the server's and never made up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from mull.cost import ModelSize
from mull.engines.base import Continuation, Job, Told, at_once, refuse_thinking
from mull.engines.openai.capabilities import Capabilities, recall, remember
from mull.engines.openai.probe import probe
from mull.engines.openai.sampling import Run, Settings
from mull.engines.openai.wire import Failed, Refused, Wire
from mull.engines.prompts import FORMATS, Format
from mull.errors import MullError

#: Choices asked for in one request at most.
MOST_CHOICES = 64
#: What servers say when a prompt does not fit.
_TOO_LONG = (
    "context length",
    "context size",
    "context window",
    "context_length",
    "maximum model length",
    "too long",
)


def address(url: str) -> str:
    """The address below which ``/completions`` lies: ``/v1`` is added to a bare server's.

    Raises :class:`MullError` for what is no http address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise MullError(f"{url!r} is no address of a server; it must look like http://localhost:8000/v1")
    return (url if parts.path.strip("/") else f"{parts.scheme}://{parts.netloc}/v1").rstrip("/")


class OpenAIEngine:
    """Implements :class:`mull.engines.base.Engine` over HTTP, for one model of one server.

    - ``model`` None: the only one that the server lists;
    - ``form``: the prompt format, with the step rule (:mod:`mull.engines.prompts`);
    - ``key``: the bearer token, if the server wants one;
    - ``size``: what FLOPs depend on; unknown (no parameters) means that FLOPs are 0, with a note;
    - ``seeded``: send every job's seed where the server honours seeds; without, alike jobs share
      requests and a run cannot be repeated exactly;
    - ``logprobs``: ask for log-probabilities and token ids where the server gives them;
    - ``timeout`` (seconds a request), ``retries``, ``concurrency``: see :class:`Wire`;
    - ``capabilities``: what the server can do, if known; else as remembered in ``cache``, else probed
      at the first use.
    """

    batching: Literal["together", "apart"] = "apart"

    def __init__(
        self,
        url: str,
        model: str | None = None,
        form: Format = FORMATS["text"],
        *,
        key: str | None = None,
        size: ModelSize | None = None,
        seeded: bool = True,
        logprobs: bool = True,
        timeout: float = 600.0,
        retries: int = 5,
        concurrency: int = 256,
        capabilities: Capabilities | None = None,
        cache: Path | None = None,
    ) -> None:
        for name, value, least in (
            ("timeout", timeout, 0.001),
            ("concurrency", concurrency, 1),
            ("retries", retries, 0),
        ):
            if not value >= least:
                raise MullError(f"{name} must be at least {least}, not {value}")
        self.wire = Wire(address(url), key, timeout, retries, concurrency)
        self.form = form
        self._model, self._size, self._cache = model, size or ModelSize(0), cache
        self._seeded, self._logprobs = seeded, logprobs
        self._found = capabilities
        self._settings: Settings | None = None
        self._probing: asyncio.Task[Capabilities] | None = None

    @property
    def name(self) -> str:
        """Model, server and format, such as ``tiny at localhost:8000 (text, newline)``."""
        model = self._model or (self._found.model if self._found else "?")
        told = [self.form.name, self.form.rule.name]
        if (budget := self.form.budget) is not None:
            told.append(f"thinking {budget.tokens} tokens" + (f", {budget.waits} waits" * (budget.waits > 0)))
        return f"{model} at {urlsplit(self.wire.url).netloc} ({', '.join(told)})"

    @property
    def size(self) -> ModelSize:
        """What FLOPs depend on."""
        return self._size

    @property
    def notes(self) -> list[str]:
        """What the records of this engine lack, with how often."""
        found = [] if self._size.parameters else ["the model's parameter count is not known: FLOPs are 0"]
        counted = self._settings.notes if self._settings else {}
        return found + [f"{note} ({count})" for note, count in counted.items() if count]

    async def capabilities(self) -> Capabilities:
        """What the server can do: as given, as remembered, or probed now and remembered."""
        if self._found is None and self._model is not None:
            self._found = recall(self.wire.url, self._model, self._cache)
        if self._found is None:
            loop = asyncio.get_running_loop()
            if self._probing is None or self._probing.get_loop() is not loop or self._probing.done():
                self._probing = loop.create_task(probe(self.wire, self._model))
            found = await asyncio.shield(self._probing)
            if self._found is None:
                self._found = found
                remember(found, self._cache)
        return self._found

    async def settings(self) -> Settings:
        """What all requests have in common; :class:`MullError` if the server lacks the format's route."""
        if self._settings is None:
            found = await self.capabilities()
            route = found.route(self.form.chat)
            self._settings = Settings(self.wire, found.model, route, self.form, self._size, self._logprobs)
        return self._settings

    async def sample(self, jobs: Sequence[Job]) -> list[Continuation]:
        """Continue every job's trace; one result a job, in order.

        Costs are the server's counts. Jobs that share a request: the first pays for the prompt, each
        for its own tokens if the server gives them singly, else the first for all.
        """
        return await self.sample_telling(jobs, lambda place, made: None)

    async def sample_telling(self, jobs: Sequence[Job], told: Told) -> list[Continuation]:
        """What :meth:`sample` gives, each result told of as soon as its requests are answered."""
        settings = await self.settings()
        done: dict[int, Continuation] = {}
        runs: dict[int, Run] = {}
        for i, job in enumerate(jobs):
            found = at_once(job)
            if found is not None:
                done[i] = found
                told(i, found)
            else:
                self._check(job, settings)
                runs[i] = Run(settings, job, self._seed(job, settings))
        alike: dict[tuple[Any, ...], list[int]] = {}
        for i, run in runs.items():
            job = run.job
            alike.setdefault(
                (run.prompt, job.steps, job.temperature, job.max_tokens, job.thinking), []
            ).append(i)
        # Neighbours in this order share the longest beginnings.
        order = sorted(alike, key=lambda key: (str(key[0].messages), key[0].text, key[0].so_far))
        parts = [part for key in order for part in self._shared(alike[key], runs[alike[key][0]], settings)]

        async def tell(part: list[int]) -> None:
            for i, made in zip(part, await self._part([runs[i] for i in part]), strict=True):
                done[i] = made
                told(i, made)

        await together(tell(part) for part in parts)
        return [done[i] for i in range(len(jobs))]

    async def aclose(self) -> None:
        """Close this event loop's connections; a loop that ends does it too."""
        await self.wire.aclose()

    def _seed(self, job: Job, settings: Settings) -> int | None:
        return job.seed if self._seeded and settings.route.seed else None

    def _shared(self, alike: list[int], one: Run, settings: Settings) -> list[list[int]]:
        """Alike jobs, cut into those that share a request."""
        route = settings.route
        # Seeds would be the request's, not the job's; greedy choices are refused by some servers;
        # usage of one choice would leave the others' tokens unknown.
        counted = bool(route.choices and route.choices_counted) and not (self._seeded and route.seed)
        share = counted and one.job.temperature > 0 and not one.thinks_first
        size = MOST_CHOICES if share else 1
        return [alike[at : at + size] for at in range(0, len(alike), size)]

    def _check(self, job: Job, settings: Settings) -> None:
        """:class:`MullError` where the server lacks what the job needs."""
        if self.form.system and settings.route.system in ("refused", "dropped"):
            raise MullError(
                f"the chat template of {settings.model!r} at {self.wire.url} has no system role (a system "
                f'message is {settings.route.system}); use a format without one (system = ""), and say in '
                "'ask' what it would have said"
            )
        route, kind = settings.route, "chat" if self.form.chat else "text"
        if not self.form.thinks:
            refuse_thinking([job], self.name)
        held = job.thinking if job.thinking is not None else self.form.budget
        if held is not None and not job.trace.steps and route.continues in ("no", "not shown"):
            raise MullError(
                f"{settings.model!r} at {self.wire.url} cannot have its thinking held to a budget: a {kind} "
                f"request cannot continue an assistant's message there (capability 'continues': "
                f"{route.continues}); use a text format if the server has completions, or no budget"
            )
        if (job.steps is not None or job.trace.steps) and route.continues in ("no", "not shown"):
            raise MullError(
                f"{settings.model!r} at {self.wire.url} cannot do step search: a {kind} request cannot "
                f"continue an assistant's message there (capability 'continues': {route.continues}); use a "
                "text format if the server has completions, or a strategy of whole solutions"
            )
        if job.steps is not None and not route.step_by_stops and not route.stream:
            raise MullError(
                f"{settings.model!r} at {self.wire.url} cannot do step search: it does not say which stop "
                "text ended an answer and does not stream (capabilities 'stop_named', 'stop_keeps', 'stream')"
            )

    async def _part(self, runs: list[Run]) -> list[Continuation]:
        """The runs' results: one request for all first if they are several, then each on its own."""
        if len(runs) > 1:
            lead = runs[0]
            try:
                found = await lead.settings.ask(lead.prompt, lead.job, lead.left, None, len(runs))
                tokens = lead.settings.completions(found)
            except (Failed, Refused) as error:
                why = self._said(error)
                return [run.fail(why, first=run is lead) for run in runs]
            for place, run in enumerate(runs):
                run.take(found.choices[place], found.usage, tokens[place], first=place == 0, alone=False)
        return await together(self._run(run) for run in runs)

    async def _run(self, run: Run) -> Continuation:
        try:
            return await run.go()
        except (Failed, Refused) as error:
            return run.fail(self._said(error))

    def _said(self, error: Failed | Refused) -> str:
        """A failure in words for the trace; :class:`MullError` where every request would fail alike."""
        if not isinstance(error, Refused):
            return str(error)
        if error.status in (401, 403):
            raise MullError(f"{self.wire.url} wants another key ({error.status}): {error.said}")
        if error.status == 404:
            raise MullError(f"{self.wire.url} has no such model or path (404): {error.said}")
        if any(words in error.said.lower() for words in _TOO_LONG):
            return f"context too long: {error.said}"
        return str(error)


async def together(work: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    """The results in order; when one fails the others are cancelled, and their requests with them."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        if not all(task.done() for task in tasks):
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
