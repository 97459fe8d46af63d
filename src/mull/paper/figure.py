"""What a figure is before it is drawn: panels of series, with intervals and the paper's curve.

Every number is in percent and comes from a named line, so a figure can be checked against
its arrays. A line that the study does not have is left out, and the figure says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from mull.paper import curves
from mull.paper.arrays import Floats
from mull.paper.shown import Content
from mull.paper.view import Bins, Ours, words

Style = Literal["line", "dots", "bars", "stars"]
Scale = Literal["log2", "linear", "groups"]
#: Room that the bars of one group take, of 1.
GROUP = 0.8


@dataclass(frozen=True, eq=False)
class Series:
    """One series: ours at ``x`` with its interval, and the paper's curve (places, values) or None.

    ``line``, ``at``, ``bins`` and ``kind`` say where the numbers come from: the named line at the places
    ``at``, over those bins' problems. ``x`` is where they are drawn. ``bound`` [K]: whether a value is
    a lower bound, its own place not having been measured.
    """

    label: str
    line: str
    at: Floats
    x: Floats
    y: Floats
    low: Floats
    high: Floats
    colour: str
    paper: curves.Curve | None = None
    style: Style = "line"
    dashed: bool = False
    marker: str = "o"
    bins: tuple[Bins, ...] = ()
    kind: str = "oracle"
    bound: tuple[bool, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The series as plain data."""
        return {
            "label": self.label,
            "line": self.line,
            "x": _list(self.x),
            "y": _list(self.y),
            "low": _list(self.low),
            "high": _list(self.high),
            "paper": None if self.paper is None else {"x": _list(self.paper[0]), "y": _list(self.paper[1])},
        }


@dataclass(frozen=True, eq=False)
class Panel:
    """One pair of axes. ``ticks``: places with their labels; ``verticals``: dashed lines with theirs."""

    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    scale: Scale = "log2"
    ticks: tuple[tuple[float, str], ...] = ()
    verticals: tuple[tuple[float, str], ...] = ()
    width: float = 0.1
    zero: bool = False


@dataclass(frozen=True, eq=False)
class Figure:
    """One of the paper's figures: its numbers there, its panels, and what the study lacked for it."""

    name: str
    arxiv: str
    iclr: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    missing: tuple[str, ...] = field(default=())

    @property
    def has_data(self) -> bool:
        """Whether any of it is the study's."""
        return any(len(series.x) for panel in self.panels for series in panel.series)

    @property
    def number(self) -> str:
        """Both numbers, such as ``Figure 6 (ICLR 9)``."""
        if not self.arxiv:
            return f"ICLR figure {self.iclr}" if self.iclr else "Not in the paper"
        return f"Figure {self.arxiv} (ICLR {self.iclr})" if self.iclr else f"Figure {self.arxiv}"

    def as_json(self) -> dict[str, Any]:
        """The figure as plain data."""
        panels = [{"title": p.title, "series": [s.as_json() for s in p.series]} for p in self.panels]
        head = {"name": self.name, "arxiv": self.arxiv, "iclr": self.iclr, "title": self.title}
        return {**head, "missing": list(self.missing), "panels": panels}


@dataclass(frozen=True, eq=False)
class Diagram(Figure):
    """A figure of the study's own solutions instead of panels; ``sample``: one of the paper's samples."""

    content: Content | None = None
    sample: bool = False

    @property
    def has_data(self) -> bool:
        """Whether the study has such solutions."""
        return self.content is not None

    def as_json(self) -> dict[str, Any]:
        """The figure as plain data: every solution with its marks and scores."""
        found = super().as_json()
        del found["panels"]
        return found | ({} if self.content is None else self.content.as_json())


