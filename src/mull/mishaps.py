"""What is wrong with what an engine or a verifier gave: contracts broken, calls failed, scores of no use.

The module judges and words; it asks nothing again and drops nothing.
"""

from __future__ import annotations

from mull.engines.base import Job
from mull.trace import Trace
from mull.verifiers.base import Verdict


def checked(job: Job, trace: Trace) -> Trace:
    """What the engine made of a job, as an error if it breaks the engine's contract or is empty."""
    before, grown = job.trace, len(trace.steps) - len(job.trace.steps)
    if trace.finish == "error":
        return trace
    if trace.steps[: len(before.steps)] != before.steps:
        wrong = "the engine answered with another trace"
    elif job.steps is not None and grown > job.steps:
        wrong = f"the engine sampled {grown} steps where {job.steps} were asked for"
    elif (not trace.text and trace.thinking is None) or (trace.open and grown == 0):
        wrong = "empty completion"
    elif trace.open and job.steps is None:
        wrong = "the engine left a solution open that was to be sampled to its end"
    else:
        return trace
    return before.then((), "error", wrong)


def mishap(trace: Trace, max_tokens: int) -> str:
    """What went wrong with a continued trace, "" if nothing."""
    if trace.finish == "error":
        return trace.error or "the engine failed without a reason"
    return f"cut by length (limit {max_tokens} tokens)" if trace.finish == "length" else ""


def flaw(verdict: Verdict, trace: Trace) -> str:
    """Why a verdict on a trace is no use, "" if it is."""
    if verdict.scores is None:
        return verdict.error or "the verifier gave no scores and no reason"
    values = verdict.scores.steps
    if len(values) not in {1, len(trace.steps)}:
        return f"the verifier gave {len(values)} values for {len(trace.steps)} steps"
    bad = [value for value in values if not 0.0 <= value <= 1.0]  # NaN is not in there either
    return f"the verifier gave {bad[0]}, which is not in [0, 1]" if bad else ""


def described(error: Exception) -> str:
    """An exception in one line."""
    lines = str(error).split("\n")
    return f"{type(error).__name__}: {lines[0]}" if lines[0] else type(error).__name__
