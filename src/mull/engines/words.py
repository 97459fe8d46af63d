"""A checkpoint's tokenizer as the small engine and verifier need it: ids, texts, step ends.

Knows how a solution is spelt (a step ends at a newline or at the end token) and
nothing of models.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from mull.errors import MullError
from mull.trace import Trace


class Words:
    """Prompts to ids, ids to text.

    ``ends[token]`` tells whether the token ends a step (``enders`` are those that do),
    ``last[token]`` whether it ends the solution.
    """

    def __init__(self, tokenizer: Tokenizer, eos: Sequence[int]):
        self._tokenizer, self.eos = tokenizer, tuple(eos)
        vocabulary: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
        special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
        size = max(vocabulary.values()) + 1
        self._texts = [""] * size
        for piece, token in vocabulary.items():
            self._texts[token] = "" if token in special else piece.replace("▁", " ")
        # Metaspace without a prepended space decodes to the pieces side by side.
        decoder = json.loads(tokenizer.to_str())["decoder"] or {}
        self._plain = decoder.get("type") == "Metaspace" and decoder.get("prepend_scheme") == "never"
        self.ends: NDArray[np.bool_] = np.array([self.text([token]).endswith("\n") for token in range(size)])
        self.ends[list(self.eos)] = True
        self.enders = frozenset(np.flatnonzero(self.ends).tolist())
        self.last: NDArray[np.bool_] = np.isin(np.arange(size), self.eos)
        self.prompt = lru_cache(maxsize=1 << 14)(self._prompt)

    @classmethod
    def load(cls, folder: Path, eos: Sequence[int]) -> Words:
        """Read ``tokenizer.json``."""
        file = folder / "tokenizer.json"
        if not file.is_file():
            raise MullError(f"{folder} has no tokenizer.json")
        return cls(Tokenizer.from_file(str(file)), eos)

    def _prompt(self, text: str) -> tuple[int, ...]:
        """The prompt's ids with the begin token; empty for a prompt without any token."""
        if not self._tokenizer.encode(text, add_special_tokens=False).ids:
            return ()
        return tuple(self._tokenizer.encode(text).ids)

    def text(self, tokens: Sequence[int]) -> str:
        """What the tokens spell; special tokens spell nothing."""
        if self._plain:
            return "".join([self._texts[token] for token in tokens])
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))

    def steps(self, trace: Trace) -> list[tuple[int, ...]]:
        """Every step's ids: as sampled here, or spelt anew if another engine gave text alone."""
        found = [step.tokens or self._spelt(step.text) for step in trace.steps]
        if trace.complete and found and not trace.steps[-1].tokens and self.eos:
            found[-1] = (*found[-1], self.eos[0])
        return found

    def _spelt(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)