class Sheet:
    """Series of one figure from our arrays; keeps count of the lines that are not there."""

    def __init__(self, ours: Ours, figure: str = "") -> None:
        self.ours, self.figure = ours, figure
        self._missing: list[str] = []

    @property
    def missing(self) -> tuple[str, ...]:
        """What the study lacked, in words, each once."""
        return tuple(dict.fromkeys(self._missing))

    def lacks(self, what: str) -> None:
        """Note that something is not there."""
        self._missing.append(what)

    def line(self, name: str, label: str, colour: str, **how: Any) -> list[Series]:
        """A line over all problems, or over those of one bin (``bin``); none if it is not there."""
        bin_, kind = how.pop("bin", None), how.pop("kind", "oracle")
        at_most = how.pop("at_most", np.inf)
        if name not in self.ours.arrays.lines or (bin_ is not None and not self.ours.count((bin_,), kind)):
            self._missing.append(words(name))
            return []
        xs = self.ours.places(name)
        kept = xs <= at_most
        bins: Bins = () if bin_ is None else (bin_,)
        y, low, high = (column[kept] for column in banded(self.ours.curve(name, bins, kind)))
        paper = curves.overall(name, self.figure) if bin_ is None else curves.by_bin(name, kind, bin_)
        paper = how.pop("paper", paper)
        xs = xs[kept]
        held = (bins,) * len(xs)
        return [Series(label, name, xs, xs, y, low, high, colour, paper, bins=held, kind=kind, **how)]

    def bars(
        self,
        name: str,
        label: str,
        colour: str,
        at: Sequence[float],
        offset: Sequence[float],
        kind: str = "oracle",
        paper: tuple[str, Sequence[float], Sequence[float]] | None = None,
    ) -> list[Series]:
        """A line's values at ``at`` in each of the five bins; drawn at bin + ``offset``.

        ``paper``: the name, the places and the offsets of the paper's bars.
        """
        held = self.ours.arrays.lines.get(name)
        kept = [i for i, x in enumerate(at) if held is not None and held.column(x) is not None]
        bins = [b for b in range(5) if self.ours.count((b,), kind)]
        if held is None or not kept or not bins:
            self._missing.append(words(name))
            return []
        places, values, sources = [], [], []
        for b in bins:
            for i in kept:
                places.append(b + 1 + offset[i])
                values.append(self.ours.mean(name, at[i], (b,), kind))
                sources.append((b,))
        y, low, high = banded(np.stack(values, axis=1))
        named, theirs, shifts = paper or (name, at, offset)
        drawn = _paper_bars(named, theirs, shifts, kind)
        asked = np.asarray([at[i] for _ in bins for i in kept], np.float64)
        return [
            Series(
                label,
                name,
                asked,
                np.asarray(places),
                y,
                low,
                high,
                colour,
                drawn,
                "bars",
                bins=tuple(sources),
                kind=kind,
            )
        ]


def banded(draws: Floats) -> tuple[Floats, Floats, Floats]:
    """Values and the ends of their 95 % intervals, [K] each, from draws [1 + B, K]."""
    kept = np.where(np.isnan(draws[1:]), draws[:1], draws[1:])
    low, high = np.percentile(kept, [2.5, 97.5], axis=0)
    return draws[0], np.asarray(low), np.asarray(high)


def _paper_bars(name: str, at: Sequence[float], offset: Sequence[float], kind: str) -> curves.Curve | None:
    """The paper's values in the five bins, at the places of the bars."""
    places, values = [], []
    for b in range(5):
        curve = curves.by_bin(name, kind, b)
        if curve is None:
            return None
        for x, shift in zip(at, offset, strict=True):
            found = np.nonzero(np.isclose(curve[0], x))[0]
            if len(found):
                places.append(b + 1 + shift)
                values.append(curve[1][found[0]])
    return (np.asarray(places), np.asarray(values)) if places else None


def spread(count: int) -> tuple[list[float], float]:
    """Offsets of ``count`` bars side by side in a group, and the width of each."""
    width = GROUP / count
    return [(i - (count - 1) / 2) * width for i in range(count)], width


def joined(parts: Iterable[list[Series]]) -> tuple[Series, ...]:
    """The series of several calls, in order."""
    return tuple(series for part in parts for series in part)


def _list(values: Floats) -> list[float]:
    return [round(float(v), 4) for v in values]
