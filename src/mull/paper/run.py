"""The whole command: record what is missing, measure, judge, draw, write. Each is done elsewhere."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mull.errors import MullError
from mull.paper import claims_exchange, claims_revisions, claims_search, draw, draw_picture, page
from mull.paper.arrays import Arrays
from mull.paper.claims import Row, judge
from mull.paper.figure import Diagram, Figure
from mull.paper.figures import figures
from mull.paper.figures_shown import diagrams
from mull.paper.measured import measure
from mull.paper.study import RESTEM, companion, paper_study
from mull.paper.view import Ours
from mull.study import folder, store
from mull.study.config import Study
from mull.study.folder import Recorded
from mull.study.progress import Say, State
from mull.study.run import record


@dataclass(frozen=True)
class Paper:
    """What was written: the claims, the page, and the figures' files."""

    rows: tuple[Row, ...]
    page: Path
    claims: Path
    figures: tuple[Path, ...]


def paper(
    study: Study | None = None,
    out: Path | str = "mull-paper",
    *,
    workers: int | None = None,
    say: Say | None = None,
) -> Paper:
    """Run or continue ``study`` (the paper's if None) in folder ``out``, then draw the paper from it.

    Writes ``paper.html``, ``claims.json``, ``figures.json`` and ``figures/*.svg, *.png`` into the folder.
    """
    draw.check()
    began = time.monotonic()
    asked, place = study or paper_study(), Path(out)
    recorded = record(asked, place, workers=workers, say=say)
    second = companion(asked)
    if second is not None:
        record(second, place / RESTEM, workers=workers, say=say)
    total = len(recorded.units) + 1

    def tell(note: str, done: int = 0) -> None:
        if say is not None:
            say(State(total - 1 + done, total, 0, 0, time.monotonic() - began, note))

    tell("measuring")
    arrays = measure(recorded, _restem(place))
    found = write(arrays, place, diagrams(recorded, arrays.labels.get("oracle")), tell)
    tell("done", 1)
    return found


def _restem(place: Path) -> Recorded | None:
    """The companion study inside the folder, if there is one."""
    inside = place / RESTEM
    if not (inside / "study.toml").exists():
        return None
    found = folder.open_folder(inside)
    if found.missing():
        raise MullError(f"{inside} is not finished: {len(found.missing())} units are missing")
    return found


def write(
    arrays: Arrays,
    out: Path,
    shown: Sequence[Figure] = (),
    tell: Callable[[str], None] = lambda note: None,
) -> Paper:
    """Judge and draw what ``arrays`` hold and what is ``shown``, and write it whole; ``tell`` hears of it."""
    ours = Ours(arrays)
    listed = [module.claims(ours) for module in (claims_exchange, claims_search, claims_revisions)]
    rows = judge(arrays, [claim for part in listed for claim in part])
    made = figures(ours, shown)
    drawn = [figure for figure in made if figure.has_data]
    left = [figure for figure in made if not figure.has_data]
    pictures = []
    for figure in drawn:
        tell(f"drawing: {figure.number}")
        pictures.append(_draw(figure))
    files = _files(out / "figures", drawn, pictures, left)
    inside = [(figure, picture.inline) for figure, picture in zip(drawn, pictures, strict=True)]
    store.write_text(out / "figures.json", _json([figure.as_json() for figure in drawn]))
    store.write_text(out / "claims.json", _json([row.as_json() for row in rows]))
    store.write_text(out / "paper.html", page.render(arrays.facts, rows, inside, left))
    return Paper(tuple(rows), out / "paper.html", out / "claims.json", files)


def _draw(figure: Figure) -> draw.Drawn:
    return draw_picture.draw(figure) if isinstance(figure, Diagram) else draw.draw(figure)


def _files(
    place: Path, drawn: Sequence[Figure], pictures: Sequence[draw.Drawn], left: Sequence[Figure]
) -> tuple[Path, ...]:
    files = []
    for figure, picture in zip(drawn, pictures, strict=True):
        svg, png = place / f"{figure.name}.svg", place / f"{figure.name}.png"
        store.write_text(svg, picture.svg)
        with store.atomic(png) as temporary:
            temporary.write_bytes(picture.png)
        files += [svg, png]
    for figure in left:  # an older study may have had it
        for ending in ("svg", "png"):
            (place / f"{figure.name}.{ending}").unlink(missing_ok=True)
    return tuple(files)


def _json(value: object) -> str:
    return json.dumps(value, indent=1, allow_nan=False) + "\n"
