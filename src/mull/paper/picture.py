"""A drawing of cards before it is drawn: boxes, texts and wires at places in inches, from the top left.

Pure geometry, so that what would overlap or leave the sheet can be tested without drawing. Widths of
text are those of the widest fonts that a drawing may be shown in. Colours are names or ``#rrggbb``.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import Literal

#: Inches of a slide, and of its margin.
WIDE, HIGH, MARGIN = 13.33, 7.5, 0.35
#: Widths of a character in parts of its size: of the steps' even-spaced font, and on average of the texts'.
MONO, SANS = 0.602, 0.56
#: The report's colours of scores from 0 to 1.
RAMP = ("#1d3557", "#3b5778", "#6b7480", "#a39b74", "#d4bf58", "#fbe45b")
RIGHT, WRONG = "\u2713", "\u2717"
Align = Literal["left", "center", "right"]


@dataclass(frozen=True)
class Box:
    """A rectangle. ``fill`` and ``edge`` are colours or "" for none."""

    x: float
    y: float
    wide: float
    high: float
    fill: str = ""
    edge: str = ""
    weight: float = 0.8
    dashed: bool = False


@dataclass(frozen=True)
class Text:
    """One line of text, ``size`` in points; ``y`` is its middle."""

    x: float
    y: float
    text: str
    size: float
    ink: str = "ink"
    bold: bool = False
    mono: bool = False
    align: Align = "left"


@dataclass(frozen=True)
class Wire:
    """A line from one place to another, bent so that it leaves and arrives level."""

    x: float
    y: float
    to_x: float
    to_y: float
    ink: str = "soft"
    weight: float = 1.0
    dashed: bool = False
    arrow: bool = False


@dataclass
class Picture:
    """What is drawn, on a sheet of ``wide`` x ``high`` inches; later marks lie above earlier ones."""

    wide: float = WIDE
    high: float = HIGH
    boxes: list[Box] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    wires: list[Wire] = field(default_factory=list)

    def box(self, x: float, y: float, wide: float, high: float, **how: object) -> None:
        """Add a rectangle."""
        self.boxes.append(Box(x, y, wide, high, **how))  # type: ignore[arg-type]

    def text(self, x: float, y: float, text: str, size: float, **how: object) -> None:
        """Add a line of text."""
        self.texts.append(Text(x, y, text, size, **how))  # type: ignore[arg-type]

    def wire(self, start: tuple[float, float], end: tuple[float, float], **how: object) -> None:
        """Add a wire."""
        self.wires.append(Wire(*start, *end, **how))  # type: ignore[arg-type]

    def chip(self, x: float, y: float, wide: float, high: float, score: float | None, size: float) -> None:
        """A score in its colour, its box's middle at ``y``."""
        top = y - high / 2
        if score is None:
            self.box(x, top, wide, high, edge="soft", dashed=True, weight=0.6)
            self.text(x + wide / 2, y, "n/s", size, ink="soft", align="center")
            return
        self.box(x, top, wide, high, fill=ramp(score))
        ink = "#111111" if score > 0.5 else "#ffffff"
        self.text(x + wide / 2, y, short(score), size, ink=ink, align="center")

    def paragraph(self, x: float, y: float, text: str, size: float, wide: float, **how: object) -> float:
        """Lines of text from ``y`` down, at most ``wide``; where the next may begin."""
        step = size * 1.35 / 72
        lines = textwrap.wrap(text, int(wide * 72 / (size * SANS))) or [""]
        for i, line in enumerate(lines):
            self.text(x, y + step * (i + 0.5), line, size, **how)
        return y + step * len(lines)


def ramp(score: float) -> str:
    """A score's colour."""
    at = min(max(score, 0.0), 1.0) * (len(RAMP) - 1)
    i = min(int(at), len(RAMP) - 2)
    pairs = ((int(RAMP[i][k : k + 2], 16), int(RAMP[i + 1][k : k + 2], 16)) for k in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * (at - i)):02x}" for a, b in pairs)


def short(score: float) -> str:
    """A score for people, as short as can be."""
    said = f"{score:.2f}"
    return said[1:] if said.startswith("0") else said


def fitted(text: str, wide: float, size: float) -> str:
    """A step that fits ``wide`` inches at ``size`` points, cut with an ellipsis if it is too long."""
    most = max(int(wide * 72 / (size * MONO) + 1e-9), 1)
    return text if len(text) <= most else text[: most - 1] + "\u2026"


def spans(text: str, size: float, *, bold: bool = False) -> float:
    """About how wide a text is, in inches, and seldom less."""
    return len(text) * size * SANS * (1.15 if bold else 1.0) / 72


def largest(texts: list[str], wide: float, most: float, least: float = 6.5) -> float:
    """The largest size, up to ``most``, at which the longest of some steps fits ``wide`` inches."""
    longest = max((len(text) for text in texts), default=1)
    return max(min(most, wide * 72 / (MONO * longest)), least)
