"""The pool's samples: sampled, scored, priced, as a frame; or those of them that had failed.

With mull's own models everything goes out in one call. A model outside is asked problem by problem,
all at once, so that a problem's samples are scored while others are still being sampled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from mull.cost import Cost
from mull.engines.base import Continuation, Job
from mull.errors import settled
from mull.mishaps import checked, flaw, mishap
from mull.problems import Problem
from mull.seeds import seed_for
from mull.strategies.base import Arm
from mull.study import store
from mull.study.config import Study
from mull.study.judging import judge
from mull.study.models import Models, small
from mull.study.thinking import thinking_of, thinking_row
from mull.trace import Step, Trace
from mull.verifiers.base import Verdict, Verifier

#: A pool's samples draw the seeds of an arm of one generation.
_ONE = Arm("single", 1)
_SCORED = ("prm", "orm")
_UNSCORED = "unscored by the {}: "
Verdicts = Mapping[str, Sequence[Verdict | None]]
Row = dict[str, Any]


async def rows(
    models: Models, study: Study, problems: Sequence[Problem], before: pl.DataFrame | None = None
) -> pl.DataFrame:
    """The pool's rows for some problems; those of ``before`` that had not failed are kept."""
    old: dict[tuple[str, int], Row] = {}
    if before is not None:
        old = {(row["problem"], row["sample"]): row for row in before.to_dicts()}
    groups = [[problem] for problem in problems] if study.outside else [list(problems)]
    found = await asyncio.gather(*(_group(models, study, group, old) for group in groups))
    schema = store.schema("pool", study.outside)
    return pl.DataFrame([row for group in found for row in group], schema=schema)


async def _group(
    models: Models, study: Study, problems: Sequence[Problem], old: Mapping[tuple[str, int], Row]
) -> list[Row]:
    """The rows of some problems, in order."""
    keys = [(problem, i) for problem in problems for i in range(study.pool)]
    good = {(p.id, i) for p, i in keys if old.get((p.id, i), {"failed": ""})["failed"] is None}
    # A sample that is there and lacks a score is scored again, not sampled again.
    there = {k for k, row in old.items() if k not in good and row["finish"] != "error"}
    jobs, made = [], []
    for p, i in keys:
        if (p.id, i) not in good and (p.id, i) not in there:
            seed = seed_for(study.seed, p.id, _ONE, 0, i)
            jobs.append(((p.id, i), Job(Trace(p), None, study.temperature, seed, study.max_tokens)))
    if jobs:
        made = await models.engine.sample([job for _, job in jobs])
    new = {key: (job, done) for (key, job), done in zip(jobs, made, strict=True)}
    traces: dict[tuple[str, int], Trace] = {}
    for p, i in keys:
        key = (p.id, i)
        if key in new:
            traces[key] = checked(new[key][0], new[key][1].trace)
        elif key in there:
            traces[key] = _again(p, old[key])
    found = dict(
        zip(_SCORED, await asyncio.gather(*(_verdicts(models, r, traces) for r in _SCORED)), strict=True)
    )
    prompt = {
        p.id: _prompt_tokens(models, p, [new[k][1].cost for k in new if k[0] == p.id], old) for p in problems
    }
    listed: list[Row] = []
    for p, i in keys:
        key = (p.id, i)
        if key in good:
            listed.append(dict(old[key]))
            continue
        row = (
            _sampled(models, study, traces[key], i, new[key][1], prompt[p.id])
            if key in new
            else dict(old[key])
        )
        whys = [mishap(traces[key], study.max_tokens)]
        for role in _SCORED:
            verdict, scores = found[role][key], None
            why = "" if verdict is None else flaw(verdict, traces[key])
            whys.append(why and f"{_UNSCORED.format(role.upper())}{why}")
            if verdict is not None and verdict.scores is not None and not why:
                scores = verdict.scores
            row[role] = None if scores is None else list(scores.steps) if role == "prm" else scores.last
            row |= _reading(getattr(models, role), role, p, traces[key], verdict)
        row["error"] = "; ".join(filter(None, whys))
        lasting = [why for why in whys if why and not why.startswith("cut by length") and not settled(why)]
        row["failed"] = "; ".join(lasting) or None
        listed.append(row)
    await judge(study.grader, problems, listed)
    names = store.schema("pool", study.outside).names()
    return [{name: row[name] for name in names} for row in listed]


