"""Plans run: live over a driver's engine, and in a replay over recorded samples. The same plan, the same
protocol.

Live, sample i of a problem depends on the seed, the problem and i alone, as in a recorded pool: so a replay
over a pool recorded with the same seed ends in the same answers at the same cost. The module draws what it
is asked for, and counts the tokens as the driver's ledger does.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from mull.allocation.protocol import Draw, Plan, Reply, Report, Sampled
from mull.drive import Driver, Result, Task
from mull.engines.base import Around, Continuation, Engine, Job
from mull.problems import Problem
from mull.replay.recorded import Recorded, text_of
from mull.seeds import seed_for
from mull.strategies.base import Arm
from mull.study.pools import Ints

_ONE = Arm("single", 1)


def live(plan: Plan, problems: Sequence[Problem], driver: Driver) -> Report:
    """The plan run on the driver's engine; see :func:`drive` for running event loops."""
    return asyncio.run(drive(plan, problems, driver))


async def drive(plan: Plan, problems: Sequence[Problem], driver: Driver) -> Report:
    """The plan run on the driver's engine, each round's requests in one drive of majority votes."""
    engine = Numbered(driver.engine, driver.seed)
    reply: Reply | None = None
    try:
        while True:
            draw = next(plan) if reply is None else plan.send(reply)
            here = replace(driver, engine=engine, max_tokens=min(driver.max_tokens, draw.limit))
            tasks = [Task(problems[row], Arm("majority", count)) for row, count in draw.requests]
            reply = [_sampled(result, here.max_tokens) for result in await here.drive(tasks)]
    except StopIteration as stop:
        report: Report = stop.value
        return report


def _sampled(result: Result, limit: int) -> list[Sampled]:
    """A task's candidates as samples. Their tokens sum to the ledger's, whatever an engine tells of each."""
    sizes = [len(candidate.trace.tokens) for candidate in result.candidates]
    total = result.cost.completion_tokens
    if sum(sizes) != total:
        share, over = divmod(total, len(sizes))
        sizes = [share + (place < over) for place in range(len(sizes))]
    return [
        Sampled(candidate.answer if candidate.trace.finish == "stop" and size < limit else None, size)
        for candidate, size in zip(result.candidates, sizes, strict=True)
    ]


class Numbered(Around):
    """An engine whose k-th fresh solution of a problem has the seed of the problem's k-th recorded sample."""

    def __init__(self, inner: Engine, seed: int) -> None:
        super().__init__(inner)
        self._seed = seed
        self._given: Counter[str] = Counter()

    async def sample(self, jobs: Sequence[Job]) -> list[Continuation]:
        """The engine's continuations of the jobs under their samples' seeds."""
        return await self.inner.sample([self._numbered(job) for job in jobs])

    def _numbered(self, job: Job) -> Job:
        name = job.trace.problem.id
        index = self._given[name]
        self._given[name] += 1
        return replace(job, seed=seed_for(self._seed, name, _ONE, 0, index))


def replayed(plan: Plan, recorded: Recorded, orders: Ints) -> Report:
    """The plan run over recorded samples, each problem's in the order of its row of ``orders`` [P, n]."""
    given = Counter[int]()
    reply: Reply | None = None
    try:
        while True:
            draw = next(plan) if reply is None else plan.send(reply)
            reply = [
                [_recorded(recorded, orders, row, given, draw) for _ in range(count)]
                for row, count in draw.requests
            ]
    except StopIteration as stop:
        report: Report = stop.value
        return report


def _recorded(recorded: Recorded, orders: Ints, row: int, given: Counter[int], draw: Draw) -> Sampled:
    sample = int(orders[row, given[row]])
    given[row] += 1
    tokens = int(recorded.tokens[row, sample])
    if tokens >= draw.limit:
        return Sampled(None, draw.limit)
    return Sampled(text_of(recorded.texts[row], int(recorded.answers[row, sample])), tokens)
