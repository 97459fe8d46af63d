"""What the figures and claims are made from: named lines over problems, as arrays. Data only.

A line is an accuracy of every problem at several places of an axis (budgets, steps, ratios).
Names are the same as in ``curves.json``, so a line finds the paper's curve by its name:

    majority, best:SCORE, weighted:SCORE          n samples of the base model
    beam:WIDTH, lookahead:K:WIDTH                 searches, at their budgets
    policy:FAMILY:KIND, cost:FAMILY:KIND          compute-optimal policies and what they spend
    sequential:BY, parallel:BY                    N attempts of the reviser, in one chain or in N
    ratio:BY:N                                    by log2 of sequential to parallel attempts
    chain, context                                pass@1 at each step of a chain, and tokens read before it
    lost, won                                     how often a right (wrong) attempt could have turned, and did
    larger                                        the larger model's one answer
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mull.errors import MullError
from mull.study import store

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Line:
    """``y`` [P, K]: every problem's value at the K places ``x``, rising."""

    x: Floats
    y: Floats

    def __post_init__(self) -> None:
        """Refuse shapes that disagree and values that are none."""
        if self.y.ndim != 2 or self.x.shape != self.y.shape[1:]:
            raise MullError(f"a line's places {self.x.shape} do not fit its values {self.y.shape}")
        if not np.isfinite(self.y).all():
            raise MullError("a line holds a value that is not finite")

    def column(self, x: float) -> int | None:
        """Where ``x`` is among the places; None if the line was not measured there."""
        found = np.nonzero(np.isclose(self.x, x))[0]
        return int(found[0]) if len(found) else None


@dataclass(frozen=True, eq=False)
class Arrays:
    """Everything that a study says to the paper's questions.

    ``lines`` by name, all over the same P problems; ``labels`` [P] by kind of difficulty, 0 the
    easiest of five bins; ``facts``: numbers and names of the study, plain JSON.
    """

    lines: Mapping[str, Line]
    labels: Mapping[str, Labels]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def problems(self) -> int:
        """P."""
        return int(next(iter(self.lines.values())).y.shape[0])

    def has(self, *names: str) -> bool:
        """Whether all these lines are there."""
        return all(name in self.lines for name in names)

    def members(self, kind: str, bin_: int) -> Labels:
        """The problems of a bin, 0 the easiest."""
        return np.nonzero(self.labels[kind] == bin_)[0]


def line(x: Any, y: Any) -> Line:
    """A line from anything array-like."""
    return Line(np.asarray(x, np.float64), np.asarray(y, np.float64))


def save(path: Path, arrays: Arrays, key: str) -> None:
    """Write arrays whole, or not at all, with the key of what they were made from."""
    found: dict[str, Any] = {"head": np.asarray(json.dumps({"key": key, "facts": dict(arrays.facts)}))}
    for name, held in arrays.lines.items():
        found |= {f"x|{name}": held.x, f"y|{name}": held.y}
    found |= {f"bin|{kind}": labels for kind, labels in arrays.labels.items()}
    with store.atomic(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **found)


def load(path: Path, key: str) -> Arrays | None:
    """The arrays that :func:`save` wrote for ``key``; None if there are none, or the file is damaged."""
    try:
        with np.load(path, allow_pickle=False) as found:
            head = json.loads(str(found["head"]))
            if head["key"] != key:
                return None
            names = [name[2:] for name in found.files if name.startswith("x|")]
            lines = {name: Line(found[f"x|{name}"], found[f"y|{name}"]) for name in names}
            labels = {name[4:]: found[name] for name in found.files if name.startswith("bin|")}
            return Arrays(lines, labels, head["facts"])
    except Exception:  # a cache: whatever is wrong with it, it is made anew
        return None
