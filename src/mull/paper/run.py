"""The whole command: record what is missing, measure, judge, draw, write. Each is done elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mull.errors import MullError
from mull.paper import claims_exchange, claims_revisions, claims_search, draw, page
from mull.paper.arrays import Arrays
from mull.paper.claims import Row, judge
from mull.paper.figure import Figure
from mull.paper.figures import figures
from mull.paper.measured import measure
from mull.paper.study import RESTEM, companion, paper_study
from mull.paper.view import Ours
from mull.study import folder, store
from mull.study.config import Study
from mull.study.folder import Recorded
from mull.study.progress import Say
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
    asked, place = study or paper_study(), Path(out)
    recorded = record(asked, place, workers=workers, say=say)
    second = companion(asked)
    if second is not None:
        record(second, place / RESTEM, workers=workers, say=say)
    return write(measure(recorded, _restem(place)), place)


def _restem(place: Path) -> Recorded | None:
    """The companion study inside the folder, if there is one."""
    inside = place / RESTEM
    if not (inside / "study.toml").exists():
        return None
    found = folder.open_folder(inside)
    if found.missing():
        raise MullError(f"{inside} is not finished: {len(found.missing())} units are missing")
    return found


def write(arrays: Arrays, out: Path) -> Paper:
    """Judge and draw what ``arrays`` hold, and write it whole."""
    ours = Ours(arrays)
    listed = [module.claims(ours) for module in (claims_exchange, claims_search, claims_revisions)]
    rows = judge(arrays, [claim for part in listed for claim in part])
    made = figures(ours)
    drawn = [figure for figure in made if has_data(figure)]
    left = [figure for figure in made if not has_data(figure)]
    pictures = [draw.draw(figure) for figure in drawn]
    files = _files(out / "figures", drawn, pictures, left)
    inside = [(figure, picture.inline) for figure, picture in zip(drawn, pictures, strict=True)]
    store.write_text(out / "figures.json", _json([figure.as_json() for figure in drawn]))
    store.write_text(out / "claims.json", _json([row.as_json() for row in rows]))
    store.write_text(out / "paper.html", page.render(arrays.facts, rows, inside, left))
    return Paper(tuple(rows), out / "paper.html", out / "claims.json", files)


def has_data(figure: Figure) -> bool:
    """Whether any of a figure's series has a value of ours."""
    return any(len(series.x) for panel in figure.panels for series in panel.series)


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
