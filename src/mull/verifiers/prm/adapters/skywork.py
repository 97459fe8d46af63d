"""Skywork-o1-Open-PRM: plain text, a newline token after every line; a value head's sigmoid there.

The beginning token's text, the question and a newline are tokenized as one, every line of the
solution on its own with the newline's token after it. A step's value is the one at its last line;
blank lines are left out. Source: the model cards of Skywork/Skywork-o1-Open-PRM-Qwen-2.5-1.5B and -7B
and the repository SkyworkAI/skywork-o1-prm-inference that they point to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mull.verifiers.prm.adapter import Encoded, clean
from mull.verifiers.prm.tokens import Tokenizer


@dataclass(frozen=True)
class LinedText:
    """Implements :class:`mull.verifiers.prm.adapter.Adapter`."""

    name: str
    models: str
    kind: Literal["process"] = "process"
    head: Literal["labels"] = "labels"

    def encode(self, tokenizer: Tokenizer, question: str, steps: Sequence[str]) -> Encoded:
        """The text; the places are the last newline of each step."""
        ids = tokenizer.ids(f"{tokenizer.bos_text}{question}\n", special=True)
        newline = tokenizer.ids("\n", special=True)[-1]
        places = []
        for step in clean(steps):
            for line in step.split("\n"):
                if line.strip():
                    ids += [*tokenizer.ids(line, special=True), newline]
            places.append(len(ids) - 1)
        return Encoded(tuple(ids), tuple(places))

    def tokens(self, tokenizer: Tokenizer) -> None:
        """None: the value has a head of its own."""

    def check(self, tokenizer: Tokenizer) -> None:
        """Lines are tokenized one by one, so nothing may be put around them."""
        if tokenizer.ids("a", special=True) != tokenizer.ids("a", special=False):
            raise tokenizer.mismatch("it puts special tokens around every text", self.name)


SKYWORK = LinedText("skywork-o1-open-prm", "Skywork/Skywork-o1-Open-PRM-Qwen-2.5-1.5B, -7B")
