"""The driver: runs strategies on problems, against a proposer, a reviser and their verifiers.

It is the only place that does I/O, and everything a strategy must not do itself is done
here: batching, seeds, the budget, the ledger, the record, and what becomes of failures.
A result depends on the study's seed, the problem and the arm alone. The driver never
chooses between traces and never makes up a score or a token count.

What happens when something goes wrong, always with an event that says so:

- the engine raises, is too slow, gives nothing or breaks its contract: the trace comes
  back with finish "error"; it has no answer, and the problem goes on;
- a trace is cut by length: it is kept, and its answer is looked for in its whole lines;
- the verifier raises, gives no scores, not one value a step (or one in all), or a value
  outside [0, 1]: the trace is unscored.

Only a :class:`~mull.errors.MullError` (a mistake to put right, such as a wrong address) and
a :class:`~mull.meter.BudgetExceeded` (a strategy's bug) end the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from weakref import WeakKeyDictionary

from mull.answers import Extract, Grader
from mull.calls import Apart, Calls, Together
from mull.cost import Cost
from mull.engines.base import Continuation, Engine, Job
from mull.errors import MullError
from mull.meter import Meter
from mull.mishaps import checked, described, flaw, mishap
from mull.problems import Problem
from mull.reading import Reading
from mull.seeds import seed_for
from mull.select import SELECTORS, Selection
from mull.strategies.base import Arm, Finals, find, start
from mull.trace import Candidate, Need, Read, Role, Sample, Score, Scores, ThinkingBudget, Trace
from mull.tree import Recorder, Round
from mull.verifiers.base import Verdict, Verifier


@dataclass(frozen=True)
class Task:
    """One arm on one problem."""

    problem: Problem
    arm: Arm


@dataclass(frozen=True)
class Result:
    """What came of a task.

    ``candidates`` are the strategy's finals, in its order; ``correct`` is None where
    the problem has no gold answer; ``cost`` holds everything spent, pruned branches and
    rollouts too; ``events`` are one-liners on what went wrong; ``rounds`` is the search
    tree (see :func:`mull.tree.tree`), empty unless the driver records.
    """

    task: Task
    candidates: tuple[Candidate, ...]
    selection: Selection
    correct: bool | None
    cost: Cost
    events: tuple[str, ...] = ()
    rounds: tuple[Round, ...] = ()


OnResult = Callable[[Result], None]


@dataclass(frozen=True)
class Driver:
    """Runs tasks against one engine, and a reviser where strategies ask for one.

    ``reviser`` continues traces that have earlier attempts; without one the engine does,
    which then has to understand them. ``verifier`` is one verifier for all strategies, or
    one for each need ("outcome", "process", "revision"): where a need has none of its own,
    the outcome verifier serves, then the process verifier, but nothing serves for "process".
    ``temperature`` is what strategies that do not set their own sample at;
    ``max_tokens`` caps a whole solution, whatever the number of its steps; ``extract``
    takes the answer from a solution's text. At most ``concurrency`` tasks are in
    flight. ``timeout`` (seconds) limits each call where the engine takes them apart.
    ``record`` keeps the search tree.

    One driver may serve several :meth:`drive` calls at the same time; their requests share
    the engine's batches.
    """

    engine: Engine
    verifier: Verifier | Mapping[Need, Verifier] | None = None
    reviser: Engine | None = field(default=None, kw_only=True)
    seed: int = field(kw_only=True)
    temperature: float = field(default=1.0, kw_only=True)
    max_tokens: int = field(default=400, kw_only=True)
    extract: Extract | None = field(default=None, kw_only=True)
    grader: Grader | None = field(default=None, kw_only=True)
    concurrency: int = field(default=64, kw_only=True)
    timeout: float | None = field(default=None, kw_only=True)
    record: bool = field(default=False, kw_only=True)
    _calls: WeakKeyDictionary[asyncio.AbstractEventLoop, Together] = field(
        default_factory=WeakKeyDictionary, init=False, repr=False, compare=False
    )

    def run(self, tasks: Iterable[Task], on_result: OnResult | None = None) -> list[Result]:
        """:meth:`drive` from synchronous code. In a running event loop, await that instead."""
        return asyncio.run(self.drive(tasks, on_result))

    async def drive(self, tasks: Iterable[Task], on_result: OnResult | None = None) -> list[Result]:
        """The tasks' results, in order; ``on_result`` gets each as it finishes, in any order.

        All arms are checked before anything is sampled: raises :class:`MullError` for an
        unknown strategy or parameter, a missing verifier or a budget that cannot be met.
        """
        todo = list(tasks)
        for arm, problem in {task.arm: task.problem for task in todo}.items():
            start(arm, problem).close()
            for need in find(arm.strategy).needs:
                self.verifier_for(need, arm)
        results: list[Result | None] = [None] * len(todo)
        queue = iter(range(len(todo)))
        calls = self._calls_here()

        async def work() -> None:
            for i in queue:
                results[i] = found = await _Run(self, calls, todo[i]).result()
                if on_result is not None:
                    on_result(found)

        workers = []
        for _ in range(min(self.concurrency, len(todo))):
            calls.join()
            worker = asyncio.create_task(work())
            worker.add_done_callback(lambda _: calls.leave())
            workers.append(worker)
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return [result for result in results if result is not None]

    def _calls_here(self) -> Calls:
        if self.engine.batching == "apart":
            return Apart(self.timeout)
        return self._calls.setdefault(asyncio.get_running_loop(), Together())

    def verifier_for(self, need: Need, arm: Arm) -> Verifier:
        """The verifier that serves an arm's need; :class:`MullError` if there is none."""
        found = None if isinstance(self.verifier, Mapping) else self.verifier
        if isinstance(self.verifier, Mapping):
            serve: dict[Need, tuple[Need, ...]] = {
                "process": ("process",),
                "outcome": ("outcome", "process"),
                "revision": ("revision", "outcome", "process"),
            }
            found = next((self.verifier[n] for n in serve[need] if n in self.verifier), None)
        if found is None:
            raise MullError(
                f"strategy {arm.strategy!r} needs a verifier ({need}), and there is none: name one (--prm, "
                "or verifiers in a study), or take a strategy without, such as majority"
            )
        return found

    def engine_for(self, role: Role) -> Engine:
        """The engine that samples in a role."""
        return self.engine if role == "proposer" or self.reviser is None else self.reviser


