"""A short measured sample: how long solutions are, and how fast they come.

Some problems, spread over the study's, are sampled once each, all at the same time, and scored. A
server that takes more requests than these at a time will be faster than this says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from mull.engines.base import Job
from mull.errors import MullError
from mull.problems import Problem
from mull.seeds import seed_for
from mull.strategies.base import Arm
from mull.study import models
from mull.study.config import Study
from mull.study.failures import Failures
from mull.study.pretend import Lengths
from mull.trace import Trace

_ONE = Arm("measured", 1)


@dataclass(frozen=True)
class Sampled:
    """Lengths, completion tokens a second (None: all came from a record), verifier tokens a second
    (None without a verifier).
    """

    lengths: Lengths
    throughput: float | None
    verified: float | None
    how: str


def measure(study: Study, problems: Sequence[Problem], count: int) -> Sampled:
    """Sample and score ``count`` solutions; :class:`MullError` if none comes."""
    failures = Failures()
    # The engine and mull's own PRM or one behind a server: nothing large is loaded for this.
    prm = study.prm if isinstance(study.prm, str) or (study.prm and "url" in study.prm.table) else None
    alone = Study(study.name, engine=study.engine, prm=prm, orm=None)
    # Loaded out here: connections of an engine that outlives the event loop are closed with the loop.
    loaded = models.load(alone).watched(failures)
    return asyncio.run(_measure(study, problems, count, loaded, failures))


async def _measure(
    study: Study, problems: Sequence[Problem], count: int, loaded: models.Models, failures: Failures
) -> Sampled:
    chosen = [problems[i * len(problems) // count % len(problems)] for i in range(count)]
    jobs = [
        Job(Trace(p), None, study.temperature, seed_for(study.seed, p.id, _ONE, 0, i), study.max_tokens)
        for i, p in enumerate(chosen)
    ]
    await loaded.engine.sample(
        [Job(jobs[0].trace, None, 1.0, 0, 1)]
    )  # connections and the probe are not timed
    began = time.monotonic()
    made = await loaded.engine.sample(jobs)
    seconds = max(time.monotonic() - began, 1e-9)
    if failures.fatal is not None:
        raise failures.fatal
    good = [found for found in made if found.trace.finish != "error"]
    if not good:
        raise MullError(f"no sample could be measured: {made[0].trace.error}")
    completion = sum(found.cost.completion_tokens for found in good)
    steps = sum(len(found.trace.steps) for found in good) / len(good)
    prompt = sum(f.cost.prompt_tokens for f in good) / max(sum(f.cost.requests for f in good), 1)
    how = f"measured on {len(good)} samples"
    verified = None
    if loaded.prm is not None:
        traces = [found.trace for found in good if found.trace.steps]
        began = time.monotonic()
        read = sum(verdict.cost.verifier_tokens for verdict in await loaded.prm.score(traces))
        verified = read / max(time.monotonic() - began, 1e-9) or None
    lengths = Lengths(prompt, completion / len(good), max(steps, 1.0), how)
    fresh = sum(found.cost.completion_tokens for found in good if not found.replayed)
    if not fresh:
        return Sampled(lengths, None, verified, "not known: what was measured came from the record")
    return Sampled(lengths, fresh / seconds, verified, f"{how}, {count} at a time")
