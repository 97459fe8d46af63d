"""Computing one unit: the pool's samples with their scores, an arm's run, and so on, as a frame.

A unit starts from empty prefix caches, so what it costs depends on the unit alone and
not on what its worker did before. Sample i of a problem's pool is the same whatever the
pool's size, and sample 0 is what every arm of one generation draws.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from mull.answers import extract_answer, is_correct
from mull.drive import Result, Task, answer_of, checked, flaw, mishap
from mull.engines.base import Job
from mull.problems import Problem
from mull.seeds import seed_for
from mull.strategies.base import Arm
from mull.study import chains, store
from mull.study.config import Study
from mull.study.models import Models
from mull.study.plan import Unit
from mull.trace import Trace
from mull.tree import tree
from mull.verifiers.base import Verdict
from mull.verifiers.small import SmallVerifier

#: A pool's samples draw the seeds of an arm of one generation.
_ONE = Arm("single", 1)


def record(models: Models, study: Study, unit: Unit, place: Path) -> None:
    """Compute a unit and write its shard."""
    fresh = models.fresh()
    if unit.arm is not None:
        frame = run(fresh, study, unit.arm, unit.problems)
    else:
        compute = {"pool": pool, "chains": chains.attempts, "larger": larger}[unit.kind]
        frame = compute(fresh, study, unit.problems)
    store.write(place / "shards" / unit.file, frame, unit.key)


def pool(models: Models, study: Study, problems: Sequence[Problem]) -> pl.DataFrame:
    """The pool's rows for some problems."""
    engine = models.engine
    jobs = [
        Job(Trace(p), None, study.temperature, seed_for(study.seed, p.id, _ONE, 0, i), study.max_tokens)
        for p in problems
        for i in range(study.pool)
    ]
    made = engine.sample_now(jobs)
    traces = [checked(job, found.trace) for job, found in zip(jobs, made, strict=True)]
    found = {"prm": _verdicts(models.prm, traces), "orm": _verdicts(models.orm, traces)}
    rows = []
    for at, trace in enumerate(traces):
        problem, answer = trace.problem, answer_of(trace, extract_answer)
        prompt = len(engine.words.prompt(problem.prompt))
        sampled, context = made[at].cost.completion_tokens, max(prompt - 1, 0)
        row = {
            "problem": problem.id,
            "sample": at % study.pool,
            "answer": answer,
            "correct": is_correct(answer, str(problem.gold)),
            "finish": trace.finish,
            "tokens": sampled,
            "logprob": trace.logprob,
            "text": trace.text,
            "prompt_tokens": prompt,
            "flops": engine.size.flops(sampled, context),
            "prompt_flops": engine.size.flops(context, 0),
        }
        whys = [mishap(trace, study.max_tokens)]
        for role, verifier in (("prm", models.prm), ("orm", models.orm)):
            verdict = found[role][at]
            why = "" if verdict is None else flaw(verdict, trace)
            whys.append(why and f"unscored by the {role.upper()}: {why}")
            scores = verdict.scores if verdict is not None and not why else None
            row[role] = None if scores is None else list(scores.steps) if role == "prm" else scores.last
            count = 0 if verdict is None else len(trace.tokens)
            row[f"{role}_tokens"] = count
            row[f"{role}_flops"] = verifier.size.flops(count, prompt) if verifier else 0.0
            row[f"{role}_prompt_flops"] = verifier.size.flops(prompt, 0) if verifier else 0.0
        row["error"] = "; ".join(filter(None, whys))
        rows.append(row)
    return pl.DataFrame(rows, schema=store.POOL)


def larger(models: Models, study: Study, problems: Sequence[Problem]) -> pl.DataFrame:
    """What the larger model answers to some problems, decoded greedily."""
    engine = models.larger
    assert engine is not None, "a unit of the larger model has one"
    jobs = [Job(Trace(p), None, 0.0, 0, study.max_tokens) for p in problems]
    rows = []
    for job, made in zip(jobs, engine.sample_now(jobs), strict=True):
        trace = checked(job, made.trace)
        answer, prompt = answer_of(trace, extract_answer), len(engine.words.prompt(trace.problem.prompt))
        rows.append(
            {
                "problem": trace.problem.id,
                "answer": answer,
                "correct": is_correct(answer, str(trace.problem.gold)),
                "finish": trace.finish,
                "tokens": len(trace.tokens),
                "text": trace.text,
                "prompt_tokens": prompt,
                "flops": engine.size.flops(prompt - 1 + len(trace.tokens), 0),
                "error": mishap(trace, study.max_tokens),
            }
        )
    return pl.DataFrame(rows, schema=store.LARGER)


def _verdicts(verifier: SmallVerifier | None, traces: Sequence[Trace]) -> list[Verdict | None]:
    """A verdict a trace, None where there is nothing to score or nobody to do it."""
    found: list[Verdict | None] = [None] * len(traces)
    if verifier is not None:
        fit = [i for i, trace in enumerate(traces) if trace.steps and trace.finish != "error"]
        for i, verdict in zip(fit, verifier.score_now([traces[i] for i in fit]), strict=True):
            found[i] = verdict
    return found


def run(models: Models, study: Study, arm: Arm, problems: Sequence[Problem]) -> pl.DataFrame:
    """An arm's rows for some problems."""
    results = models.driver(study).run([Task(problem, arm) for problem in problems])
    return pl.DataFrame([_row(result) for result in results], schema=store.RUN)


def _row(result: Result) -> dict[str, Any]:
    candidates = []
    for c in result.candidates:
        score = None if c.scores is None else c.scores.last
        candidates.append({"answer": c.answer, "score": score, "tokens": len(c.trace.tokens)})
    return {
        "problem": result.task.problem.id,
        "arm": result.task.arm.label,
        "budget": result.task.arm.budget,
        "answer": result.selection.answer,
        "correct": bool(result.correct),
        "candidates": candidates,
        **asdict(result.cost),
        "events": list(result.events),
    }


def record_trees(models: Models, study: Study, wanted: Sequence[Task], place: Path) -> None:
    """Run some tasks again, each from empty caches, and write their search trees."""
    shown = []
    for task in wanted:
        (result,) = models.fresh().driver(study, record=True).run([task])
        shown.append(as_tree(result))
    store.write_text(place / "trees.json", json.dumps(shown, allow_nan=False) + "\n")


def as_tree(result: Result) -> dict[str, Any]:
    """A recorded result as ``trees.json`` has it."""
    problem = result.task.problem
    return {
        "problem": problem.id,
        "prompt": problem.prompt,
        "gold": problem.gold,
        "arm": str(result.task.arm),
        "answer": result.selection.answer,
        "correct": result.correct,
        "weights": dict(result.selection.weights),
        **tree(result),
    }
