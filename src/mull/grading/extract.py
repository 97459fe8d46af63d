r"""Taking the final answer out of a solution's text, by named conventions.

Each convention finds the last answer that is marked its way, as written, or None. The text
is scanned in linear time; nothing is normalised and nothing is judged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from mull.answers import Extract
from mull.errors import MullError
from mull.grading.latex import matching

# Possessive quantifiers: no text, however hostile, is scanned twice from one place.
_BOX = re.compile(r"\\(?:boxed|fbox)\s*+(?:(\{)|([^\s{}$.,;]++))")
_HASHES = re.compile(r"^[ \t]*+####[ \t]*+(\S[^\n]*+)$", re.MULTILINE)
_LINE = re.compile(
    r"^[ \t>*#_-]*+(?:the[ \t]++)?+(?:final[ \t]++)?+answer[ \t*_]*+:[ \t*_]*+(\S[^\n]*+)$",
    re.MULTILINE | re.IGNORECASE,
)
_SENTENCE = re.compile(r"\banswer[ \t]++is[ \t]*+:?+[ \t\n]*+(?:\*\*)?+[ \t]*+(\S[^\n]*+)", re.IGNORECASE)
_LETTER = re.compile(r"^\W*(?:\\text\w*\W*)?+(?:choice|option)?\W*([A-J])(?![A-Za-z])")
_SENTENCE_END = re.compile(r"\.(?=\s|$)|\*\*")


def boxed(text: str) -> str | None:
    r"""The content of the last ``\boxed{...}`` (or ``\fbox``) whose braces close; also ``\boxed 5``."""
    for match in reversed(list(_BOX.finditer(text))[-8:]):
        if match[2]:
            return match[2]
        end = matching(text, match.start(1))
        if end > 0:
            return text[match.end() : end].strip() or None
    return None


def hashes(text: str) -> str | None:
    """What follows ``####`` on the last line that starts with it (GSM8K)."""
    found = _HASHES.findall(text)
    return found[-1].strip() if found else None


def answer_line(text: str) -> str | None:
    """What follows ``Answer:`` or ``Final answer:`` on the last line that starts with it."""
    found = _LINE.findall(text)
    return _bare(found[-1]) if found else None


def answer_is(text: str) -> str | None:
    """What follows the last "the answer is", to the end of the sentence or line."""
    found = _SENTENCE.findall(text)
    if not found:
        return None
    return _bare(_SENTENCE_END.split(found[-1], maxsplit=1)[0])


def choice(text: str) -> str | None:
    """The capital letter, A to J, of the last choice named: ``Answer: C``, "the answer is (C)", a box."""
    for find in (boxed, answer_line, answer_is):
        letter = _LETTER.search(find(text) or "")
        if letter:
            return letter[1]
    return None


#: The conventions by name, in the order in which they are tried.
CONVENTIONS: Mapping[str, Extract] = MappingProxyType(
    {"boxed": boxed, "hashes": hashes, "answer": answer_line, "is": answer_is, "choice": choice}
)


#: Those tried where none are named.
MATHEMATICS = ("boxed", "hashes", "answer", "is")


def final_answer(text: str, conventions: Sequence[str] = MATHEMATICS) -> str | None:
    """The answer by the first of the conventions that finds one, None if none does.

    Raises :class:`MullError` for a convention that does not exist.
    """
    for name in conventions:
        if name not in CONVENTIONS:
            raise MullError(f"there is no answer convention {name!r}; known: {', '.join(CONVENTIONS)}")
    return next(filter(None, (CONVENTIONS[name](text) for name in conventions)), None)


def _bare(answer: str) -> str | None:
    """Without emphasis and the full stop of the sentence."""
    bare = answer.strip().strip("*_ \t")
    if bare.endswith(".") and not bare.endswith(".."):
        bare = bare[:-1]
    return bare.rstrip("*_ \t") or None
