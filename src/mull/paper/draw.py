"""Figures as PNG and SVG, with matplotlib (the extra ``paper``), and as SVG for the page.

Ours is in full ink with a 95 % band or whisker, the paper in the same colour but lighter. The module
draws what :mod:`mull.paper.figure` says and computes nothing.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mull.errors import MullError
from mull.paper.figure import Figure, Panel, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

#: The report's colours, by their names in its style sheet; there each has a darker page's twin.
INKS: Mapping[str, str] = {
    "ink": "#1b1c1e",
    "soft": "#5c6066",
    "rule": "#d9dad6",
    "faint": "#ecece8",
    "blue": "#0068a8",
    "red": "#c4481a",
    "green": "#00795a",
    "purple": "#9a4f8c",
    "orange": "#b87800",
    "sky": "#2f8fc4",
    "grey": "#666a70",
}
#: Bins, easiest first, and budgets from 1 to 256.
_BINS = ("green", "sky", "purple", "orange", "red")
_BUDGETS = (
    "#9aa0a6", "#7fb2d6", "#2f8fc4", "#1f9e89", "#5f9e3a", "#b3a125", "#d9822b", "#c4481a", "#8f2d56",
)  # fmt: skip
#: Inches of a panel (of a lone one: its legend needs the width), dots an inch of PNG files, the lighter ink.
_WIDE, _HIGH, _ALONE, DPI, LIGHT = 5.6, 4.5, 7.2, 150, 0.42
#: What the larger model's whiskers are moved by, a bin, in log2 of the budget: they would hide each other.
_DODGE = 0.05
STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.edgecolor": INKS["rule"],
    "axes.labelcolor": INKS["soft"],
    "axes.titlecolor": INKS["ink"],
    "text.color": INKS["ink"],
    "xtick.color": INKS["soft"],
    "ytick.color": INKS["soft"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "mull",
}
#: Fonts of the SVG files, all narrower than the one that they are laid out for.
_FONTS = {
    "DejaVu Sans Mono": "Menlo, Consolas, 'Liberation Mono', monospace",
    "DejaVu Sans": "system-ui, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif",
}


@dataclass(frozen=True)
class Drawn:
    """A figure drawn: ``svg`` and ``png`` as files, ``inline`` for a page."""

    svg: str
    png: bytes
    inline: str


def check() -> None:
    """Raise :class:`MullError` unless matplotlib is there."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise MullError("drawing the paper's figures needs matplotlib: pip install 'mull[paper]'") from None


def draw(figure: Figure) -> Drawn:
    """Draw all panels of a figure, two a row."""
    check()
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = min(2, len(figure.panels))
    rows = -(-len(figure.panels) // columns)
    with mpl.rc_context(STYLE):
        inches = (_ALONE if len(figure.panels) == 1 else _WIDE * columns, _HIGH * rows)
        canvas = Canvas(figsize=inches, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))
        FigureCanvasAgg(canvas)
        grid = canvas.subplots(rows, columns, squeeze=False)
        for axes, panel in zip(grid.flat, figure.panels, strict=True):
            _panel(axes, panel)
        svg, png = saved(canvas)
    return Drawn(opaque(svg), png, inline(svg, figure))


