"""RLHFlow's PRMs and ORMs: a chat whose assistant says "+" after every step; "+" against "-" just before.

Each step is a user's turn (the first with the question and a space before it), each "+" an
assistant's. All steps are read from one pass: a value depends on what stands before it alone, and the
turns before it are the same "+" that the step-by-step recipe writes. Source: the repository
RLHFlow/RLHF-Reward-Modeling, math-rm/prm_evaluate.py and math/orm_evaluate.py; models
RLHFlow/Llama3.1-8B-PRM-Deepseek-Data, -PRM-Mistral-Data and the ORMs of the same names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mull.verifiers.prm.adapter import Encoded, Unfit, clean, whole
from mull.verifiers.prm.adapters.math_shepherd import numbered
from mull.verifiers.prm.tokens import Tokenizer

GOOD, BAD = "+", "-"


@dataclass(frozen=True)
class PlusChat:
    """Implements :class:`mull.verifiers.prm.adapter.Adapter`.

    ``count``: steps begin with ``Step k:``, as in the data that the model was trained on.
    """

    name: str
    models: str
    kind: Literal["process", "outcome"] = "process"
    count: bool = False
    head: Literal["tokens"] = "tokens"

    def encode(self, tokenizer: Tokenizer, question: str, steps: Sequence[str]) -> Encoded:
        """The chat; the places are the tokens before each "+"."""
        if self.kind == "outcome":
            turns = [whole(steps)]
        else:
            turns = numbered(clean(steps)) if self.count else clean(steps)
        messages: list[dict[str, str]] = []
        marks = []
        for k, turn in enumerate(turns):
            messages.append({"role": "user", "content": f"{question} {turn}" if k == 0 else turn})
            # Where this turn's "+" will stand, in characters.
            marks.append(tokenizer.chat(messages, self.name, open_end=True))
            messages.append({"role": "assistant", "content": GOOD})
        text = tokenizer.chat(messages, self.name)
        if not all(text.startswith(before + GOOD) for before in marks):
            raise tokenizer.mismatch(
                "its chat template shows earlier turns otherwise than the last", self.name
            )
        ids, spans = tokenizer.spans(text)
        starts = {start: i for i, (start, _) in reversed(list(enumerate(spans)))}
        good = self.tokens(tokenizer)[1]
        places = []
        for before in marks:
            at = starts.get(len(before))
            if at is None or at == 0 or ids[at] != good:
                raise Unfit(f"the label {GOOD!r} is not a token of its own in the chat template")
            places.append(at - 1)
        return Encoded(tuple(ids), tuple(places))

    def tokens(self, tokenizer: Tokenizer) -> tuple[int, int]:
        """The ids of "-" and "+"."""
        good, bad = tokenizer.ids(GOOD, special=True), tokenizer.ids(BAD, special=True)
        if not good or not bad or good[-1] == bad[-1]:
            raise tokenizer.mismatch("'+' and '-' are no tokens of it", self.name)
        return bad[-1], good[-1]

    def check(self, tokenizer: Tokenizer) -> None:
        """The template must show turns alike, and leave "+" a token of its own."""
        try:
            self.encode(tokenizer, "question", ["one", "two"])
        except Unfit as error:
            raise tokenizer.mismatch(str(error), self.name) from None


RLHFLOW_DEEPSEEK = PlusChat("rlhflow-prm-deepseek", "RLHFlow/Llama3.1-8B-PRM-Deepseek-Data")
RLHFLOW_MISTRAL = PlusChat("rlhflow-prm-mistral", "RLHFlow/Llama3.1-8B-PRM-Mistral-Data", count=True)
RLHFLOW_ORM = PlusChat(
    "rlhflow-orm", "RLHFlow/Llama3.1-8B-ORM-Deepseek-Data, -ORM-Mistral-Data", kind="outcome"
)
