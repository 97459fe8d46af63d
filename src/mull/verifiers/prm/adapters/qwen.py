"""Qwen2.5-Math-PRM and ReasonFlux-PRM: a chat whose answer has a tag after every step, two labels at the tag.

The tag ``<extra_0>`` is one token; the value is the softmax of the second label there. Sources: the
model cards of Qwen/Qwen2.5-Math-PRM-7B and -72B (with a system message; paper arXiv 2501.07301) and
of Gen-Verse/ReasonFlux-PRM-7B (without; arXiv 2506.18896).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mull.verifiers.prm.adapter import Encoded, clean, tagged
from mull.verifiers.prm.tokens import Tokenizer

TAG = "<extra_0>"
#: The system message of the card.
SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."


@dataclass(frozen=True)
class TaggedChat:
    """Implements :class:`mull.verifiers.prm.adapter.Adapter`; ``system`` "" sends no system message."""

    name: str
    models: str
    system: str
    kind: Literal["process"] = "process"
    head: Literal["labels"] = "labels"

    def encode(self, tokenizer: Tokenizer, question: str, steps: Sequence[str]) -> Encoded:
        """The chat; the places are the tags'."""
        steps = clean(steps)
        messages = [{"role": "system", "content": self.system}] if self.system else []
        messages += [
            {"role": "user", "content": question},
            {"role": "assistant", "content": "".join(step + TAG for step in steps)},
        ]
        ids = tokenizer.ids(tokenizer.chat(messages, self.name), special=True)
        return Encoded(tuple(ids), tagged(ids, tokenizer.token(TAG, self.name), question, steps, TAG))

    def tokens(self, tokenizer: Tokenizer) -> None:
        """None: the labels have a head of their own."""

    def check(self, tokenizer: Tokenizer) -> None:
        """The tag must be one token, the template must have the roles."""
        self.encode(tokenizer, "question", ["step"])


QWEN_PRM = TaggedChat("qwen2.5-math-prm", "Qwen/Qwen2.5-Math-PRM-7B, -72B, Qwen2.5-Math-7B-PRM800K", SYSTEM)
REASONFLUX = TaggedChat("reasonflux-prm", "Gen-Verse/ReasonFlux-PRM-7B", "")
