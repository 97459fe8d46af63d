"""Recording chains of revisions: attempt after attempt, each with its scores, as a frame.

All chains of some problems grow side by side, one attempt a round. How many there are of
each length is :func:`mull.study.plan.chain_lengths`; attempt t of chain c is the same whatever
the others are. A chain ends for now at an attempt that failed, and goes on from there when it is
recorded again. What the attempts are worth is not judged here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from mull.cost import Cost
from mull.engines.base import Continuation, Job
from mull.errors import settled
from mull.mishaps import checked, flaw, mishap
from mull.problems import Problem
from mull.seeds import seed_for
from mull.strategies.base import Arm
from mull.strategies.revisions import Chain
from mull.study import store
from mull.study.config import Study
from mull.study.failures import AsideVerifier, asked
from mull.study.judging import judge
from mull.study.models import Models, small
from mull.study.plan import chain_lengths
from mull.study.thinking import thinking_of, thinking_row
from mull.trace import Step, Trace
from mull.verifiers.base import Verdict, Verifier
from mull.verifiers.small import SmallVerifier

#: Chains draw the seeds of this arm: its request is the position, its index the chain.
_CHAINS = Arm("chains", 2)
Row = dict[str, Any]
#: A problem's id, a chain's number, an attempt's position.
Key = tuple[str, int, int]
#: An attempt, and what sampling it cost (nothing where it was sampled before).
Made = tuple[Trace, Cost]


def attempts(models: Models, study: Study, problems: Sequence[Problem]) -> pl.DataFrame:
    """The chains' rows for some problems, by problem, chain and position."""
    return asyncio.run(rows(models, study, problems))


async def rows(
    models: Models, study: Study, problems: Sequence[Problem], before: pl.DataFrame | None = None
) -> pl.DataFrame:
    """The chains' rows; what of ``before`` had not failed is kept, and chains go on from it."""
    old: dict[Key, Row] = {}
    if before is not None:
        old = {(r["problem"], r["chain"], r["position"]): r for r in before.to_dicts()}
    made = await _sampled(models, study, problems, old)
    left = {k: trace for k, (trace, _) in made.items() if old.get(k, {"failed": ""})["failed"] is not None}
    found = [await _verdicts(verifier, left) for verifier in _verifiers(models)]
    listed = []
    for key, (trace, cost) in made.items():
        if key in left:
            row = _row(models, study, key, trace, cost, old.get(key))
            row |= _scored(models, study, row, trace, [verdicts[key] for verdicts in found])
            listed.append(row)
        else:
            listed.append(dict(old[key]))
    for problem in problems:
        await judge(study.grader, [problem], [row for row in listed if row["problem"] == problem.id])
    schema = store.schema("chains", study.outside)
    return pl.DataFrame([{name: row[name] for name in schema.names()} for row in listed], schema=schema)


async def _sampled(
    models: Models, study: Study, problems: Sequence[Problem], old: Mapping[Key, Row]
) -> dict[Key, Made]:
    """Every chain's attempts: problem by problem, the longest chains first."""
    engine = models.reviser
    assert engine is not None, "a study with chains has a reviser"
    lengths = chain_lengths(study.chains)
    by_id = {problem.id: problem for problem in problems}
    keys = [(problem.id, number) for problem in problems for number in range(len(lengths))]
    chains = {key: Chain(key[1]) for key in keys}
    made: dict[Key, Made] = {}
    for position in range(study.chains):
        jobs: dict[Key, Job] = {}
        for name, number in keys:
            if lengths[number] <= position:
                continue
            key, chain = (name, number, position), chains[name, number]
            seed = seed_for(study.seed, name, _CHAINS, position, number)
            job = Job(chain.next(by_id[name]), None, study.temperature, seed, study.max_tokens)
            last = made.get((name, number, position - 1))
            if (row := old.get(key)) is not None and (row["finish"] != "error" or row["failed"] is None):
                steps = tuple(Step(text, ()) for text in row["steps"])
                thought = replace(job.trace, thinking=thinking_of(row))
                made[key] = thought.then(steps, row["finish"], row["error"]), Cost()
            elif study.outside and last is not None and _open(last[0]):
                why = (
                    last[0].error if last[0].error.startswith("not tried") else f"not tried: {last[0].error}"
                )
                made[key] = job.trace.then((), "error", why), Cost()
            else:
                jobs[key] = job
        results: list[Continuation] = await asked(engine, list(jobs.values()))
        for (key, job), result in zip(jobs.items(), results, strict=True):
            made[key] = checked(job, result.trace), result.cost
        for name, number in keys:
            if (attempt := made.get((name, number, position))) is not None:
                chains[name, number] = chains[name, number].after(attempt[0])
    order = [(n, number, position) for n, number in keys for position in range(lengths[number])]
    return {key: made[key] for key in order}