def saved(canvas: Canvas) -> tuple[str, bytes]:
    """A canvas as SVG without a ground, in the reader's own fonts, and as PNG on white; no dates in them."""
    svg, png = io.StringIO(), io.BytesIO()
    canvas.savefig(svg, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    canvas.set_layout_engine("none")  # laid out once is enough
    canvas.savefig(png, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    text = svg.getvalue()
    for name, fonts in _FONTS.items():
        text = text.replace(f"'{name}'", fonts).replace(name, fonts.rpartition(", ")[2])
    return text, png.getvalue()


def _panel(axes: Axes, panel: Panel) -> None:
    pad = 18 if panel.verticals else 6
    axes.set_title(panel.title, loc="left", fontsize=11, fontweight="bold", pad=pad)
    axes.set_xlabel(panel.x)
    axes.set_ylabel(panel.y)
    axes.grid(axis="y", color=INKS["faint"], linewidth=0.8)
    axes.set_axisbelow(True)
    if panel.zero:
        axes.axhline(0, color=INKS["soft"], linewidth=1)
    for place, label in panel.verticals:
        axes.axvline(place, color=INKS["soft"], linewidth=0.8, linestyle=(0, (2, 3)))
        axes.annotate(
            label, (place, 1), xycoords=("data", "axes fraction"), xytext=(0, 3),
            textcoords="offset points", ha="center", va="bottom", fontsize=8, color=INKS["soft"],
        )  # fmt: skip
    for series in panel.series:
        {"line": _line, "dots": _dots, "bars": _bars, "stars": _stars}[series.style](axes, series, panel)
    _axis(axes, panel)
    _legend(axes, panel)


def colour(name: str) -> str:
    """A colour by its name; b1 to b5 are bins, n0 to n8 budgets."""
    if name in INKS:
        return INKS[name]
    number = int(name[1:])
    return INKS[_BINS[number - 1]] if name[0] == "b" else _BUDGETS[number]


def _line(axes: Axes, series: Series, panel: Panel) -> None:
    ink, dash = colour(series.colour), "--" if series.dashed else "-"
    if series.paper is not None:
        dot = "o" if len(series.paper[0]) == 1 else ""
        axes.plot(
            *series.paper, color=ink, linewidth=1.2, linestyle=dash, alpha=LIGHT, zorder=2, marker=dot,
            markersize=3.6,
        )  # fmt: skip
    axes.fill_between(series.x, series.low, series.high, color=ink, alpha=0.12, linewidth=0, zorder=1)
    axes.plot(
        series.x, series.y, color=ink, linewidth=1.9, linestyle=dash, marker=series.marker,
        markersize=4.2, label=series.label, zorder=3,
    )  # fmt: skip


def _dots(axes: Axes, series: Series, panel: Panel) -> None:
    ink = colour(series.colour)
    if series.paper is not None:
        axes.plot(
            *series.paper, color=ink, linestyle="", marker="o", markersize=4, mew=0, alpha=LIGHT, zorder=2
        )
    axes.fill_between(series.x, series.low, series.high, color=ink, alpha=0.12, linewidth=0, zorder=1)
    axes.plot(
        series.x, series.y, color=ink, linestyle="", marker="o", markersize=4.5, label=series.label, zorder=3
    )


def _stars(axes: Axes, series: Series, panel: Panel) -> None:
    ink = colour(series.colour)
    if series.paper is not None:
        axes.plot(*series.paper, color=ink, linestyle="", marker="*", markersize=10, alpha=LIGHT, mew=0)
    errors = np.maximum(np.stack([series.y - series.low, series.high - series.y]), 0)
    beside = series.x * 2 ** (_DODGE * (int(series.colour[1:]) - 3))
    axes.errorbar(beside, series.y, errors, fmt="none", ecolor=ink, elinewidth=1, alpha=0.6)
    axes.plot(
        series.x, series.y, color=ink, linestyle="", marker="*", markersize=12,
        markeredgecolor="white", markeredgewidth=0.6, zorder=5,
    )  # fmt: skip


def _bars(axes: Axes, series: Series, panel: Panel) -> None:
    """Bars: side by side with the paper's where the panel has a zero line, else under its strokes."""
    width, beside = panel.width * 0.92, panel.zero
    inks = _ramp(series.at) if series.colour == "ramp" else [colour(series.colour)] * len(series.x)
    shift = width / 4 if beside else 0.0
    wide = width / 2 if beside else width
    alpha = 0.9 if beside or series.colour == "ramp" else 0.38
    bound = series.bound or (False,) * len(series.x)
    # Bars over one another: each with its interval in a place of its own.
    place = next(i for i, each in enumerate(panel.series) if each is series)
    aside = wide * ((place + 1) / (len(panel.series) + 1) - 0.5)
    for x, y, ink, low, high, least in zip(
        series.x, series.y, inks, series.low, series.high, bound, strict=True
    ):
        axes.bar(
            x - shift, y, wide, color=ink, alpha=alpha, linewidth=0, zorder=2,
            hatch="////" if least else None, edgecolor="white",
        )  # fmt: skip
        if beside or series.colour == "ramp":
            axes.plot([x - shift] * 2, [low, high], color=INKS["ink"], linewidth=0.9, alpha=0.7, zorder=4)
        else:
            axes.plot([x - wide / 2, x + wide / 2], [y, y], color=ink, linewidth=1.6, zorder=3)
            axes.plot([x + aside] * 2, [low, high], color=ink, linewidth=1.1, zorder=3)
    if series.paper is not None:
        ink = INKS["soft"] if series.colour == "ramp" else colour(series.colour)
        if beside:
            axes.bar(series.paper[0] + shift, series.paper[1], wide, color=ink, alpha=LIGHT, linewidth=0)
        else:
            for x, y in zip(*series.paper, strict=True):
                axes.plot(
                    [x - wide / 2, x + wide / 2], [y, y], color=ink, linewidth=1.4, alpha=0.6,
                    linestyle=(0, (1.2, 1)), zorder=4,
                )  # fmt: skip


def _ramp(places: Any) -> list[str]:
    """Colours from the most parallel ratio (blue) to the most sequential one (red)."""
    cold, hot = (np.asarray([int(INKS[name][i : i + 2], 16) for i in (1, 3, 5)]) for name in ("sky", "red"))
    span = max(float(np.max(np.abs(places), initial=0)), 1e-9)
    parts = [(float(place) / span + 1) / 2 for place in places]
    return ["#" + "".join(f"{round(v):02x}" for v in cold + (hot - cold) * part) for part in parts]


def _axis(axes: Axes, panel: Panel) -> None:
    """Ticks and limits; accuracies stay within 0 to 100."""
    if panel.scale == "log2":
        axes.set_xscale("log", base=2)
        places = [
            x for s in panel.series for part in (s.x, *((s.paper[0],) if s.paper else ())) for x in part
        ]
        if places:
            top = int(np.ceil(np.log2(max(places))))
            ticks = [1 << i for i in range(0, top + 1, 1 if top <= 8 else 2)]
            axes.set_xticks(ticks, [str(tick) for tick in ticks])
            axes.minorticks_off()
    if panel.ticks:
        axes.set_xticks([x for x, _ in panel.ticks], [label for _, label in panel.ticks])
        axes.tick_params(axis="x", length=0)
    low, high = axes.get_ylim()
    if not panel.zero:
        axes.set_ylim(max(low, 0), min(high, 102))
        return
    bars = [y for s in panel.series for part in (s.y, *((s.paper[1],) if s.paper else ())) for y in part]
    if bars:  # a whisker may be far longer than its bar; the axis is the bars'
        reach = 0.5 * (max(bars) - min(bars))
        axes.set_ylim(max(low, min(bars) - reach), min(high, max(bars) + reach))


def _legend(axes: Axes, panel: Panel) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    for series in panel.series:
        if not series.label:
            continue
        if series.style == "bars":
            ink = INKS["soft"] if series.colour == "ramp" else colour(series.colour)
            handles.append(Patch(color=ink, alpha=0.7, linewidth=0, label=series.label))
        else:
            handles.append(
                Line2D(
                    [], [], color=colour(series.colour), marker=series.marker, markersize=4, linewidth=1.9,
                    linestyle="" if series.style == "dots" else "--" if series.dashed else "-",
                    label=series.label,
                )
            )  # fmt: skip
    if any(any(series.bound or ()) for series in panel.series):
        least = Patch(
            facecolor=INKS["soft"], alpha=0.7, hatch="////", edgecolor="white", linewidth=0,
            label="hatched: at least that",
        )  # fmt: skip
        handles.append(least)
    if any(series.style == "stars" for series in panel.series):
        star = Line2D(
            [], [], color=INKS["soft"], marker="*", markersize=9, linestyle="", label="Larger model"
        )
        handles.append(star)
    if any(series.paper is not None for series in panel.series):
        handles.append(_theirs(panel))
    if handles:
        longest = max(len(str(handle.get_label())) for handle in handles)
        axes.legend(
            handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.16), frameon=False, fontsize=8.5,
            ncol=2 if longest > 14 else 3, handlelength=3.2, columnspacing=1.4,
        )  # fmt: skip


def _theirs(panel: Panel) -> Any:
    """The legend's entry for the paper's ink."""
    from matplotlib.lines import Line2D

    styles = {series.style for series in panel.series}
    how: dict[str, Any] = {"linewidth": 1.4, "alpha": LIGHT, "label": "lighter: the paper"}
    if "bars" in styles and not panel.zero:
        how |= {"linestyle": (0, (1.2, 1)), "alpha": 0.8, "label": "dotted: the paper"}
    elif styles == {"dots"}:
        how |= {"linestyle": "", "marker": "o", "markersize": 4, "markeredgewidth": 0}
    return Line2D([], [], color=INKS["soft"], **how)


def opaque(svg: str) -> str:
    """The file on white, since a slide's ground is not ours to know."""
    at = svg.index(">", svg.index("<svg")) + 1
    return f'{svg[:at]}\n <rect width="100%" height="100%" fill="white"/>{svg[at:]}'


def inline(svg: str, figure: Figure) -> str:
    """The drawing for a page: ids of its own, the page's colours, and no address of the net."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", body)
    body = body.replace("xlink:href", "href")
    body = re.sub(r'\bid="', f'id="{figure.name}-', body)
    body = re.sub(r'(url\(|href=")#', rf"\1#{figure.name}-", body)
    for name, value in INKS.items():
        body = body.replace(value, f"var(--{name if name in _PLAIN else 'c-' + name})")
    wide = re.search(r'viewBox="0 0 ([\d.]+) ', body)
    size = f"max-width:{float(wide.group(1)) * 1.35:.0f}px" if wide else ""
    head = f'<svg role="img" aria-label="{figure.number}" style="{size}"'
    return re.sub(r'^<svg\s+(?:width="[^"]*"|height="[^"]*")?', head + " ", body, count=1)


_PLAIN = ("ink", "soft", "rule", "faint")
