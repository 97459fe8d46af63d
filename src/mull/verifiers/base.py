"""What a verifier is: the one thing that scores traces.

A verifier never invents a score: what it cannot score comes back as a reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mull.cost import Cost
from mull.trace import Scores, Trace


@dataclass(frozen=True)
class Verdict:
    """A trace's scores, or None and why it has none; and what scoring it cost.

    ``replayed``: it was given from a record, and cost that when it was made.
    """

    scores: Scores | None
    cost: Cost = field(default_factory=Cost)
    error: str = ""
    replayed: bool = False


class Verifier(Protocol):
    """Scores traces. ``name`` identifies model and settings in records."""

    @property
    def name(self) -> str:
        """Model and settings, as recorded."""
        ...

    async def score(self, traces: Sequence[Trace]) -> list[Verdict]:
        """One verdict a trace, in order."""
        ...
