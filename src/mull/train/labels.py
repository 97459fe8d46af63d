"""Monte-Carlo step labels: how often the proposer still gets it right from each step.

Samples come from the proposer that will be searched; unparsable ones are dropped;
from the end of every step ``rollouts`` continuations are sampled, and the step's
label is the share that reach the right answer (Snell et al. 2024, appendix D, after
Math-Shepherd). The last step's label is 0 or 1, as nothing remains to roll out.

Chunks are written whole and under their number, so labelling resumes.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mull.answers import extract_answer, is_correct
from mull.engines.base import Job
from mull.engines.small import SmallEngine
from mull.tiny.load import problem
from mull.tiny.world import Story, stories
from mull.trace import Trace

MAX_TOKENS = 250


@dataclass(frozen=True)
class LabelPlan:
    """How a labelling budget is spent: problems x samples x rollouts, in chunks of problems."""

    problems: int
    samples: int
    rollouts: int
    chunk: int = 500
    seed: int = 11

    @property
    def chunks(self) -> int:
        """How many files the labels fill."""
        return -(-self.problems // self.chunk)


@dataclass(frozen=True)
class Labelled:
    """One sample with its labels.

    ``tokens``: prompt and solution ids; ``ends``: index of each step's last token;
    ``values``: one label in [0, 1] a step; ``right``: whether each step's prefix is
    free of errors by exact arithmetic (for metrics; never trained on).
    """

    problem: int
    tokens: tuple[int, ...]
    ends: tuple[int, ...]
    values: tuple[float, ...]
    right: tuple[bool, ...]


def stepwise_right(story: Story, solution: str) -> tuple[bool, ...]:
    """For each line of a solution, whether it and all before it say the truth."""
    truth = story.values
    still, verdicts = True, []
    for line in solution.split("\n"):
        who, _, value = line.partition(": ")
        said = value.rpartition("= ")[2]
        expected = truth[story.target] if who == "Answer" else truth.get(who)
        still = still and expected is not None and said == str(expected)
        verdicts.append(still)
    return tuple(verdicts)


def beginnings(traces: Sequence[Trace], rollouts: int) -> list[tuple[int, Trace]]:
    """What is to be rolled out: for each trace and each of its steps but the last, ``rollouts`` times.

    Gives the trace's place and its open beginning up to the step.
    """
    return [
        (k, replace(trace, steps=trace.steps[: depth + 1], finish=None))
        for k, trace in enumerate(traces)
        for depth in range(len(trace.steps) - 1)
        for _ in range(rollouts)
    ]


def label_chunk(engine: SmallEngine, plan: LabelPlan, index: int) -> tuple[list[Labelled], int]:
    """Sample and label chunk ``index``; also how many tokens the engine sampled."""
    first = index * plan.chunk
    count = min(plan.chunk, plan.problems - first)
    told = list(itertools.islice(stories("train", plan.seed * 1_000_000 + index), count))
    salt = zlib.crc32(f"{plan.seed}/{index}".encode()) << 32
    seeds = (salt + i for i in itertools.count())
    roots = [Trace(problem(story)) for story in told for _ in range(plan.samples)]
    sampled = engine.sample_now([Job(root, None, 1.0, next(seeds), MAX_TOKENS) for root in roots])
    spent = sum(c.cost.completion_tokens for c in sampled)
    kept = [
        (i // plan.samples, c.trace)
        for i, c in enumerate(sampled)
        if c.trace.complete and extract_answer(c.trace.text) is not None
    ]
    prefixes = beginnings([trace for _, trace in kept], plan.rollouts)
    rolled = engine.sample_now([Job(p, None, 1.0, next(seeds), MAX_TOKENS) for _, p in prefixes])
    spent += sum(c.cost.completion_tokens for c in rolled)
    hits: dict[tuple[int, int], list[bool]] = {}
    for (k, prefix), c in zip(prefixes, rolled, strict=True):
        gold = prefix.problem.gold or ""
        hits.setdefault((k, len(prefix.steps)), []).append(is_correct(extract_answer(c.trace.text), gold))
    rows = []
    for k, (which, trace) in enumerate(kept):
        prompt = engine.words.prompt(trace.problem.prompt)
        ends = tuple(int(e) for e in len(prompt) - 1 + np.cumsum([len(s.tokens) for s in trace.steps]))
        right = stepwise_right(told[which], trace.text)
        if len(right) != len(ends):
            continue
        final = float(is_correct(extract_answer(trace.text), trace.problem.gold or ""))
        values = [float(np.mean(hits[k, depth])) for depth in range(1, len(trace.steps))]
        rows.append(Labelled(first + which, (*prompt, *trace.tokens), ends, (*values, final), right))
    return rows, spent


def make_labels(
    checkpoint: Path, plan: LabelPlan, folder: Path, part: int, parts: int, say: Callable[[str], None]
) -> None:
    """Label every ``parts``-th chunk, starting at ``part``, that is not in ``folder`` yet."""
    folder.mkdir(parents=True, exist_ok=True)
    engine = SmallEngine.load(checkpoint)
    for index in range(part, plan.chunks, parts):
        path = folder / f"{index:05d}.npz"
        if path.exists():
            continue
        rows, spent = label_chunk(engine, plan, index)
        write_labels(path, rows, spent)
        if index // parts % 10 == 0:
            say(f"labels: chunk {index + 1} of {plan.chunks}, {len(rows)} samples, {spent / 1e3:.0f}k tokens")


def write_labels(path: Path, rows: list[Labelled], spent: int) -> None:
    """One chunk as flat arrays, written to a temporary name and renamed."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        np.savez_compressed(
            file,
            problem=np.array([r.problem for r in rows], np.int32),
            length=np.array([len(r.tokens) for r in rows], np.int32),
            steps=np.array([len(r.ends) for r in rows], np.int32),
            tokens=np.array([t for r in rows for t in r.tokens], np.int16),
            ends=np.array([e for r in rows for e in r.ends], np.int32),
            values=np.array([v for r in rows for v in r.values], np.float32),
            right=np.array([v for r in rows for v in r.right], np.bool_),
            spent=np.array(spent),
        )
    temporary.replace(path)


def read_labels(folder: Path) -> Iterator[Labelled]:
    """All labelled samples of a folder, in order."""
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as data:
            tokens = np.split(data["tokens"], np.cumsum(data["length"])[:-1])
            cuts = np.cumsum(data["steps"])[:-1]
            parts = zip(
                data["problem"],
                tokens,
                np.split(data["ends"], cuts),
                np.split(data["values"], cuts),
                np.split(data["right"], cuts),
                strict=True,
            )
            for number, ids, ends, values, right in parts:
                yield Labelled(
                    int(number),
                    tuple(ids.tolist()),
                    tuple(ends.tolist()),
                    tuple(values.tolist()),
                    tuple(right.tolist()),
                )
