"""The verifier's tokenizer: texts and chats to token ids, and clear words where it does not fit.

It wraps a Hugging Face tokenizer (extra ``local``), so templates and special tokens are the
checkpoint's own. It knows no adapter and no model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mull.errors import MullError


class Tokenizer:
    """A tokenizer with its chat template; ``where`` is the folder or repository that it came from."""

    def __init__(self, inner: Any, where: str) -> None:
        self.inner, self.where = inner, where
        if not inner.is_fast:
            raise MullError(f"the tokenizer at {where} has no tokenizer.json; convert it to a fast one first")

    @classmethod
    def load(cls, where: str) -> Tokenizer:
        """Read it from a folder or a Hugging Face repository; :class:`MullError` if it cannot be had."""
        try:
            from transformers import AutoTokenizer
        except ImportError:
            raise MullError("reward models need the extra 'local': pip install 'mull[local]'") from None
        try:
            inner: Any = AutoTokenizer.from_pretrained(where, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            line = str(error).split("\n")[0]
            raise MullError(f"cannot read a tokenizer at {where}: {line}") from None
        return cls(inner, where)

    @property
    def bos(self) -> int | None:
        """The id of the beginning-of-text token, if there is one."""
        found = self.inner.bos_token_id
        return None if found is None else int(found)

    @property
    def bos_text(self) -> str:
        """The text of the beginning-of-text token, "" if there is none."""
        return str(self.inner.bos_token or "")

    @property
    def unknown(self) -> int | None:
        """The id that stands for what no token spells, if there is one that means nothing else."""
        found = self.inner.unk_token_id
        if found is None or found in (self.inner.bos_token_id, self.inner.eos_token_id):
            return None
        return int(found)

    def unspelt(self, text: str) -> str:
        """The first word of a text (between white space) that no tokens spell, "" if there is none."""
        ids, spans = self.spans(text)
        for token, (start, end) in zip(ids, spans, strict=True):
            if token == self.unknown:
                words = (w[0] for w in re.finditer(r"\S+", text) if w.start() < end and start < w.end())
                return next(words, text[start:end])
        return ""

    def ids(self, text: str, *, special: bool) -> list[int]:
        """A text's token ids, with the tokenizer's own special tokens around them if asked."""
        return [int(i) for i in self.inner.encode(text, add_special_tokens=special)]

    def spans(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """A text's token ids without special tokens added, and the characters that each stands for."""
        found = self.inner(text, add_special_tokens=False, return_offsets_mapping=True)
        return [int(i) for i in found["input_ids"]], [(int(a), int(b)) for a, b in found["offset_mapping"]]

    def token(self, text: str, adapter: str) -> int:
        """The id of a token of the vocabulary; :class:`MullError` if there is none (a tokenizer mismatch)."""
        found = self.inner.get_vocab().get(text)
        if found is None:
            raise self.mismatch(f"it has no token {text!r}", adapter)
        return int(found)

    def mismatch(self, why: str, adapter: str) -> MullError:
        """The error to raise for a tokenizer that an adapter cannot use."""
        return MullError(
            f"the tokenizer at {self.where} does not fit adapter {adapter!r}: {why}; "
            "name the adapter of this model's family, or the model's own tokenizer"
        )

    def chat(self, messages: Sequence[Mapping[str, str]], adapter: str, *, open_end: bool = False) -> str:
        """The messages in the model's chat template; with ``open_end`` an assistant's turn is begun.

        :class:`MullError` where there is no template, or one that refuses or drops the system message.
        """
        system = [m["content"] for m in messages if m["role"] == "system"]
        if not self.inner.chat_template:
            raise self.mismatch("it has no chat template", adapter)
        try:
            from jinja2.exceptions import TemplateError
        except ImportError:
            raise MullError("chat templates need the extra 'local': pip install 'mull[local]'") from None
        try:
            found = self.inner.apply_chat_template(
                [dict(m) for m in messages], tokenize=False, add_generation_prompt=open_end
            )
        except TemplateError as error:
            why = "its chat template has no system role" if system else "its chat template fails"
            raise self.mismatch(f"{why} ({error})", adapter) from None
        text = str(found)
        if system and system[0].strip() not in text:
            raise self.mismatch(
                "its chat template has no system role: the system message is dropped", adapter
            )
        return text
