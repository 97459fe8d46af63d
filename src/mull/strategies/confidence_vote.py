"""Confidence-weighted voting with an early stop, in the manner of DeepConf (Fu et al. 2025).

(arXiv 2508.15260.) A trace's confidence is the geometric mean of its tokens' probabilities, the
exponential of the mean log-probability.
After ``warmup`` traces the confidence that a share ``drop`` of them falls below becomes the bar;
traces below it do not vote, the others vote with their confidence, and sampling stops when one answer
has a share ``consensus`` of the weight. DeepConf looks at the least confident window of tokens and cuts a
trace as it falls below the bar; here the whole trace counts, and is paid for. Uses no verifier; the
engine must give log-probabilities.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import exp, fsum

from mull.errors import MullError
from mull.problems import Problem
from mull.strategies.base import Plan, strategy
from mull.strategies.budgets import check_count, require
from mull.strategies.tallies import check_share, read
from mull.trace import Sample, Scores, Trace

#: Confidences are taken to this many steps in 1, so that their sums are exact in any order.
GRAIN = 1 << 20


def grains(mean_logprob: float) -> int:
    """A confidence in whole grains, at least one."""
    return max(1, round(exp(min(mean_logprob, 0.0)) * GRAIN))


def bar(warm: Sequence[int], drop: float) -> int:
    """The confidence that a trace must reach, from the warm-up's."""
    return sorted(warm)[min(int(drop * len(warm)), len(warm) - 1)] if warm else 0


@strategy("confidence_vote", selector="best_of_n_weighted")
def confidence_vote(
    problem: Problem, *, budget: int, consensus: float = 0.95, drop: float = 0.1, warmup: int = 8
) -> Plan:
    """Votes weighted by the traces' own confidence, until one answer has nearly all the weight.

    Budget: the most samples, any N from 1 on; ``warmup`` of them come first, in one batch.
    """
    require("confidence_vote", budget, lambda b: b >= 1)
    check_share("confidence_vote", "consensus", consensus)
    check_share("confidence_vote", "drop", drop)
    check_count("confidence_vote", "warmup", warmup, 1)
    return _vote(problem, budget, consensus, drop, warmup)


def _vote(problem: Problem, budget: int, consensus: float, drop: float, warmup: int) -> Plan:
    traces: list[Trace] = []
    sure: list[int | None] = []
    answers: list[str | None] = []
    least = 0
    while len(traces) < budget:
        size = min(warmup, budget) if not traces else 1
        made: list[Trace] = yield Sample((Trace(problem),) * size, "end")
        if not traces:
            least = bar([c for c in map(_confidence, made) if c is not None], drop)
        traces += made
        sure += [c if c is not None and c >= least else None for c in map(_confidence, made)]
        answers += yield from read(made)
        weights: defaultdict[str, int] = defaultdict(int)
        for answer, confidence in zip(answers, sure, strict=True):
            if answer is not None and confidence is not None:
                weights[answer] += confidence
        if weights and max(weights.values()) / sum(weights.values()) >= consensus:
            break
    scores = [None if c is None else Scores((c / GRAIN,)) for c in sure]
    return list(zip(traces, scores, strict=True))


def _confidence(trace: Trace) -> int | None:
    """In grains; None for a trace that failed or has no tokens."""
    if trace.finish == "error" or not trace.tokens:
        return None
    logprobs = [value for step in trace.steps for value in step.logprobs]
    if len(logprobs) != len(trace.tokens):
        raise MullError(
            f"confidence_vote needs a log-probability for each token; {trace.problem.id!r} came with "
            f"{len(logprobs)} for {len(trace.tokens)} tokens (use an engine that gives them)"
        )
    return grains(fsum(logprobs) / len(logprobs))
