"""The page's samples: solutions as text, each step with its score, in the order of the paper's figures.

Invariant: every text is escaped; no number is made here.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

from mull.paper.figure import Diagram
from mull.paper.picture import RIGHT, WRONG, ramp, short
from mull.paper.shown import Attempt, Part

_INTRO = (
    "Revisions in text, and solutions with the PRM's scores of their steps, as in the paper's appendices. "
    "Which are shown follows a rule, not a choice by eye; each is also a file for a slide."
)


def section(samples: Sequence[Diagram]) -> str:
    """All samples that there are; nothing if there are none."""
    if not samples:
        return ""
    said = [""] + [sample.caption for sample in samples]
    parts = "".join(_sample(sample, sample.caption != said[i]) for i, sample in enumerate(samples))
    head = f"<h2>Samples</h2><p>{html.escape(_INTRO)}</p>"
    return f'<section class="figure" id="samples">{head}{parts}</section>'


def _sample(diagram: Diagram, explain: bool) -> str:
    """One of them; its rule goes before it, once for all that follow the same."""
    assert diagram.content is not None
    parts = "".join(map(_part, diagram.content.parts))
    rule = f'<p class="rule">{html.escape(diagram.caption)}</p>' if explain else ""
    return (
        f'{rule}<article class="sample" id="{diagram.name}"><p class="kind">{html.escape(diagram.number)}</p>'
        f"<h3>{html.escape(diagram.title)}</h3>{parts}</article>"
    )


def _part(part: Part) -> str:
    asked = part.question
    where = "" if asked.bin is None else f", bin {asked.bin} of 5"
    cards = "".join(f"<li>{_attempt(attempt)}</li>" for attempt in part.attempts)
    return (
        f'<p class="prompt">{html.escape(asked.prompt)}</p>'
        f'<p class="quiet">Right answer {html.escape(asked.gold)}{where}.</p>'
        f'<ol class="attempts{" chain" if part.chained else ""}">{cards}</ol>'
    )


def _attempt(attempt: Attempt) -> str:
    kind, sign = ("right", RIGHT) if attempt.correct else ("wrong", WRONG)
    lines = []
    for i, line in enumerate(attempt.lines):
        chip = _chip(attempt.scores[i]) if attempt.scores else ""
        text = html.escape(line)
        if attempt.new:
            text = f"<b>{text}</b>" if attempt.new[i] else f"<span>{text}</span>"
        lines.append(f"<li>{chip}<code>{text}</code></li>")
    score = "" if attempt.scores else _bar(attempt.score)
    return (
        f'<p class="label">{html.escape(attempt.label)} <em class="{kind}">{sign} {kind}</em></p>'
        f'<ol class="lines">{"".join(lines)}</ol>{score}'
    )


def _chip(score: float) -> str:
    ink = "#111" if score > 0.5 else "#fff"
    return f'<span class="chip" style="background:{ramp(score)};color:{ink}">{short(score)}</span>'


def _bar(score: float | None) -> str:
    if score is None:
        return '<p class="bar">unscored</p>'
    share = min(max(100 * score, 0), 100)
    return f'<p class="bar">score {score:.2f} <i><i style="width:{share:.1f}%"></i></i></p>'
