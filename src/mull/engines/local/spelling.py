"""A Hugging Face tokenizer as engines in this process need it: prompts to ids, sampled ids to steps.

A chat goes through the model's own template with its generation prompt, and what is continued follows as
the ids that were sampled; nothing is flattened by hand. Ids are spelt one after the other, so it is known
which of them make up a step. The module runs no model and imports no library: the tokenizer is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from mull.engines.pieces import Piece, cut, step_of
from mull.engines.prompts import Format, Message, Prompt
from mull.errors import MullError
from mull.trace import Step, Trace

#: Ids before the first new one that are spelt with it: what a token spells depends on those before.
_CONTEXT = 5
#: What an id spells that is the beginning of a character alone.
_HALF = "\ufffd"


class Speller:
    """A tokenizer and a prompt format. ``eos``: ids that end a solution; ``vocabulary``: ids there are."""

    def __init__(self, tokenizer: Any, form: Format, eos: Sequence[int], vocabulary: int) -> None:
        self.form, self.eos, self.vocabulary = form, frozenset(eos), vocabulary
        self._tokenizer = tokenizer
        self._shown = lru_cache(maxsize=1 << 12)(self._prompt)

    def prompt(self, trace: Trace) -> tuple[int, ...]:
        """The ids before the solution; :class:`MullError` where the chat template will not have it."""
        found = self.form.prompt(trace)
        return self._shown(found.text, found.messages)

    def _prompt(self, text: str, messages: tuple[Message, ...]) -> tuple[int, ...]:
        if not messages:
            return tuple(self._tokenizer(text)["input_ids"])
        shown = self._rendered(Prompt(messages=messages))
        return tuple(self._tokenizer(shown, add_special_tokens=False)["input_ids"])

    def _rendered(self, prompt: Prompt) -> str:
        if not getattr(self._tokenizer, "chat_template", None):
            raise MullError(
                f"the checkpoint has no chat template, as format {self.form.name!r} needs; use a text format"
            )
        listed = [{"role": m.role, "content": m.content} for m in prompt.messages]
        try:
            return str(
                self._tokenizer.apply_chat_template(listed, tokenize=False, add_generation_prompt=True)
            )
        except Exception as error:  # the template's own, of jinja's kinds
            line = (str(error).splitlines() or [type(error).__name__])[0]
            advice = "; set system = \"\" and say it in 'ask'" if prompt.messages[0].role == "system" else ""
            raise MullError(f"the model's chat template refuses the messages: {line}{advice}") from None

    def steps(self, trace: Trace, prompt: Sequence[int]) -> list[tuple[int, ...]]:
        """Every step's ids: as they were sampled, or spelt anew where they are none of this vocabulary."""
        found: list[tuple[int, ...]] = []
        before = list(prompt[-_CONTEXT:])
        for step in trace.steps:
            ids = step.tokens
            if not (ids and max(ids) < self.vocabulary and self._text(before, ids) == step.text):
                ids = tuple(self._tokenizer(step.text, add_special_tokens=False)["input_ids"])
            found.append(ids)
            before = [*before, *ids][-_CONTEXT:]
        return found

    def ids(self, trace: Trace) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """A trace's ids, prompt and all, and after how many of them the prompt and every step end.

        No ids for a prompt without any token.
        """
        prompt = self.prompt(trace)
        found, ends = prompt, [len(prompt)]
        for step in self.steps(trace, prompt) if prompt else ():
            found += step
            ends.append(len(found))
        return found, tuple(ends)

    def _text(self, before: Sequence[int], ids: Sequence[int]) -> str:
        spelling = Spelling(self, before)
        return "".join([spelling.add(each) for each in ids]) + spelling.rest()

    def decoded(self, ids: Sequence[int]) -> str:
        """What ids spell together; special tokens spell nothing."""
        return str(
            self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        )


class Spelling:
    """Ids spelt one after the other as they come, after those ``before``."""

    def __init__(self, speller: Speller, before: Sequence[int]) -> None:
        self._speller, self._ids = speller, list(before[-_CONTEXT:])
        # What lies before ``_read`` is spelt already; the window from ``_from`` gives it its context.
        self._from, self._read = 0, len(self._ids)

    def add(self, token: int) -> str:
        """What one more id adds to the text; "" as long as a character is not whole."""
        self._ids.append(token)
        if token in self._speller.eos:
            return ""
        old, new = self._window()
        if len(new) <= len(old) or new.endswith(_HALF):
            return ""
        self._from, self._read = self._read, len(self._ids)
        return new[len(old) :]

    def rest(self) -> str:
        """What is left of a character that never became whole."""
        old, new = self._window()
        self._from, self._read = self._read, len(self._ids)
        return new[len(old) :]

    def _window(self) -> tuple[str, str]:
        return (
            self._speller.decoded(self._ids[self._from : self._read]),
            self._speller.decoded(self._ids[self._from :]),
        )


class Writing:
    """What a model writes for one job, token by token: its text, its step ends, and when it is over.

    ``over`` is None while there is more to write: then "steps" (as many as are wanted), "stop" or "length".
    """

    def __init__(self, speller: Speller, before: Sequence[int], steps: int | None, limit: int) -> None:
        self._speller, self._spelling = speller, Spelling(speller, before)
        self._wanted, self._limit = steps, limit
        self.ids: list[int] = []
        self.pieces: list[Piece] = []
        self.text = ""
        self.kept = 0  # characters of it that belong to the solution
        self._start, self._ended = 0, 0
        self.over: str | None = None

    def add(self, token: int, logprob: float) -> None:
        """One more sampled token."""
        added = self._spelling.add(token)
        self.ids.append(token)
        last = token in self._speller.eos
        full = len(self.ids) >= self._limit
        if last or full:
            added += self._spelling.rest()
        self.pieces.append(Piece(added.encode("utf-8", "replace"), logprob, token))
        self.text += added
        self._look(added)
        if self.over is None and (last or full):
            self.end("stop" if last else "length")

    def end(self, how: str) -> None:
        """Say that nothing more will come, though no token told so."""
        self.over, self.kept = how, len(self.text)

    def _look(self, added: str) -> None:
        """Whether a wanted step's end, or a text that ends the solution, is there now."""
        form = self._speller.form
        if not added or not (self._wanted is not None or form.stops):
            return
        found = [at for stop in form.stops if (at := self.text.find(stop)) >= 0]
        stopped = min(found, default=None)
        while self._wanted is not None:
            end = form.rule.end(self.text[self._start :])
            if end is None or (stopped is not None and self._start + end > stopped):
                break
            self._start += end
            self._ended += 1
            if self._ended == self._wanted:
                self.over, self.kept = "steps", self._start
                return
        if stopped is not None:
            self.over, self.kept = "stop", stopped

    def steps(self) -> tuple[Step, ...]:
        """The solution's new steps, with ids and log-probabilities where whole tokens make them up."""
        text = self.text[: self.kept]
        texts = self._speller.form.rule.steps(text)
        return tuple(step_of(each, part) for each, part in zip(texts, cut(self.pieces, texts), strict=True))
