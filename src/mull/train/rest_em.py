"""ReST-EM for revisions: on-policy trajectories that end at their first right answer.

The reviser itself samples trajectories of at most five attempts, stopped at the first right
one; the proposer is then fine-tuned on those that ended right, with as many of each length
(Snell et al. 2024, appendix K: it makes a better first attempt and a worse reviser). The
examples are like those of :mod:`mull.train.revisions`, except that the reviser wrote their
context. The module samples and writes; it trains nothing.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mull.answers import extract_answer, is_correct
from mull.engines.base import Job
from mull.engines.small import SmallEngine
from mull.strategies.revisions import Chain
from mull.tiny.load import problem
from mull.tiny.world import stories
from mull.train.revisions import CONTEXT, MAX_TOKENS, Revision, write_revisions


@dataclass(frozen=True)
class TrajectoryPlan:
    """How many problems, and trajectories of each, in chunks of problems."""

    problems: int
    samples: int = 64
    chunk: int = 50
    seed: int = 41

    @property
    def chunks(self) -> int:
        """How many files the trajectories fill."""
        return -(-self.problems // self.chunk)


def trajectory_chunk(engine: SmallEngine, plan: TrajectoryPlan, index: int) -> list[Revision]:
    """Chunk ``index``: as many trajectories of every length as there are of the rarest."""
    first = index * plan.chunk
    count = min(plan.chunk, plan.problems - first)
    told = [problem(s) for s in itertools.islice(stories("train", plan.seed * 1_000_000 + index), count)]
    problems = [p for p in told for _ in range(plan.samples)]
    salt = zlib.crc32(f"rest-em/{plan.seed}/{index}".encode()) << 32
    seeds = (salt + i for i in itertools.count())
    chains = {i: Chain(0) for i in range(len(problems))}
    wrong: list[tuple[tuple[int, ...], ...]] = [()] * len(problems)
    by_length: list[list[Revision]] = [[] for _ in range(CONTEXT + 1)]
    for length in range(CONTEXT + 1):
        jobs = [
            Job(chain.next(problems[i]), None, 1.0, next(seeds), MAX_TOKENS) for i, chain in chains.items()
        ]
        for i, made in zip(list(chains), engine.sample_now(jobs), strict=True):
            trace = made.trace
            answer = extract_answer(trace.text) if trace.complete else None
            if answer is None:
                del chains[i]
            elif is_correct(answer, problems[i].gold or ""):
                prompt = engine.words.prompt(problems[i].prompt)
                by_length[length].append(Revision(first + i // plan.samples, prompt, wrong[i], trace.tokens))
                del chains[i]
            else:
                wrong[i] = (*wrong[i], trace.tokens)
                chains[i] = chains[i].after(trace)
    rng = np.random.default_rng([plan.seed, index])
    rarest = min(map(len, by_length))
    return [rows[k] for rows in by_length for k in sorted(rng.permutation(len(rows))[:rarest].tolist())]


def make_trajectories(
    reviser: Path, plan: TrajectoryPlan, folder: Path, part: int, parts: int, say: Callable[[str], None]
) -> None:
    """Make every ``parts``-th chunk, starting at ``part``, that is not in ``folder`` yet."""
    folder.mkdir(parents=True, exist_ok=True)
    engine = SmallEngine.load(reviser)
    for index in range(part, plan.chunks, parts):
        path = folder / f"{index:05d}.npz"
        if not path.exists():
            rows = trajectory_chunk(engine.fresh(), plan, index)
            write_revisions(path, rows)
            if index // parts % 4 == 0:
                say(f"trajectories: chunk {index + 1} of {plan.chunks}, {len(rows)} kept")
