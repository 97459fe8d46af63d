"""Pictures of cards as PNG and SVG, with matplotlib; places nothing and computes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mull.paper.draw import INKS, STYLE, Drawn, check, inline, opaque, saved
from mull.paper.figure import Diagram
from mull.paper.layout import picture
from mull.paper.picture import Picture, Text, Wire

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

_FAMILY = {True: ["DejaVu Sans Mono"], False: ["DejaVu Sans"]}
_ALIGN = {"left": "left", "center": "center", "right": "right"}


def ink(name: str) -> str:
    """A colour by its name, or as it is."""
    return name if name.startswith("#") else INKS[name]


def canvas(sheet: Picture) -> Canvas:
    """The picture on a canvas of its size; every text is an artist of its one pair of axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas
    from matplotlib.patches import Rectangle

    found = Canvas(figsize=(sheet.wide, sheet.high))
    FigureCanvasAgg(found)
    axes = found.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, sheet.wide)
    axes.set_ylim(sheet.high, 0)
    axes.set_axis_off()
    for wire in sheet.wires:
        axes.add_patch(_wire(wire))
    for box in sheet.boxes:
        how: dict[str, Any] = {"facecolor": ink(box.fill) if box.fill else "none", "linewidth": 0}
        if box.edge:
            how |= {"edgecolor": ink(box.edge), "linewidth": box.weight}
            how["linestyle"] = (0, (3, 2)) if box.dashed else "-"
        axes.add_patch(Rectangle((box.x, box.y), box.wide, box.high, zorder=2, **how))
    for text in sheet.texts:
        axes.text(text.x, text.y, text.text, **_font(text))
    return found


def _font(text: Text) -> dict[str, Any]:
    return {
        "fontsize": text.size,
        "color": ink(text.ink),
        "fontweight": "bold" if text.bold else "normal",
        "fontfamily": _FAMILY[text.mono],
        "ha": _ALIGN[text.align],
        "va": "center_baseline",
        "zorder": 3,
        "parse_math": False,
    }


def _wire(wire: Wire) -> Any:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    bend = (wire.to_x - wire.x) * 0.45
    points = [
        (wire.x, wire.y),
        (wire.x + bend, wire.y),
        (wire.to_x - bend, wire.to_y),
        (wire.to_x, wire.to_y),
    ]
    path = Path(points, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
    style = "-|>,head_length=4,head_width=2.5" if wire.arrow else "-"
    return FancyArrowPatch(
        path=path,
        arrowstyle=style,
        color=ink(wire.ink),
        linewidth=wire.weight,
        linestyle=(0, (3, 2)) if wire.dashed else "-",
        shrinkA=0,
        shrinkB=0,
        zorder=1,
    )


def draw(diagram: Diagram) -> Drawn:
    """A diagram that has data, drawn."""
    check()
    import matplotlib as mpl

    assert diagram.content is not None
    with mpl.rc_context(STYLE):
        svg, png = saved(canvas(picture(diagram.content, diagram.title if diagram.sample else "")))
    return Drawn(opaque(svg), png, inline(svg, diagram))
