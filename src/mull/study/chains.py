"""Recording chains of revisions: attempt after attempt, each with its scores, as a frame.

All chains of some problems grow side by side, one attempt a round. How many there are of
each length is :func:`mull.study.plan.chain_lengths`; attempt t of chain c is the same whatever
the others are. What the attempts are worth is not judged here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from mull.answers import extract_answer, is_correct
from mull.drive import answer_of, checked, flaw, mishap
from mull.engines.base import Job
from mull.problems import Problem
from mull.seeds import seed_for
from mull.strategies.base import Arm
from mull.strategies.revisions import Chain
from mull.study import store
from mull.study.config import Study
from mull.study.models import Models
from mull.study.plan import chain_lengths
from mull.trace import Scores, Trace
from mull.verifiers.small import SmallVerifier

#: Chains draw the seeds of this arm: its request is the position, its index the chain.
_CHAINS = Arm("chains", 2)


def attempts(models: Models, study: Study, problems: Sequence[Problem]) -> pl.DataFrame:
    """The chains' rows for some problems, by problem, chain and position."""
    made = sampled(models, study, problems)
    traces = [trace for chain in made for trace in chain]
    contexts = [len(models.reviser.words.head(trace)[1]) for trace in traces] if models.reviser else []
    blind = None
    if models.revision is not None:
        blind = SmallVerifier(models.revision.model, models.revision.words, "blind", history=0)
    scores = [_scores(verifier, traces) for verifier in (models.revision, blind, models.prm)]
    size = None if models.reviser is None else models.reviser.size
    assert size is not None
    rows: list[dict[str, Any]] = []
    at = 0
    for chain in made:
        prompt = contexts[at]
        for position, trace in enumerate(chain):
            answer, context = answer_of(trace, extract_answer), max(contexts[at] - 1, 0)
            count, read = len(trace.tokens), models.revision
            # A verifier that reads no history has the prompt from the first attempt on.
            seen = contexts[at] if read and (read.history or position == 0) else 0
            found = [column[at] for column in scores]
            whys = [mishap(trace, study.max_tokens), *(why for _, why in found)]
            rows.append(
                {
                    "problem": trace.problem.id,
                    "chain": trace.chain,
                    "position": position,
                    "answer": answer,
                    "correct": is_correct(answer, str(trace.problem.gold)),
                    "finish": trace.finish,
                    "tokens": count,
                    "logprob": trace.logprob,
                    "text": trace.text,
                    "score": found[0][0],
                    "score_blind": found[1][0],
                    "prm": found[2][0],
                    "context_tokens": contexts[at],
                    "flops": size.flops(count, context),
                    "context_flops": size.flops(context, 0),
                    "verifier_context_tokens": seen,
                    "verifier_flops": read.size.flops(count, seen or prompt) if read else 0.0,
                    "verifier_context_flops": read.size.flops(seen, 0) if read else 0.0,
                    "error": "; ".join(filter(None, whys)),
                }
            )
            at += 1
    return pl.DataFrame(rows, schema=store.CHAINS)


def sampled(models: Models, study: Study, problems: Sequence[Problem]) -> list[list[Trace]]:
    """Every chain's attempts: problem by problem, the longest chains first."""
    engine = models.reviser
    assert engine is not None, "a study with chains has a reviser"
    lengths = chain_lengths(study.chains)
    keys = [(problem, number) for problem in problems for number in range(len(lengths))]
    chains = {i: Chain(number) for i, (_, number) in enumerate(keys)}
    made: list[list[Trace]] = [[] for _ in keys]
    for position in range(study.chains):
        growing = [i for i, (_, number) in enumerate(keys) if lengths[number] > position]
        jobs = []
        for i in growing:
            problem, number = keys[i]
            seed = seed_for(study.seed, problem.id, _CHAINS, position, number)
            jobs.append(Job(chains[i].next(problem), None, study.temperature, seed, study.max_tokens))
        for i, job, found in zip(growing, jobs, engine.sample_now(jobs), strict=True):
            attempt = checked(job, found.trace)
            chains[i] = chains[i].after(attempt)
            made[i].append(attempt)
    return made


def _scores(verifier: SmallVerifier | None, traces: Sequence[Trace]) -> list[tuple[float | None, str]]:
    """The last value that a verifier gives each trace, or why there is none ("" if there is no verifier)."""
    found: list[tuple[float | None, str]] = [(None, "")] * len(traces)
    if verifier is None:
        return found
    fit = [i for i, trace in enumerate(traces) if trace.steps and trace.finish != "error"]
    for i, verdict in zip(fit, verifier.score_now([traces[i] for i in fit]), strict=True):
        why = flaw(verdict, traces[i])
        scores: Scores | None = None if why else verdict.scores
        found[i] = (None, f"unscored by {verifier.name}: {why}") if scores is None else (scores.last, "")
    return found
