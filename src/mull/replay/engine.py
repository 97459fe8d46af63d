"""The replay engine: an engine that answers with recorded samples, and live runs on it.

One engine is one run: the k-th fresh trace of a problem becomes the k-th sample of the run's order,
whatever its seed. A sample comes out in steps of ``Recorded.step`` tokens, so that a strategy can drop
it on the way and pays for what it has seen. Nothing is generated, and no count is made up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np

from mull.cost import Cost, ModelSize
from mull.drive import Driver, Task
from mull.engines.base import Continuation, Job, refuse_thinking
from mull.errors import MullError
from mull.problems import Problem
from mull.replay.recorded import Recorded, read_answer, sample_text, text_of
from mull.replay.rules import Outcome
from mull.select import tie_rank
from mull.strategies import Arm, find
from mull.study.pools import Ints
from mull.trace import Finish, Scores, Step, Trace
from mull.verifiers.base import Verdict


class ReplayEngine:
    """Gives out the recorded samples of one run, in the orders [P, n]."""

    name = "replay"
    size = ModelSize(0)
    batching: Literal["together", "apart"] = "together"

    def __init__(self, recorded: Recorded, orders: Ints) -> None:
        self._recorded, self._orders = recorded, orders
        self._rows = {name: row for row, name in enumerate(recorded.names)}
        self._given: Counter[str] = Counter()

    async def sample(self, jobs: Sequence[Job]) -> list[Continuation]:
        """Continue every job's trace by its recorded sample."""
        refuse_thinking(jobs, self.name)
        return [self._one(job) for job in jobs]

    def _one(self, job: Job) -> Continuation:
        name = job.trace.problem.id
        row = self._rows[name]
        if job.trace.steps:
            sample = sample_of(job.trace)
        else:
            if self._given[name] == len(self._orders[row]):
                raise MullError(f"problem {name!r} has no more recorded samples than {self._given[name]}")
            sample = int(self._orders[row][self._given[name]])
            self._given[name] += 1
        tokens = int(self._recorded.tokens[row, sample])
        size = tokens if job.steps is None else self._recorded.step
        before = len(job.trace.tokens)
        end = tokens if job.steps is None else min(tokens, before + job.steps * size)
        end = min(end, before + job.max_tokens)
        steps: list[Step] = []
        at = before
        while at < end or (not steps and end == tokens):
            more = min(size, end - at)
            at += more
            steps.append(self._step(row, sample, more, last=at == tokens))
        finish: Finish | None = (
            "stop" if at == tokens else "length" if at == before + job.max_tokens else None
        )
        cost = Cost(requests=1, completion_tokens=at - before)
        return Continuation(job.trace.then(tuple(steps), finish), cost)

    def _step(self, row: int, sample: int, tokens: int, *, last: bool) -> Step:
        """``tokens`` token ids that are the sample's number; the last step has the text."""
        recorded = self._recorded
        text = (
            ""
            if not last
            else sample_text(sample, text_of(recorded.texts[row], int(recorded.answers[row, sample])))
        )
        logprobs: tuple[float, ...] = ()
        if recorded.logprobs is not None and not np.isnan(recorded.logprobs[row, sample]):
            each = float(recorded.logprobs[row, sample]) / max(int(recorded.tokens[row, sample]), 1)
            logprobs = (each,) * tokens
        return Step(text or " ", (sample,) * tokens, logprobs)


class ReplayVerifier:
    """Gives the recorded score of a replayed solution; free of cost."""

    name = "replay"

    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded
        self._rows = {name: row for row, name in enumerate(recorded.names)}

    async def score(self, traces: Sequence[Trace]) -> list[Verdict]:
        """One recorded value a trace, or that there is none."""
        return [self._one(trace) for trace in traces]

    def _one(self, trace: Trace) -> Verdict:
        scores = self._recorded.scores
        value = (
            float("nan") if scores is None else float(scores[self._rows[trace.problem.id], sample_of(trace)])
        )
        return Verdict(None, error="no recorded score") if value != value else Verdict(Scores((value,)))


class ReplayGrader:
    """Recorded behaviours as a grader: of the answers of one kind a hash draws who stands for them."""

    def __init__(self, recorded: Recorded) -> None:
        self._rows = {name: row for row, name in enumerate(recorded.names)}
        assert recorded.kinds is not None
        self._kinds = [
            dict(zip(texts, kinds[: len(texts)].tolist(), strict=True))
            for texts, kinds in zip(recorded.texts, recorded.kinds, strict=True)
        ]
        self._ranks = [
            {text: (tie_rank(name, text), text) for text in texts}
            for name, texts in zip(recorded.names, recorded.texts, strict=True)
        ]

    def extract(self, text: str) -> str | None:
        """The answer as recorded."""
        return read_answer(text)

    def canonical(
        self, answers: Sequence[str | None], problem: Problem | None = None
    ) -> tuple[str | None, ...]:
        """Each answer as that which stands for its behaviour among these."""
        assert problem is not None
        row = self._rows[problem.id]
        kinds, ranks = self._kinds[row], self._ranks[row]
        best: dict[int, str] = {}
        for answer in dict.fromkeys(answers):
            if answer is not None and kinds[answer] >= 0:
                held = best.setdefault(kinds[answer], answer)
                best[kinds[answer]] = max(held, answer, key=ranks.__getitem__)
        return tuple(None if answer is None else best.get(kinds[answer]) for answer in answers)

    def correct(self, answer: str | None, gold: str, problem: Problem | None = None) -> bool:
        """As recorded answers have it: what is right is looked up by the answer, not judged."""
        raise MullError("a replay knows which answers are right; there is no gold answer to judge by")


def sample_of(trace: Trace) -> int:
    """Which recorded sample a replayed trace is."""
    if trace.tokens:
        return trace.tokens[0]
    return int(trace.text.split("\n")[0].split()[-1])  # a sample of no tokens is its text


def live(recorded: Recorded, arm: Arm, orders: Ints) -> Outcome:
    """The arm run by the driver on the replay engine, once for each of the orders [R, P, n].

    Slow beside :func:`mull.replay.rules.replay`, and equal to it: that is what it is for.
    """
    problems = [Problem(name, "?") for name in recorded.names]
    most = int(recorded.tokens.max()) + 1
    grader = None if recorded.kinds is None else ReplayGrader(recorded)
    verifier = ReplayVerifier(recorded) if find(arm.strategy).needs else None
    places = [{text: label for label, text in enumerate(texts)} for texts in recorded.texts]
    found = []
    for order in orders:
        engine = ReplayEngine(recorded, order)
        driver = Driver(engine, verifier, seed=0, max_tokens=most, extract=read_answer, grader=grader)
        results = driver.run([Task(problem, arm) for problem in problems])
        for row, result in enumerate(results):
            answer = result.selection.answer
            label = -1 if answer is None else places[row][answer]
            right = label >= 0 and bool(recorded.right[row, label])
            found.append((label, right, result.cost.generations, result.cost.completion_tokens))
    columns = np.array(found).reshape(len(orders), len(problems), 4)
    return Outcome(columns[..., 0], columns[..., 1].astype(bool), columns[..., 2], columns[..., 3])
