"""Likelihood as a verifier: how sure the proposer was, from the log-probabilities in the trace.

No model is run and nothing is paid. A step's value is exp of the mean log-probability (nats) a token, over
the solution up to the step's end ("so far"), over the step alone ("step"), or over the least sure run of
tokens so far ("lowest", as the lowest group confidence of DeepConf, Fu et al. 2025, here from
the sampled tokens' log-probabilities, which are all that a trace holds). Self-certainty (Kang et al. 2025)
needs whole distributions and so a model: :mod:`mull.verifiers.certainty`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

from mull.cost import Cost
from mull.errors import MullError
from mull.trace import Need, Scores, Trace
from mull.verifiers.base import Verdict

Over = Literal["so far", "step", "lowest"]


class Likelihood:
    """Implements :class:`mull.verifiers.base.Verifier`; ``group`` is the length of a run for "lowest"."""

    kind: Need = "process"

    def __init__(self, over: Over = "so far", group: int = 64) -> None:
        if over not in get_args(Over) or group < 1:
            raise MullError(
                f"likelihood is over {', '.join(get_args(Over))}, not {over!r}, "
                f"in groups of 1 or more, not {group}"
            )
        self.over, self.group = over, group

    @property
    def name(self) -> str:
        """What it is over, such as ``likelihood (so far)``."""
        return f"likelihood ({self.over}{f' {self.group}' if self.over == 'lowest' else ''})"

    async def score(self, traces: Sequence[Trace]) -> list[Verdict]:
        """One verdict a trace, in order."""
        return [self._one(trace) for trace in traces]

    def _one(self, trace: Trace) -> Verdict:
        if not trace.steps:
            return Verdict(None, Cost(), "the trace has no steps")
        values: list[float] = []
        so_far: list[float] = []
        for number, step in enumerate(trace.steps, 1):
            if not step.logprobs:
                why = f"step {number} has no log-probabilities; ask the engine for them (logprobs)"
                return Verdict(None, Cost(), why)
            if not all(-math.inf <= x <= 1e-4 for x in step.logprobs):  # NaN is not in there either
                return Verdict(None, Cost(), f"step {number} has a log-probability that is none")
            so_far += step.logprobs
            if self.over == "step":
                mean = math.fsum(step.logprobs) / len(step.logprobs)
            elif self.over == "so far":
                mean = math.fsum(so_far) / len(so_far)
            else:
                mean = lowest(so_far, self.group)
            values.append(min(1.0, math.exp(mean)))
        return Verdict(Scores(tuple(values)))


def lowest(logprobs: Sequence[float], group: int) -> float:
    """The least mean over any run of ``group`` values; over all of them where there are fewer."""
    if len(logprobs) <= group:
        return math.fsum(logprobs) / len(logprobs)
    return min(math.fsum(logprobs[at : at + group]) / group for at in range(len(logprobs) - group + 1))
