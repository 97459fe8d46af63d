"""What a probe's answers show: seeds honoured, choices counted, pieces that spell the text.

Pure functions of texts and replies; they ask nothing, and None is "not shown".
"""

from __future__ import annotations

from mull.engines.openai.reply import Choice, Reply
from mull.engines.prompts import Marks


def as_sampled(choice: Choice) -> str:
    """Thinking and solution as one text, with the mark between them that a server takes out."""
    between = Marks().close if choice.thinking and choice.text else ""
    return choice.thinking + between + choice.text


def spelt(choice: Choice) -> bool:
    """Whether the pieces spell the answer but for the marks of thinking, which a server takes out of it."""
    texts = [b"".join(piece.spells for piece in choice.pieces).decode(errors="replace"), choice.text]
    for mark in (Marks().open, Marks().close):
        texts = [text.replace(mark, " ") for text in texts]
    return bool(choice.pieces) and texts[0].split() == texts[1].split()


def seeded(drawn: list[str]) -> bool:
    """Whether texts drawn with seeds 1, 1, 2, 3, 4 show that seeds are honoured."""
    return len(drawn) == 5 and drawn[0] == drawn[1] and len(set(drawn)) > 1


def counted(several: Reply | None) -> bool | None:
    """Whether usage counts all choices; not shown where one of them ended early."""
    if several is None or several.usage is None or len(several.choices) < 2:
        return None
    if any(choice.finish != "length" for choice in several.choices):
        return None
    return several.usage.completion >= 4 * len(several.choices)


def holds(sampled: list[float | None], echoed: list[float | None]) -> bool:
    """Whether the sampled values stand where the echoed answer has them: before its one new token."""
    at = len(echoed) - 1 - len(sampled)
    return (
        bool(sampled)
        and at >= 0
        and all(
            one is not None and other is not None and abs(one - other) < 0.02
            for one, other in zip(sampled, echoed[at:], strict=False)
        )
    )


def middle(text: str) -> str | None:
    """A short text that occurs first well inside the answer."""
    for size in (3, 4, 6):
        for at in range(max(2, len(text) // 3), len(text) - size - 2):
            wanted = text[at : at + size]
            if wanted.strip() == wanted and text.find(wanted) == at:
                return wanted
    return None


def space(text: str, *, before: bool) -> int | None:
    """A place in the answer just before (or after) white space, a line's end if there is one."""
    found = [
        at
        for at in range(4, len(text) - 6)
        if text[at].isspace() and not text[at - 1].isspace() and not text[at + 1].isspace()
    ]
    found.sort(key=lambda at: (text[at] != "\n", abs(at - len(text) // 2)))
    return (found[0] if before else found[0] + 1) if found else None
