"""A checkpoint's tokenizer as the small engine and verifier need it: ids, texts, step ends.

Reads ``tokenizer.json`` of the small world's kind (Unigram over whole words, Metaspace
without splitting) itself: the tokenizers library would bring an HTTP client and 45 MB
for a table of some seventy pieces. It reads no other kind, and says so. It knows how a
solution is spelt (a step ends at a newline or at the end token) and nothing of models.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mull.errors import MullError
from mull.trace import Step, Trace

SPACE = "▁"
#: How much worse than the worst piece an unknown character is (as in the tokenizers library).
UNKNOWN_PENALTY = 10.0


class Words:
    """Prompts to ids, ids to text.

    ``ends[token]`` tells whether the token ends a step (``enders`` are those that do),
    ``last[token]`` whether it ends the solution; ``unknown`` stands for what no token spells.
    """

    def __init__(self, description: Mapping[str, Any], eos: Sequence[int]):
        self.eos = tuple(eos)
        listed = description["model"]["vocab"]
        special = {token["id"] for token in description["added_tokens"] if token["special"]}
        self._pieces = {piece: (i, score) for i, (piece, score) in enumerate(listed) if i not in special}
        self._longest = max(map(len, self._pieces))
        self.unknown: int = description["model"]["unk_id"]
        self._bad = min(score for _, score in listed) - UNKNOWN_PENALTY
        begin = (description.get("post_processor") or {}).get("special_tokens", {})
        self._begin = tuple(i for token in begin.values() for i in token["ids"])
        self._texts = ["" if i in special else p.replace(SPACE, " ") for i, (p, _) in enumerate(listed)]
        size = len(listed)
        self.ends: NDArray[np.bool_] = np.array([text.endswith("\n") for text in self._texts])
        self.ends[list(self.eos)] = True
        self.enders = frozenset(np.flatnonzero(self.ends).tolist())
        self.last: NDArray[np.bool_] = np.isin(np.arange(size), self.eos)
        self.prompt = lru_cache(maxsize=1 << 14)(self._prompt)
        self._attempt = lru_cache(maxsize=1 << 16)(self.spelt)

    @classmethod
    def load(cls, folder: Path, eos: Sequence[int]) -> Words:
        """Read ``tokenizer.json``; :class:`MullError` if it is missing, damaged or of another kind."""
        file = folder / "tokenizer.json"
        try:
            description = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise MullError(f"{folder} has no tokenizer.json") from None
        except (OSError, ValueError):
            raise MullError(f"{file} cannot be read as JSON; copy the checkpoint again") from None
        before = description.get("pre_tokenizer") or {}
        plain = before.get("type") == "Metaspace" and before.get("prepend_scheme") == "never"
        if description.get("model", {}).get("type") != "Unigram" or not plain or before.get("split"):
            raise MullError(
                f"{file} is of another kind than the small engine reads (Unigram, Metaspace, no splitting)"
            )
        return cls(description, eos)

    def _prompt(self, text: str) -> tuple[int, ...]:
        """The prompt's ids with the begin token; empty for a prompt without any token."""
        spelt = self.spelt(text)
        return (*self._begin, *spelt) if spelt else ()

    def head(self, trace: Trace, history: int | None = None) -> tuple[str, tuple[int, ...]]:
        """What stands before a trace's steps: a name for it, and its ids.

        That is the prompt, and for a revision the earlier attempts (the last ``history`` of them),
        each closed by the end token. No ids for a prompt without any token.
        """
        prompt = self.prompt(trace.problem.prompt)
        earlier = trace.earlier if history is None else trace.earlier[len(trace.earlier) - history :]
        if not prompt or not earlier or not self.eos:
            return trace.problem.prompt, prompt
        ids = (token for text in earlier for token in (*self._attempt(text), self.eos[0]))
        return "\x1e".join((trace.problem.prompt, *earlier)), (*prompt, *ids)

    def text(self, tokens: Sequence[int]) -> str:
        """What the tokens spell; special tokens spell nothing."""
        return "".join([self._texts[token] for token in tokens])

    def steps(self, trace: Trace) -> list[tuple[int, ...]]:
        """Every step's ids: as sampled here, or spelt anew if another engine gave text or ids of its own."""
        own = [self._own(step) for step in trace.steps]
        found = [step.tokens if own[i] else self.spelt(step.text) for i, step in enumerate(trace.steps)]
        if trace.complete and found and not own[-1] and self.eos:
            found[-1] = (*found[-1], self.eos[0])
        return found

    def _own(self, step: Step) -> bool:
        """Whether a step's ids are this vocabulary's: they spell its text."""
        ids = step.tokens
        return bool(ids) and max(ids) < len(self._texts) and self.text(ids) == step.text

    def spelt(self, text: str) -> tuple[int, ...]:
        """The best-scored segmentation (Viterbi); a run of unknown characters is one unknown token."""
        found: list[int] = []
        for token, _, _ in self._pieces_of(text):
            if not (token == self.unknown and found and found[-1] == self.unknown):
                found.append(token)
        return tuple(found)

    def unspelt(self, text: str) -> tuple[str, ...]:
        """What of a text no token spells, each once: the words (between white space) that hold it."""
        unknown = [start for token, start, _ in self._pieces_of(text) if token == self.unknown]
        words = re.finditer(r"\S+|\s", text) if unknown else ()
        found = (word[0] for word in words if any(word.start() <= at < word.end() for at in unknown))
        return tuple(dict.fromkeys(found))

    def _pieces_of(self, text: str) -> list[tuple[int, int, int]]:
        """The best-scored segmentation as tokens, each with its start and end in the text."""
        text = text.replace(" ", SPACE)
        best: list[tuple[float, int, int]] = [(0.0, 0, -1)] + [(-np.inf, 0, -1)] * len(text)
        for start in range(len(text)):
            reached = best[start][0]
            if reached + self._bad > best[start + 1][0]:
                best[start + 1] = (reached + self._bad, start, self.unknown)
            for end in range(start + 1, min(start + self._longest, len(text)) + 1):
                piece = self._pieces.get(text[start:end])
                if piece is not None and reached + piece[1] > best[end][0]:
                    best[end] = (reached + piece[1], start, piece[0])
        found: list[tuple[int, int, int]] = []
        end = len(text)
        while end:
            _, start, token = best[end]
            found.append((token, start, end))
            end = start
        return found[::-1]


def quoted(words: Sequence[str], most: int = 5) -> str:
    """The first few words, for a message."""
    return ", ".join(map(repr, words[:most])) + ", ..." * (len(words) > most)