class _Run:
    """One task on its way: its requests, its ledger, its events."""

    def __init__(self, driver: Driver, calls: Calls, task: Task) -> None:
        self.driver, self.calls, self.task = driver, calls, task
        self.reading = Reading(task.problem, driver.extract, driver.grader)
        self.meter = Meter()
        self.cost = Cost()
        self.events: list[str] = []
        self.recorder = Recorder() if driver.record else None
        self.number = 0  # of the request at hand, from 0

    async def result(self) -> Result:
        """Drive the task's strategy to its end."""
        plan = start(self.task.arm, self.task.problem)
        answer: object = None
        while True:
            try:
                request = plan.send(answer)
            except StopIteration as stop:
                return await self.finish(stop.value)
            who = f"{self.task.arm} on problem {self.task.problem.id!r}"
            self.meter.charge(request, self.task.arm.budget, who)
            if isinstance(request, Read):
                answer = await self.reading.answers(request.traces)
                continue
            answer = await (self.sample(request) if isinstance(request, Sample) else self.score(request))
            self.number += 1

    async def finish(self, finals: Finals) -> Result:
        """The result, from what the strategy returned."""
        driver, problem = self.driver, self.task.problem
        answers = await self.reading.finals([trace for trace, _ in finals])
        found = tuple(Candidate(t, a, s) for (t, s), a in zip(finals, answers, strict=True))
        if self.recorder:
            self.recorder.ended(
                [c.trace for c in found], [c.scores for c in found], [c.answer for c in found]
            )
        needs = find(self.task.arm.strategy).needs
        if needs and all(c.scores is None for c in found):
            name = driver.verifier_for(needs[0], self.task.arm).name
            self.events.append(f"no candidate was scored; is verifier {name!r} broken?")
        if all(c.answer is None for c in found):
            self.events.append(f"none of {len(found)} candidates has an answer")
        chosen = SELECTORS[find(self.task.arm.strategy).selector](problem.id, found)
        return Result(
            self.task,
            found,
            chosen,
            await self.reading.correct(chosen.answer),
            replace(self.cost, generations=self.meter.generations),
            tuple(self.events),
            tuple(self.recorder.rounds) if self.recorder else (),
        )

    async def sample(self, request: Sample) -> list[Trace]:
        """Answer a Sample request: every trace continued, the closed ones as they were."""
        steps = 1 if request.until == "step" else None
        heat = self.driver.temperature if request.temperature is None else request.temperature
        found, whys = await self.continued(request.traces, steps, heat, request.by, request.thinking)
        self.report(whys)
        if self.recorder:
            self.recorder.sampled(request.traces, found)
        return found

    async def score(self, request: Score) -> list[Scores | None]:
        """Answer a Score request: rollouts first where asked for, then one verdict a trace."""
        traces: Sequence[Trace] = request.traces
        whys: list[str] = [""] * len(traces)
        if request.lookahead > 0:
            traces, failed = await self.continued(traces, request.lookahead, 0.0, "proposer")
            for i, trace in enumerate(traces):
                if trace.finish == "error" and request.traces[i].open:
                    whys[i] = f"unscored: the rollout failed: {failed[i]}"
        fit = [i for i, trace in enumerate(traces) if trace.steps and trace.finish != "error"]
        found: list[Scores | None] = [None] * len(traces)
        verdicts = await self.verdicts([traces[i] for i in fit], request.need)
        for i, verdict in zip(fit, verdicts, strict=True):
            self.cost += verdict.cost
            problem = flaw(verdict, traces[i])
            if problem:
                whys[i] = f"unscored: {problem}"
            else:
                found[i] = verdict.scores
        self.report(whys)
        if self.recorder:
            self.recorder.scored(request, found)
        return found

    async def continued(
        self,
        traces: Sequence[Trace],
        steps: int | None,
        temperature: float,
        role: Role,
        thinking: ThinkingBudget | None = None,
    ) -> tuple[list[Trace], list[str]]:
        """The traces continued where open, and for each what went wrong ("" if nothing)."""
        found, whys = list(traces), [""] * len(traces)
        jobs: dict[int, Job] = {}
        for i, trace in enumerate(traces):
            room = self.driver.max_tokens - len(trace.tokens)
            if trace.open and room <= 0:
                found[i] = trace.then((), "length")
            elif trace.open:
                seed = seed_for(self.driver.seed, self.task.problem.id, self.task.arm, self.number, i)
                jobs[i] = Job(trace, steps, temperature, seed, room, thinking)
        for i, made in zip(jobs, await self.continuations(list(jobs.values()), role), strict=True):
            self.cost += made.cost
            found[i] = checked(jobs[i], made.trace)
        for i, trace in enumerate(found):
            if trace is not traces[i]:
                whys[i] = mishap(trace, self.driver.max_tokens)
        return found, whys

    async def continuations(self, jobs: list[Job], role: Role) -> list[Continuation]:
        """The engine's answer; if it fails, every job's trace with that error."""
        if not jobs:
            return []
        try:
            return await self.calls.ask(self.driver.engine_for(role).sample, jobs)
        except MullError:
            raise
        except Exception as error:
            return [Continuation(j.trace.then((), "error", described(error)), Cost()) for j in jobs]

    async def verdicts(self, traces: list[Trace], need: Need | None) -> list[Verdict]:
        """The verifier's answer; if it fails, verdicts that say so."""
        if not traces:
            return []
        needs = find(self.task.arm.strategy).needs
        wanted = need or (needs[0] if needs else None)
        if wanted is None or wanted not in needs:
            name = self.task.arm.strategy
            said = f"needing {', '.join(needs) or 'no verifier'}"
            raise MullError(f"strategy {name!r} asked for scores, but is registered as {said}")
        try:
            return await self.calls.ask(self.driver.verifier_for(wanted, self.task.arm).score, traces)
        except MullError:
            raise
        except Exception as error:
            return [Verdict(None, error=described(error))] * len(traces)

    def report(self, whys: Sequence[str]) -> None:
        """Add an event for each thing that went wrong in the request at hand."""
        for why in dict.fromkeys(filter(None, whys)):
            which = [str(i + 1) for i, other in enumerate(whys) if other == why]
            shown = ", ".join(which[:8]) + (", ..." if len(which) > 8 else "")
            self.events.append(f"request {self.number + 1}, trace {shown} of {len(whys)}: {why}")


__all__ = ["Driver", "OnResult", "Result", "Task"]
