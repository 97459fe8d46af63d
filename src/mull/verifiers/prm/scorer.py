"""A reward model as a verifier: an adapter to ask with, a backend to run on, verdicts out.

Each distinct ids are run once; the first of equal traces pays. A trace that cannot be asked about,
or whose outputs are wrong in number or no numbers, comes back unscored with the reason; so does one with
a step that the tokenizer cannot spell (most can spell anything, in bytes). Earlier attempts (of a
revision) are not shown: these models were trained on a problem and one solution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mull.cost import Cost, ModelSize
from mull.trace import Need, Scores, Trace
from mull.verifiers.base import Verdict
from mull.verifiers.prm.adapter import Adapter, Encoded, Unfit, value
from mull.verifiers.prm.backend import Ask, Backend, Told
from mull.verifiers.prm.tokens import Tokenizer


class RewardModel:
    """Implements :class:`mull.verifiers.base.Verifier`; ``kind`` is "process" or "outcome".

    With ``thinking`` it is shown what a thinking model thought, as the beginning of the first step.
    """

    def __init__(
        self, adapter: Adapter, tokenizer: Tokenizer, backend: Backend, *, thinking: bool = False
    ) -> None:
        adapter.check(tokenizer)
        self.adapter, self.tokenizer, self.backend = adapter, tokenizer, backend
        self.kind: Need = adapter.kind
        self.thinking = thinking

    @property
    def name(self) -> str:
        """Model and adapter, such as ``Qwen2.5-Math-PRM-7B (qwen2.5-math-prm)``."""
        return f"{self.backend.name} ({self.adapter.name}{', shown the thinking' * self.thinking})"

    @property
    def size(self) -> ModelSize:
        """What FLOPs depend on."""
        return self.backend.size

    def encode(self, trace: Trace) -> Encoded:
        """What the model is shown for a trace; raises :class:`Unfit`."""
        steps = [step.text for step in trace.steps]
        if self.thinking and trace.thinking is not None and steps:
            steps[0] = f"{trace.thinking.text.strip()}\n\n{steps[0]}"
        encoded = self.adapter.encode(self.tokenizer, trace.problem.prompt, steps)
        unknown = self.tokenizer.unknown
        if unknown is not None and unknown in encoded.ids:
            for number, step in enumerate(steps, 1):
                if piece := self.tokenizer.unspelt(step):
                    raise Unfit(f"step {number} has {piece!r}, which the verifier's vocabulary cannot spell")
        return encoded

    async def score(self, traces: Sequence[Trace]) -> list[Verdict]:
        """One verdict a trace, in order."""
        verdicts: dict[int, Verdict] = {}
        same: dict[Encoded, list[int]] = {}
        for index, trace in enumerate(traces):
            try:
                same.setdefault(self.encode(trace), []).append(index)
            except Unfit as unfit:
                verdicts[index] = Verdict(None, Cost(), str(unfit))
        asks = [
            Ask(found.ids, found.places, any(traces[i].open for i in indices))
            for found, indices in same.items()
        ]
        told = await self.backend.run(asks) if asks else []
        for ask, answer, indices in zip(asks, told, same.values(), strict=True):
            scores, error = read(ask, answer)
            for nth, index in enumerate(indices):
                verdicts[index] = Verdict(scores, Cost() if nth else answer.cost, error)
        return [verdicts[index] for index in range(len(traces))]


def read(ask: Ask, told: Told) -> tuple[Scores | None, str]:
    """The values of an answer, or why there are none."""
    if told.rows is None:
        return None, told.error
    if len(told.rows) != len(ask.places):
        return None, f"the model gave {len(told.rows)} scores for {len(ask.places)} step tags"
    try:
        found = tuple(value(row) for row in told.rows)
    except ValueError as error:
        return None, str(error)
    if any(math.isnan(each) for each in found):
        return None, "the model's output is not a number"
    return Scores(found), ""
