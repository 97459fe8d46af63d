"""PRMs trained by TRL's PRMTrainer: plain text, a separator after every step, two labels at its last token.

Question, steps and separators (a newline) are tokenized apart and joined, after the beginning token
if the tokenizer has one; label 1 is good. It fits any token classifier trained so, such as
Qwen3ForTokenClassification. Source: TRL's trl/experimental/prm/prm_trainer.py (``tokenize_row``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mull.verifiers.prm.adapter import Encoded, clean
from mull.verifiers.prm.tokens import Tokenizer


@dataclass(frozen=True)
class SeparatedText:
    """Implements :class:`mull.verifiers.prm.adapter.Adapter`."""

    name: str
    models: str
    separator: str = "\n"
    kind: Literal["process"] = "process"
    head: Literal["labels"] = "labels"

    def encode(self, tokenizer: Tokenizer, question: str, steps: Sequence[str]) -> Encoded:
        """The text; the places are the separators' last tokens."""
        ids = [] if tokenizer.bos is None else [tokenizer.bos]
        ids += tokenizer.ids(question, special=False)
        separator = tokenizer.ids(self.separator, special=False)
        places = []
        for step in clean(steps):
            ids += tokenizer.ids(step, special=False) + separator
            places.append(len(ids) - 1)
        return Encoded(tuple(ids), tuple(places))

    def tokens(self, tokenizer: Tokenizer) -> None:
        """None: the labels have a head of their own."""

    def check(self, tokenizer: Tokenizer) -> None:
        """The separator must have a token."""
        if not tokenizer.ids(self.separator, special=False):
            raise tokenizer.mismatch(f"the separator {self.separator!r} has no token", self.name)


TRL = SeparatedText("trl-prm", "token classifiers trained by TRL's PRMTrainer (Qwen2, Qwen3, Llama, ...)")
