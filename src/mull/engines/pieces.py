"""Pieces: sampled tokens with what each spells, shared out to the steps that they make up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mull.trace import Step


@dataclass(frozen=True)
class Piece:
    """One sampled token: what it spells (bytes), its log-probability (nats) and its id where known."""

    spells: bytes
    logprob: float | None = None
    id: int | None = None


def cut(given: Sequence[Piece], texts: Sequence[str]) -> list[tuple[Piece, ...]]:
    """The pieces shared out to consecutive texts that they spell; none to a text that they straddle.

    Pieces that spell nothing at the end go to the last text.
    """
    found: list[tuple[Piece, ...]] = []
    at, over = 0, 0
    for text in texts:
        length, start, straddles = len(text.encode()) - over, at, over > 0
        while at < len(given) and length > 0:
            length -= len(given[at].spells)
            at += 1
        over = -length
        found.append(() if straddles or over else tuple(given[start:at]))
    if found and at < len(given) and not over and not any(piece.spells for piece in given[at:]):
        found[-1] = (*found[-1], *given[at:]) if found[-1] else ()
    return found


def step_of(text: str, part: Sequence[Piece]) -> Step:
    """A step, with ids and log-probabilities where all of its tokens have them."""
    ids = tuple(p.id for p in part if p.id is not None)
    values = tuple(p.logprob for p in part if p.logprob is not None)
    return Step(
        text,
        ids if len(ids) == len(part) else (),
        values if len(values) == len(part) else (),
    )
