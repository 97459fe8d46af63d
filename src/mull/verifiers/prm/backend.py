"""What a backend is: the one thing that runs a reward model on token ids.

A backend knows ids, places and outputs; it knows no templates, no steps and no traces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mull.cost import Cost, ModelSize

Row = tuple[float, ...]


@dataclass(frozen=True)
class Ask:
    """Ids to run and the places whose outputs are wanted; ``grows`` if ids that begin so may follow."""

    ids: tuple[int, ...]
    places: tuple[int, ...]
    grows: bool = False


@dataclass(frozen=True)
class Told:
    """The outputs, one row a place, or None and why there are none; and what they cost."""

    rows: tuple[Row, ...] | None
    cost: Cost = field(default_factory=Cost)
    error: str = ""


class Backend(Protocol):
    """Runs a model. ``name`` identifies it in records."""

    @property
    def name(self) -> str:
        """The model, as recorded; the same wherever it runs."""
        ...

    @property
    def size(self) -> ModelSize:
        """What FLOPs depend on."""
        ...

    async def run(self, asks: Sequence[Ask]) -> list[Told]:
        """One answer an ask, in order; :class:`~mull.errors.MullError` for what the user must put right."""
        ...