def _sampled(models: Models, study: Study, trace: Trace, index: int, made: Continuation, prompt: int) -> Row:
    """What there is to say of a sample before it is judged."""
    count, context, size = made.cost.completion_tokens, max(prompt - 1, 0), models.engine.size
    logprobs = small(models.engine) is not None or all(step.logprobs for step in trace.steps)
    return {
        "problem": trace.problem.id,
        "sample": index,
        "finish": trace.finish,
        "tokens": count,
        "logprob": trace.logprob if logprobs else None,
        "text": trace.text,
        "prompt_tokens": prompt,
        "flops": size.flops(count, context),
        "prompt_flops": size.flops(context, 0),
        "steps": [step.text for step in trace.steps],
        **thinking_row(trace),
        "requests": made.cost.requests,
        "sent_tokens": made.cost.prompt_tokens,
        "cached_tokens": made.cost.cached_tokens,
    }


def _prompt_tokens(
    models: Models, problem: Problem, costs: Sequence[Cost], old: Mapping[tuple[str, int], Row]
) -> int:
    """A prompt's tokens: as mull's own engine reads it, else as the server counts them (0: it does not)."""
    own = small(models.engine)
    if own is not None:
        return len(own.words.prompt(problem.prompt))
    known = [row["prompt_tokens"] for key, row in old.items() if key[0] == problem.id]
    sent = [c.prompt_tokens for c in costs if c.requests == 1 and c.prompt_tokens] or [0]
    return max(min(sent), *known, 0) if known else min(sent)


async def _verdicts(
    models: Models, role: str, traces: Mapping[tuple[str, int], Trace]
) -> dict[tuple[str, int], Verdict | None]:
    """A verdict a trace, None where there is nothing to score or nobody to do it."""
    verifier: Verifier | None = getattr(models, role)
    found: dict[tuple[str, int], Verdict | None] = dict.fromkeys(traces)
    fit = [key for key, trace in traces.items() if trace.steps and trace.finish != "error"]
    if verifier is not None and fit:
        found |= zip(fit, await verifier.score([traces[key] for key in fit]), strict=True)
    return found


def _reading(
    verifier: Verifier | None, role: str, problem: Problem, trace: Trace, verdict: Verdict | None
) -> Row:
    """What it took a verifier to read a solution, and the prompt once a problem."""
    own = small(verifier)
    row: Row = {
        f"{role}_tokens": 0,
        f"{role}_flops": 0.0,
        f"{role}_prompt_flops": 0.0,
        f"{role}_prompt_tokens": 0,
    }
    if own is not None:
        prompt = len(own.words.prompt(problem.prompt))
        count = 0 if verdict is None else sum(map(len, own.words.steps(trace)))
        row[f"{role}_tokens"], row[f"{role}_prompt_tokens"] = count, prompt
        row[f"{role}_flops"] = own.size.flops(count, prompt)
        row[f"{role}_prompt_flops"] = own.size.flops(prompt, 0)
    elif verdict is not None:  # one outside tells what it read, prompt and all
        row[f"{role}_tokens"], row[f"{role}_flops"] = (
            verdict.cost.verifier_tokens,
            verdict.cost.verifier_flops,
        )
    return row


def unscored(error: str, role: str) -> str:
    """Why a sample has no score of a role ("prm" or "orm"), read off its ``error``; "" if it does not say."""
    _, _, said = error.partition(_UNSCORED.format(role.upper()))
    return said.partition("; " + _UNSCORED.format("ORM"))[0]


def _again(problem: Problem, row: Row) -> Trace:
    """A recorded sample as a trace; its tokens' ids are gone."""
    steps = tuple(Step(text, ()) for text in row["steps"])
    return Trace(problem, steps, row["finish"], thinking=thinking_of(row))
