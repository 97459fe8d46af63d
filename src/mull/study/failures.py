"""What fails at models outside mull: noted by problem, told apart by whether asking again may mend it.

A server may be gone, slow or overloaded; what that spoils is recorded as failed and asked for again
when the study is run again. What would fail in the same way next time (a context that is too
long) is an outcome like any other. The module notes and counts; it tries nothing again.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mull.cost import Cost
from mull.engines.base import Around, Continuation, Engine, Job
from mull.engines.small import SmallEngine
from mull.errors import MullError, settled
from mull.mishaps import described
from mull.trace import Trace
from mull.verifiers.base import Verdict, Verifier
from mull.verifiers.small import SmallVerifier


@dataclass
class Failures:
    """The failures of one unit: reasons by problem id, and a mistake to put right, which ends the run.

    ``replayed`` counts what was not asked at all, because a record had it.
    """

    whys: dict[str, list[str]] = field(default_factory=dict)
    fatal: MullError | None = None
    replayed: Counter[str] = field(default_factory=Counter)

    def again(self, cost: Cost) -> None:
        """Count an answer that came from a record."""
        given = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "verifier_tokens")
        self.replayed.update({"answers": 1, **{name: getattr(cost, name) for name in given}})

    def note(self, problem: str, why: str) -> None:
        """Add a reason; one that is settled is none."""
        if not settled(why):
            self.whys.setdefault(problem, []).append(why)

    def of(self, problem: str) -> str | None:
        """The reasons of a problem, each once, None if there are none."""
        return "; ".join(dict.fromkeys(self.whys.get(problem, ()))) or None


class Watched(Around):
    """An engine whose failures are noted.

    A :class:`MullError` becomes a failure of the jobs at hand and is kept as the fatal one, so that
    what other jobs have got is not lost.
    """

    def __init__(self, inner: Engine, failures: Failures) -> None:
        super().__init__(inner)
        self.failures = failures

    async def sample(self, jobs: Sequence[Job]) -> list[Continuation]:
        """The engine's results; whatever it raises becomes an error of every job."""
        if self.failures.fatal is not None:
            found = _failed(jobs, str(self.failures.fatal))
        else:
            try:
                found = await self.inner.sample(jobs)
            except MullError as error:
                self.failures.fatal = self.failures.fatal or error
                found = _failed(jobs, str(error))
            except Exception as error:
                found = _failed(jobs, described(error))
        for job, made in zip(jobs, found, strict=True):
            if made.replayed:
                self.failures.again(made.cost)
            if made.trace.finish == "error" and job.trace.open:
                self.failures.note(job.trace.problem.id, made.trace.error or "the engine failed")
        return found


class WatchedVerifier:
    """A verifier whose failures are noted."""

    def __init__(self, inner: Verifier, failures: Failures) -> None:
        self.inner, self.failures = inner, failures

    @property
    def name(self) -> str:
        """The verifier's."""
        return self.inner.name

    async def score(self, traces: Sequence[Trace]) -> list[Verdict]:
        """The verifier's verdicts; whatever it raises becomes the reason of every trace."""
        if self.failures.fatal is not None:
            found = [Verdict(None, error=str(self.failures.fatal))] * len(traces)
        else:
            try:
                found = await self.inner.score(traces)
            except MullError as error:
                self.failures.fatal = self.failures.fatal or error
                found = [Verdict(None, error=str(error))] * len(traces)
            except Exception as error:
                found = [Verdict(None, error=described(error))] * len(traces)
        for trace, verdict in zip(traces, found, strict=True):
            if verdict.replayed:
                self.failures.again(verdict.cost)
            if verdict.scores is None:
                self.failures.note(trace.problem.id, f"unscored: {verdict.error or 'no reason given'}")
        return found


async def asked(engine: Engine, jobs: Sequence[Job]) -> list[Continuation]:
    """The engine's results; of one that is asked apart each job is a call of its own, all at once."""
    if engine.batching == "together":
        return await engine.sample(jobs) if jobs else []
    made = await asyncio.gather(*(engine.sample([job]) for job in jobs))
    return [found for (found,) in made]


def _failed(jobs: Sequence[Job], why: str) -> list[Continuation]:
    return [Continuation(job.trace.then((), "error", why), Cost()) for job in jobs]


class Aside:
    """A model that mull runs itself, beside servers: in a thread, so that no answer has to wait for it."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()


class AsideEngine(Aside):
    """An engine of mull's own in a thread."""

    def __init__(self, inner: SmallEngine) -> None:
        super().__init__()
        self.inner, self.name, self.size, self.batching = inner, inner.name, inner.size, inner.batching

    async def sample(self, jobs: Sequence[Job]) -> list[Continuation]:
        """The engine's results."""
        async with self._lock:
            return await asyncio.to_thread(self.inner.sample_now, jobs)


class AsideVerifier(Aside):
    """A verifier of mull's own in a thread."""

    def __init__(self, inner: SmallVerifier) -> None:
        super().__init__()
        self.inner, self.name = inner, inner.name

    async def score(self, traces: Sequence[Trace]) -> list[Verdict]:
        """The verifier's verdicts."""
        async with self._lock:
            return await asyncio.to_thread(self.inner.score_now, traces)


def reasons(whys: Iterable[str]) -> list[tuple[str, int]]:
    """Reasons with how often, the most frequent first.

    Those that differ in numbers and in what they quote alone are one.
    """
    shown: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for why in whys:
        kind = re.sub(r"""(?<!\w)(['"]).*?\1(?!\w)|\d+(\.\d+)?""", "#", why)
        shown.setdefault(kind, why)
        counts[kind] += 1
    return [(shown[kind], count) for kind, count in counts.most_common()]
