"""The page: the table of claims and every figure, one HTML file that opens offline and runs no script.

Invariant: every text is escaped; the only markup that is not ours is the drawings', made here
from numbers and names of our own.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from string import Template
from typing import Any

from mull.paper.claims import FAILS, FEWEST, HOLDS, MARGIN, OPEN, Row
from mull.paper.figure import Diagram, Figure, Series
from mull.paper.figures import LEFT_OUT
from mull.paper.page_samples import section

#: A verdict's class in the style sheet.
_CLASSES = {HOLDS: "holds", FAILS: "fails", OPEN: "open"}


def render(
    facts: Mapping[str, Any],
    rows: Sequence[Row],
    figures: Sequence[tuple[Figure, str]],
    left: Sequence[Figure],
) -> str:
    """The page. ``figures``: each with its drawing; ``left``: those that the study has no data for."""
    samples = [figure for figure, _ in figures if isinstance(figure, Diagram) and figure.sample]
    listed = [(figure, drawing) for figure, drawing in figures if figure not in samples]
    return Template(_static("mull.paper", "page.html")).substitute(
        css=_static("mull.report", "static", "report.css") + _static("mull.paper", "page.css"),
        lede=html.escape(lede(rows)),
        setup=_setup(facts),
        claims=_claims(rows),
        margin=f"{MARGIN:g}",
        fewest=str(FEWEST),
        contents="\n".join([*(_link(f.name, f.number) for f, _ in listed), *_samples(samples)]),
        figures="\n".join(_figure(figure, drawing) for figure, drawing in listed),
        samples=section(samples),
        left=_left(left),
    )


def _link(place: str, text: str) -> str:
    return f'<a href="#{place}">{html.escape(text)}</a>'


def _samples(samples: Sequence[Diagram]) -> list[str]:
    return [_link("samples", f"Samples ({samples[0].arxiv} to {samples[-1].arxiv})")] if samples else []


def lede(rows: Sequence[Row]) -> str:
    """The verdicts counted, in a sentence."""
    counted = Counter(row.verdict for row in rows)
    return (
        f"Of {len(rows)} claims {counted[HOLDS]} hold in this study, {counted[FAILS]} do not, and "
        f"{counted[OPEN]} cannot be told at this size."
    )


def number(value: float | None, digits: int = 2) -> str:
    """A number for people, or a dash where there is none."""
    return "\u2013" if value is None else f"{value:.{digits}f}".replace("-", "\u2212")


def span(ends: tuple[float | None, float | None] | None) -> str:
    """An interval for people; an end that is unbounded is left open."""
    if ends is None or ends == (None, None):
        return ""
    low = "\u2212\u221e" if ends[0] is None else number(ends[0])
    high = "\u221e" if ends[1] is None else number(ends[1])
    return f"{low} to {high}"


def _setup(facts: Mapping[str, Any]) -> str:
    """What was measured."""
    shown = {
        "Study": f"{facts.get('name')} ({facts.get('hash')})",
        "Problems": facts.get("problems"),
        "Samples a problem": facts.get("pool"),
        "Revisions up to": facts.get("chains") or "none",
        "One sample is right": f"{100 * float(facts.get('pass_at_1', 0)):.1f} %",
        "Larger model": f"{facts['size']:.3g} times the parameters" if facts.get("size") else "none",
        "Training tokens": _trained(facts.get("trained", {})),
        "Seed": facts.get("seed"),
    }
    shown = {name: value for name, value in shown.items() if value != ""}
    shown |= {str(role).upper() if role in ("prm", "orm") else str(role).capitalize(): name
              for role, name in dict(facts.get("models", {})).items()}  # fmt: skip
    cells = (f"<div><dt>{html.escape(k)}</dt><dd>{html.escape(str(v))}</dd></div>" for k, v in shown.items())
    return f'<dl class="setup">{"".join(cells)}</dl>'


def _trained(models: Mapping[str, Mapping[str, int | None]]) -> str:
    """Tokens of pretraining and fine-tuning, of the models that sample; empty if none are known."""
    said = []
    for name, stages in models.items():
        known = [
            f"{count / 1e6:.3g}M{words}"
            for stage, words in (("pretraining", ""), ("finetuning", " fine-tuning"))
            if (count := stages.get(stage))
        ]
        said += [f"{name} {' + '.join(known)}"] if known else []
    return "; ".join(said)


def _claims(rows: Sequence[Row]) -> str:
    """The table, a body a topic."""
    parts, topic = [], ""
    for row in rows:
        if row.topic != topic:
            topic = row.topic
            parts.append(f'<tr class="topic"><th colspan="4">{html.escape(topic)}</th></tr>')
        note = f'<span class="why">{html.escape(row.note)}</span>' if row.note else ""
        ends = f'<span class="why">{span(row.ci95)}</span>' if row.ci95 else ""
        parts.append(
            f'<tr><td class="text">{html.escape(row.claim)}'
            f'<span class="why">{html.escape(row.statistic)}</span></td>'
            f"<td>{number(row.paper)}</td><td>{number(row.value)}{ends}</td>"
            f'<td class="text"><b class="{_CLASSES[row.verdict]}">{html.escape(row.verdict)}</b>'
            f"{note}</td></tr>"
        )
    head = (
        '<tr><th class="text">Claim and the statistic that decides it</th>'
        '<th>Paper</th><th>mull, 95 %</th><th class="text">Verdict</th></tr>'
    )
    return f'<table class="claims"><thead>{head}</thead><tbody>{"".join(parts)}</tbody></table>'


def _figure(figure: Figure, drawing: str) -> str:
    lacking = ""
    if figure.missing:
        lacking = f'<p class="quiet">Not in this study: {html.escape("; ".join(figure.missing))}.</p>'
    return (
        f'<section class="figure" id="{figure.name}"><p class="kind">{html.escape(figure.number)}</p>'
        f"<h2>{html.escape(figure.title)}</h2><p>{html.escape(figure.caption)}</p>"
        f'<div class="drawing{" cards" if isinstance(figure, Diagram) else ""}">{drawing}</div>'
        f"{lacking}{_numbers(figure)}</section>"
    )


def _numbers(figure: Figure) -> str:
    """Every number of a figure, folded away."""
    tables = []
    for panel in figure.panels:
        lines = [line for series in panel.series for line in _rows(series)]
        if lines:
            head = "<tr><th class='text'>Series</th><th>at</th><th>%</th><th>95 %</th><th>paper</th></tr>"
            caption = f"<caption>{html.escape(panel.title)}</caption>"
            tables.append(f"<table>{caption}<thead>{head}</thead><tbody>{''.join(lines)}</tbody></table>")
    inner = "".join(f'<div class="scroll">{table}</div>' for table in tables)
    return f'<details class="numbers"><summary>The numbers</summary>{inner}</details>' if inner else ""


def _rows(series: Series) -> list[str]:
    paper = (
        {}
        if series.paper is None
        else {round(float(x), 6): float(y) for x, y in zip(*series.paper, strict=True)}
    )
    label = series.label or "Larger model"
    found = []
    for i, x in enumerate(series.x):
        bins = series.bins[i] if i < len(series.bins) else ()
        where = f"{series.at[i]:g}" + (f", bin {bins[0] + 1}" if bins else "")
        theirs = number(paper.get(round(float(x), 6)))
        found.append(
            f'<tr><td class="text">{html.escape(label)}</td><td>{where}</td>'
            f"<td>{number(float(series.y[i]))}</td>"
            f"<td>{span((float(series.low[i]), float(series.high[i])))}</td><td>{theirs}</td></tr>"
        )
    return found


def _left(left: Sequence[Figure]) -> str:
    """What is not drawn, and why."""
    rows = dict(LEFT_OUT)
    rows |= {f.number.removeprefix("Figure "): f"this study has no {'; no '.join(f.missing)}" for f in left}
    return "".join(f"<li>Figure {html.escape(name)}: {html.escape(why)}.</li>" for name, why in rows.items())


def _static(package: str, *path: str) -> str:
    return resources.files(package).joinpath(*path).read_text(encoding="utf-8")
