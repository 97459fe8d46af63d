"""The paper's own curves, digitised: what ``curves.json`` holds, by the names of our lines.

Accuracies in percent. A name with a figure's number before it, such as ``13/majority``, is that
figure's own version of the curve. The module reads; it never interpolates.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from mull.paper.arrays import Floats

#: Problems in each of the paper's bins, by kind of difficulty (ICLR appendix E).
SIZES = {"oracle": (100, 100, 100, 105, 95), "predicted": (100, 100, 100, 100, 100)}
#: Share of right answers that the next revision makes wrong, in the paper's words (section 6.1).
LOST = 38.0
Curve = tuple[Floats, Floats]


@cache
def table() -> dict[str, Any]:
    """The whole file."""
    text = resources.files("mull.paper").joinpath("curves.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def overall(name: str, figure: str = "") -> Curve | None:
    """Places and accuracies of a curve over all problems, as ``figure`` has it; None if not printed."""
    lines = table()["lines"]
    row = lines.get(f"{figure}/{name}", lines.get(name))
    return None if row is None else (np.asarray(row["x"], np.float64), np.asarray(row["y"], np.float64))


def by_bin(name: str, kind: str, bin_: int) -> Curve | None:
    """The same in one bin (0 the easiest) of a kind of difficulty."""
    row = table()["bins"].get(kind, {}).get(name)
    return None if row is None else (np.asarray(row["x"], np.float64), np.asarray(row["y"][bin_], np.float64))


def relative(mechanism: str, group: str, kappa: int) -> float | None:
    """A printed label of figure 1: relative improvement in % at a star's budget."""
    found = table()["relative"]
    if str(kappa) not in found["columns"] or group not in found["rows"]:
        return None
    return float(found[mechanism][found["rows"].index(group)][found["columns"].index(str(kappa))])
