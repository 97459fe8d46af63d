"""Labels for the verifier of revisions: chains by the reviser, each attempt right or wrong.

Chains of five attempts, so that every number of earlier attempts that the reviser is shown
(0 to 4) occurs (Snell et al. 2024, appendix J). A chain is one sequence: the prompt and its
attempts, each closed by the end token, with a label at each of those. The module samples
and writes; it trains nothing.
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
from mull.train.labels import Labelled, write_labels
from mull.train.revisions import CONTEXT, MAX_TOKENS


@dataclass(frozen=True)
class ChainPlan:
    """How many problems, chains of each, and attempts in a chain, in chunks of problems."""

    problems: int
    chains: int = 1
    length: int = CONTEXT + 1
    chunk: int = 500
    seed: int = 31

    @property
    def chunks(self) -> int:
        """How many files the chains fill."""
        return -(-self.problems // self.chunk)


def chain_chunk(engine: SmallEngine, plan: ChainPlan, index: int) -> tuple[list[Labelled], int]:
    """Sample chunk ``index`` of chains and label their attempts; also how many tokens were sampled."""
    first = index * plan.chunk
    count = min(plan.chunk, plan.problems - first)
    told = itertools.islice(stories("train", plan.seed * 1_000_000 + index), count)
    problems = [problem(story) for story in told for _ in range(plan.chains)]
    salt = zlib.crc32(f"chains/{plan.seed}/{index}".encode()) << 32
    seeds = (salt + i for i in itertools.count())
    chains = [Chain(0) for _ in problems]
    attempts: list[list[tuple[tuple[int, ...], bool]]] = [[] for _ in problems]
    spent = 0
    for _ in range(plan.length):
        jobs = [
            Job(chain.next(p), None, 1.0, next(seeds), MAX_TOKENS)
            for chain, p in zip(chains, problems, strict=True)
        ]
        for i, made in enumerate(engine.sample_now(jobs)):
            spent += made.cost.completion_tokens
            if made.trace.complete:
                right = is_correct(extract_answer(made.trace.text), problems[i].gold or "")
                attempts[i].append((made.trace.tokens, right))
                chains[i] = chains[i].after(made.trace)
    rows = []
    for i, found in enumerate(attempts):
        if found:
            prompt = engine.words.prompt(problems[i].prompt)
            ends = np.cumsum([len(prompt), *(len(tokens) for tokens, _ in found)])[1:] - 1
            tokens = (*prompt, *(token for attempt, _ in found for token in attempt))
            labels = tuple(value for _, value in found)
            values = tuple(float(value) for value in labels)
            rows.append(Labelled(first + i // plan.chains, tokens, tuple(ends.tolist()), values, labels))
    return rows, spent


def make_chains(
    reviser: Path, plan: ChainPlan, folder: Path, part: int, parts: int, say: Callable[[str], None]
) -> None:
    """Make every ``parts``-th chunk, starting at ``part``, that is not in ``folder`` yet."""
    folder.mkdir(parents=True, exist_ok=True)
    engine = SmallEngine.load(reviser)
    for index in range(part, plan.chunks, parts):
        path = folder / f"{index:05d}.npz"
        if path.exists():
            continue
        rows, spent = chain_chunk(engine.fresh(), plan, index)
        write_labels(path, rows, spent)
        if index // parts % 8 == 0:
            right = np.mean([value for row in rows for value in row.values])
            done = f"chains: chunk {index + 1} of {plan.chunks}"
            say(f"{done}, {len(rows)} chains, {right:.1%} right, {spent / 1e3:.0f}k tokens")
