"""Math-Shepherd: plain text with a tag after every step; the next token's "+" against "-" at the tag.

Text: the question, a space, then lines ``Step k: ... ки``. Source: the model card of
peiyi9979/math-shepherd-mistral-7b-prm and its training data (arXiv 2312.08935), whose steps all begin
with "Step k:"; steps that do not are given that beginning here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mull.verifiers.prm.adapter import Encoded, clean, tagged
from mull.verifiers.prm.tokens import Tokenizer

TAG = "ки"
_NUMBERED = re.compile(r"(#+\s*)?(?=Step \d+\s*:)")


def numbered(steps: Sequence[str]) -> list[str]:
    """The steps, each beginning with ``Step k:``; a heading's hashes before that are dropped."""
    found = []
    for k, step in enumerate(steps, 1):
        begun = _NUMBERED.match(step)
        found.append(step[begun.end() :] if begun else f"Step {k}: {step}")
    return found


@dataclass(frozen=True)
class TaggedText:
    """Implements :class:`mull.verifiers.prm.adapter.Adapter`."""

    name: str
    models: str
    kind: Literal["process"] = "process"
    head: Literal["tokens"] = "tokens"

    def encode(self, tokenizer: Tokenizer, question: str, steps: Sequence[str]) -> Encoded:
        """The text; the places are the tags'."""
        steps = numbered(clean(steps))
        text = f"{question} " + "\n".join(f"{step} {TAG}" for step in steps)
        ids = tokenizer.ids(text, special=True)
        return Encoded(tuple(ids), tagged(ids, self._tag(tokenizer), question, steps, TAG))

    def tokens(self, tokenizer: Tokenizer) -> tuple[int, int]:
        """The ids of "-" and "+"."""
        found = tokenizer.ids("+ -", special=True)
        found = found[1:] if found and found[0] == tokenizer.bos else found
        if len(found) != 2 or found[0] == found[1]:
            raise tokenizer.mismatch("'+ -' is not two tokens", self.name)
        return found[1], found[0]

    def check(self, tokenizer: Tokenizer) -> None:
        """Tag and labels must be single tokens."""
        self.tokens(tokenizer)
        found = tokenizer.ids(TAG, special=False)
        unknown = tokenizer.inner.unk_token_id
        if len(found) != 1 or found[0] == unknown:
            raise tokenizer.mismatch(f"the step tag {TAG!r} is not one token", self.name)

    def _tag(self, tokenizer: Tokenizer) -> int:
        return tokenizer.ids(TAG, special=True)[-1]


MATH_SHEPHERD = TaggedText("math-shepherd", "peiyi9979/math-shepherd-mistral-7b-prm")
