"""Revision examples: wrong answers in context, a right one as the target.

For each training problem many solutions are sampled side by side from the proposer and
those without an answer dropped. Each right one becomes the target of an example with 0 to
4 wrong ones before it, their number drawn evenly; the last of them is the wrong one
nearest to the target by edit distance over characters, the others are drawn (Snell et al.
2024, section 6.1 and appendix H). A problem gives at most ``targets`` examples, so that
easy problems do not crowd out the others; the paper states no such limit.

An example spells out as prompt, attempts, target, each attempt closed by the end token.
The module samples and writes; it trains nothing.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mull.answers import extract_answer, is_correct
from mull.engines.base import Job
from mull.engines.small import SmallEngine
from mull.tiny.load import problem
from mull.tiny.world import stories
from mull.trace import Trace
from mull.train.loop import Example

MAX_TOKENS = 250
#: Most wrong answers in context.
CONTEXT = 4


@dataclass(frozen=True)
class RevisionPlan:
    """How many problems, samples of each, and targets kept of each, in chunks of problems."""

    problems: int
    samples: int = 64
    targets: int = 6
    chunk: int = 250
    seed: int = 21

    @property
    def chunks(self) -> int:
        """How many files the examples fill."""
        return -(-self.problems // self.chunk)


@dataclass(frozen=True)
class Revision:
    """One example: ids of the prompt, of each attempt and of the target, end tokens included."""

    problem: int
    prompt: tuple[int, ...]
    attempts: tuple[tuple[int, ...], ...]
    target: tuple[int, ...]


def as_example(row: Revision) -> Example:
    """A revision as a training sequence: the loss wants the target's tokens alone."""
    head = [*row.prompt, *(token for attempt in row.attempts for token in attempt)]
    tokens = [*head, *row.target]
    return Example(tokens, [np.nan] * (len(head) - 1) + list(map(float, row.target)) + [np.nan])


def revise_chunk(engine: SmallEngine, plan: RevisionPlan, index: int) -> tuple[list[Revision], int]:
    """Sample chunk ``index`` and make its examples; also how many tokens were sampled."""
    first = index * plan.chunk
    count = min(plan.chunk, plan.problems - first)
    told = itertools.islice(stories("train", plan.seed * 1_000_000 + index), count)
    problems = [problem(story) for story in told]
    salt = zlib.crc32(f"revisions/{plan.seed}/{index}".encode()) << 32
    jobs = [
        Job(Trace(p), None, 1.0, salt + i * plan.samples + j, MAX_TOKENS)
        for i, p in enumerate(problems)
        for j in range(plan.samples)
    ]
    made = engine.sample_now(jobs)
    rows: list[Revision] = []
    for i, p in enumerate(problems):
        traces = [c.trace for c in made[i * plan.samples : (i + 1) * plan.samples]]
        rng = np.random.default_rng([plan.seed, index, i])
        chosen = examples_of(traces, p.gold or "", plan.targets, rng)
        prompt = engine.words.prompt(p.prompt)
        rows += [
            Revision(first + i, prompt, tuple(w.tokens for w in wrong), target.tokens)
            for wrong, target in chosen
        ]
    return rows, sum(c.cost.completion_tokens for c in made)


def examples_of(
    traces: Sequence[Trace], gold: str, targets: int, rng: np.random.Generator
) -> list[tuple[list[Trace], Trace]]:
    """(wrong traces in context, right trace) pairs from one problem's samples."""
    answered = [(t, extract_answer(t.text)) for t in traces if t.complete]
    right = [t for t, answer in answered if answer is not None and is_correct(answer, gold)]
    wrong = [t for t, answer in answered if answer is not None and not is_correct(answer, gold)]
    chosen = drawn([t.text for t in right], [t.text for t in wrong], targets, rng)
    return [([wrong[k] for k in context], right[at]) for context, at in chosen]


def drawn(
    right: Sequence[str], wrong: Sequence[str], targets: int, rng: np.random.Generator
) -> list[tuple[list[int], int]]:
    """Examples from one problem's texts: the places of the wrong ones in context, and of the target."""
    from rapidfuzz.distance import Levenshtein

    found: list[tuple[list[int], int]] = []
    for at in rng.permutation(len(right))[:targets].tolist():
        n = int(rng.integers(0, min(CONTEXT, len(wrong)) + 1))
        if n == 0:
            found.append(([], at))
            continue
        nearest = int(np.argmin([Levenshtein.distance(text, right[at]) for text in wrong]))
        others = [k for k in rng.permutation(len(wrong)).tolist() if k != nearest][: n - 1]
        found.append(([*others, nearest], at))
    return found


def make_revisions(
    checkpoint: Path, plan: RevisionPlan, folder: Path, part: int, parts: int, say: Callable[[str], None]
) -> None:
    """Make every ``parts``-th chunk, starting at ``part``, that is not in ``folder`` yet."""
    folder.mkdir(parents=True, exist_ok=True)
    engine = SmallEngine.load(checkpoint)
    for index in range(part, plan.chunks, parts):
        path = folder / f"{index:05d}.npz"
        if path.exists():
            continue
        rows, spent = revise_chunk(engine, plan, index)
        write_revisions(path, rows)
        if index // parts % 8 == 0:
            done = f"revisions: chunk {index + 1} of {plan.chunks}"
            say(f"{done}, {len(rows)} examples, {spent / 1e3:.0f}k tokens")


def write_revisions(path: Path, rows: Sequence[Revision]) -> None:
    """One chunk as flat arrays, written to a temporary name and renamed."""
    temporary = path.with_suffix(".tmp")
    pieces = [piece for r in rows for piece in (r.prompt, *r.attempts, r.target)]
    with temporary.open("wb") as file:
        np.savez_compressed(
            file,
            problem=np.array([r.problem for r in rows], np.int32),
            pieces=np.array([2 + len(r.attempts) for r in rows], np.int32),
            length=np.array([len(piece) for piece in pieces], np.int32),
            tokens=np.array([token for piece in pieces for token in piece], np.int16),
        )
    temporary.replace(path)


def read_revisions(folder: Path) -> Iterator[Revision]:
    """All examples of a folder, in order."""
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as data:
            cuts = np.cumsum(data["length"])[:-1]
            pieces = [tuple(piece.tolist()) for piece in np.split(data["tokens"], cuts)]
            at = 0
            for number, count in zip(data["problem"].tolist(), data["pieces"].tolist(), strict=True):
                prompt, *attempts, target = pieces[at : at + count]
                at += count
                yield Revision(number, prompt, tuple(attempts), target)