def _open(trace: Trace) -> bool:
    """Whether an attempt failed in a way that asking again may mend."""
    return trace.finish == "error" and not settled(trace.error)


def _verifiers(models: Models) -> list[Verifier | None]:
    """The verifier of revisions, the same without the attempts shown (mull's own alone), the PRM."""
    own, blind = small(models.revision), None
    if isinstance(own, SmallVerifier):
        alone = SmallVerifier(own.model, own.words, "blind", history=0)
        blind = alone if own is models.revision else AsideVerifier(alone)
    return [models.revision, blind, models.prm]


async def _verdicts(verifier: Verifier | None, traces: Mapping[Key, Trace]) -> dict[Key, Verdict | None]:
    """A verdict an attempt, None where there is nothing to score or nobody to do it."""
    found: dict[Key, Verdict | None] = dict.fromkeys(traces)
    fit = [key for key, trace in traces.items() if trace.steps and trace.finish != "error"]
    if verifier is not None and fit:
        found |= zip(fit, await verifier.score([traces[key] for key in fit]), strict=True)
    return found


def _row(models: Models, study: Study, key: Key, trace: Trace, cost: Cost, old: Row | None) -> Row:
    """What there is to say of an attempt before it is scored; ``old`` is its row if it was sampled before."""
    if old is not None and trace.finish != "error":
        return dict(old)
    assert models.reviser is not None, "chains have a reviser"
    own, size = small(models.reviser), models.reviser.size
    head = cost.prompt_tokens if own is None else len(own.words.head(trace)[1])
    count, context = (cost.completion_tokens if own is None else len(trace.tokens)), max(head - 1, 0)
    return {
        "problem": key[0],
        "chain": key[1],
        "position": key[2],
        "finish": trace.finish,
        "tokens": count,
        "logprob": trace.logprob if own or all(step.logprobs for step in trace.steps) else None,
        "text": trace.text,
        "context_tokens": head,
        "flops": size.flops(count, context),
        "context_flops": size.flops(context, 0),
        "steps": [step.text for step in trace.steps],
        **thinking_row(trace),
        "requests": cost.requests,
        "sent_tokens": cost.prompt_tokens,
        "cached_tokens": cost.cached_tokens,
    }


def _scored(models: Models, study: Study, row: Row, trace: Trace, verdicts: Sequence[Verdict | None]) -> Row:
    """An attempt's scores and what they cost."""
    values: list[float | None] = []
    whys = [mishap(trace, study.max_tokens)]
    for name, verdict in zip(("revision", "blind", "prm"), verdicts, strict=True):
        verifier = {"revision": models.revision, "prm": models.prm}.get(name)
        why = "" if verdict is None else flaw(verdict, trace)
        whys.append(why and f"unscored by {verifier.name if verifier else name}: {why}")
        values.append(None if verdict is None or verdict.scores is None or why else verdict.scores.last)
    lasting = [why for why in whys if why and not why.startswith("cut by length") and not settled(why)]
    found: Row = {
        "score": values[0],
        "score_blind": values[1],
        "prm": values[2],
        "verifier_context_tokens": 0,
        "verifier_flops": 0.0,
        "verifier_context_flops": 0.0,
        "error": "; ".join(filter(None, whys)),
        "failed": "; ".join(lasting) or None,
    }
    own, verdict = small(models.revision), verdicts[0]
    if own is not None:
        count, prompt = sum(map(len, own.words.steps(trace))), len(own.words.prompt(trace.problem.prompt))
        # A verifier that reads no history has the prompt from the first attempt on.
        seen = len(own.words.head(trace)[1]) if own.history or row["position"] == 0 else 0
        found["verifier_context_tokens"] = seen
        found["verifier_flops"] = own.size.flops(count, seen or prompt)
        found["verifier_context_flops"] = own.size.flops(seen, 0)
    elif verdict is not None:  # one outside tells what it read, context and all
        found["verifier_context_tokens"] = max(verdict.cost.verifier_tokens - row["tokens"], 0)
        found["verifier_flops"] = verdict.cost.verifier_flops
    return found
