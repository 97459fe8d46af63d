"""Outcome reward models: a chat of question and solution, one value at its last token.

Sources: the model card of Qwen/Qwen2.5-Math-RM-72B (a system message, a head of two layers), and
of Skywork/Skywork-Reward-V2-Qwen3-8B for sequence classifiers over the model's own chat template
(the convention of RewardBench). Their rewards have no bounds; a sigmoid keeps their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mull.verifiers.prm.adapter import Encoded, whole
from mull.verifiers.prm.adapters.qwen import SYSTEM
from mull.verifiers.prm.tokens import Tokenizer


@dataclass(frozen=True)
class WholeChat:
    """Implements :class:`mull.verifiers.prm.adapter.Adapter`; ``system`` "" sends no system message."""

    name: str
    models: str
    system: str = ""
    kind: Literal["outcome"] = "outcome"
    head: Literal["labels"] = "labels"

    def encode(self, tokenizer: Tokenizer, question: str, steps: Sequence[str]) -> Encoded:
        """The chat; the place is its last token."""
        solution = whole(steps)
        messages = [{"role": "system", "content": self.system}] if self.system else []
        messages += [
            {"role": "user", "content": question},
            {"role": "assistant", "content": solution},
        ]
        ids = tokenizer.ids(tokenizer.chat(messages, self.name), special=False)
        return Encoded(tuple(ids), (len(ids) - 1,))

    def tokens(self, tokenizer: Tokenizer) -> None:
        """None: the value has a head of its own."""

    def check(self, tokenizer: Tokenizer) -> None:
        """The template must have the roles."""
        self.encode(tokenizer, "question", ["step"])


QWEN_RM = WholeChat("qwen2.5-math-rm", "Qwen/Qwen2.5-Math-RM-72B", SYSTEM)
REWARD_MODEL = WholeChat(
    "reward-model", "sequence classifiers over a chat, such as Skywork/Skywork-Reward-V2-Qwen3-8B"
)
