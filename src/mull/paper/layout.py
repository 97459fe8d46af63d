"""Figures 2 and 5 and the samples as pictures: where each card, step and wire goes. No data is made here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mull.paper.picture import MARGIN, RAMP, RIGHT, WRONG, Picture, fitted, largest, spans
from mull.paper.shown import Attempt, Content, Grown, Part, Question, Way

#: Inches for the column of votes, and between cards.
_VOTES, _GAP = 1.75, 0.3
#: A step's height in parts of its size, and inches above a card's first.
_LINE, _TOP = 1.4, 0.33
#: Points of questions, of methods' names, of texts, and of steps at most.
_TITLE, _BAND, _TEXT, _STEP = 13, 12, 10.5, 11.0

_BOLD = "bold: lines that the attempt before did not have"


def picture(content: Content, title: str = "") -> Picture:
    """Whatever the content holds, as a picture; samples under their title."""
    if content.question is not None and content.searches:
        return searches(content.question, content.searches)
    if content.question is not None and content.ways:
        return ways(content.question, content.ways)
    return samples(content.parts, title)


def mark(correct: bool | None) -> tuple[str, str]:
    """A sign for right or wrong, and its colour."""
    return (RIGHT, "green") if correct else (WRONG, "red")


def _head(sheet: Picture, question: Question, y: float = MARGIN - 0.1) -> float:
    """The question over the whole width; where what follows may begin."""
    wide = sheet.wide - 2 * MARGIN
    y = sheet.paragraph(MARGIN, y, question.prompt, _TITLE, wide)
    said = f"Right answer: {question.gold}."
    if question.bin is not None:
        said += f"   Difficulty: bin {question.bin} of 5, 1 the easiest."
    return sheet.paragraph(MARGIN, y + 0.03, said, _TEXT, wide, ink="soft")


def _band(sheet: Picture, y: float, title: str, says: str, column: float) -> float:
    """A method's name and, from ``column`` on, what it does; where its cards begin."""
    sheet.box(MARGIN, y, sheet.wide - 2 * MARGIN, 0.012, fill="rule")
    sheet.text(MARGIN, y + 0.2, title, _BAND, bold=True)
    sheet.text(MARGIN + column, y + 0.2, says, _TEXT, ink="soft")
    return y + 0.4


def _votes(sheet: Picture, y: float, weights: Mapping[str, float], answer: str | None, correct: bool) -> None:
    """What is chosen, and each answer's share of the vote."""
    x = sheet.wide - MARGIN - _VOTES
    sign, ink = mark(correct)
    sheet.text(x, y + 0.1, "Chosen", 9.5, ink="soft")
    said = "none" if answer is None else answer
    sheet.text(x, y + 0.36, f"{fitted(said, 1.1, 15)} {sign}", 15, bold=True, ink=ink)
    most = max([*weights.values(), 1e-9])
    for i, (name, weight) in enumerate(list(weights.items())[:4]):
        at = y + 0.65 + 0.18 * i
        sheet.text(x + 0.52, at, fitted(name, 0.5, 9), 9, mono=True, align="right")
        sheet.box(x + 0.58, at - 0.05, max(0.72 * weight / most, 0.01), 0.1, fill="soft")
        sheet.text(x + _VOTES, at, f"{weight:.2f}", 9, align="right", ink="soft")


def searches(question: Question, found: Sequence[Grown]) -> Picture:
    """Figure 2: a band for each method, steps from left to right."""
    sheet = Picture()
    top = _head(sheet, question) + 0.1
    depths = max(grown.depths for grown in found)
    room = (sheet.wide - 2 * MARGIN - _VOTES - 0.25) / depths
    cell = room - _GAP
    chip = 0.36
    texts = [text for grown in found for node in grown.nodes for text in (node.text, *node.rollout)]
    size = largest(texts, cell - chip - 0.14, _STEP)
    legend = 0.38
    rolled = [any(node.rollout for node in grown.nodes) for grown in found]
    units = sum(grown.rows * (1.55 if r else 1.0) for grown, r in zip(found, rolled, strict=True))
    row = max(min((sheet.high - top - legend - 0.48 * len(found)) / units, 0.4), 0.3)
    column = max(spans(grown.title, _BAND, bold=True) for grown in found) + 0.1
    y = top
    for grown, rolls in zip(found, rolled, strict=True):
        start = _band(sheet, y, grown.title, grown.says, column)
        high = row * (1.55 if rolls else 1.0)
        _tree(sheet, grown, start, room, cell, high, row * 0.8, size)
        _votes(sheet, start - 0.04, grown.weights, grown.answer, grown.correct)
        y = start + max(high * grown.rows, 1.3) + 0.08
    _legend(sheet, y + 0.02, rolled[-1])
    sheet.high = y + legend
    return sheet


def _tree(
    sheet: Picture, grown: Grown, y: float, room: float, cell: float, high: float, box: float, size: float
) -> None:
    """One method's steps: a score and a text each, a wire from the step before."""
    chip = 0.36

    def place(depth: int, row: int) -> tuple[float, float]:
        return MARGIN + depth * room, y + row * high + box / 2

    for node in grown.nodes:
        x, mid = place(node.depth, node.row)
        ink = "ink" if node.kept else "soft"
        edge = "blue" if node.chosen else "soft" if node.kept else "rule"
        sheet.box(
            x, mid - box / 2, cell, box, edge=edge, weight=2.2 if node.chosen else 0.9, dashed=not node.kept
        )
        sheet.chip(x + 0.035, mid, chip, box - 0.07, node.score, min(size, 9.5))
        text = node.text or "(end)"
        sign = ""
        if node.correct is not None:
            sign, colour = mark(node.correct)
            sheet.text(x + cell - 0.07, mid, sign, size + 2, ink=colour, bold=True, align="right")
        left = cell - chip - 0.14 - (0.2 if sign else 0)
        sheet.text(x + chip + 0.1, mid, fitted(text, left, size), size, ink=ink, mono=True)
        if node.rollout:
            under = mid + box / 2 + 0.09
            said = "\u21b3 " + "; ".join(node.rollout)
            small = min(size - 1.2, 9.0)
            said = fitted(said, cell - chip + 0.1, small)
            sheet.text(x + chip - 0.08, under, said, small, ink="soft", mono=True)
        if node.parent is not None:
            before = grown.nodes[node.parent]
            px, py = place(before.depth, before.row)
            ink = "blue" if node.chosen else "soft" if node.kept else "rule"
            weight = 2.0 if node.chosen else 1.0
            sheet.wire((px + cell, py), (x, mid), ink=ink, weight=weight, dashed=not node.kept)


def _legend(sheet: Picture, y: float, rolls: bool) -> None:
    """What boxes, colours and signs mean."""
    mid = y + 0.14
    x = _colours(sheet, MARGIN, mid)
    for edge, weight, dashed, said in (
        ("soft", 0.9, False, "kept"),
        ("rule", 0.9, True, "pruned"),
        ("blue", 2.2, False, "on the path to the chosen answer"),
    ):
        sheet.box(x, mid - 0.07, 0.26, 0.14, edge=edge, weight=weight, dashed=dashed)
        sheet.text(x + 0.33, mid, said, 9, ink="soft")
        x += 0.33 + spans(said, 9) + 0.2
    if rolls:
        sheet.text(x, mid, "\u21b3 rollout, for the score alone", 9, ink="soft")
        x += 2.2
    _signs(sheet, x, mid)


def _colours(sheet: Picture, x: float, mid: float) -> float:
    """The colours of scores; where the next may begin."""
    sheet.text(x, mid, "PRM score 0", 9, ink="soft")
    x += 0.86
    for i, colour in enumerate(RAMP):
        sheet.box(x + 0.17 * i, mid - 0.07, 0.17, 0.14, fill=colour)
    x += 0.17 * len(RAMP) + 0.06
    sheet.text(x, mid, "1", 9, ink="soft")
    return x + 0.3


def _signs(sheet: Picture, x: float, mid: float) -> None:
    for correct, said in ((True, "right"), (False, "wrong")):
        sign, ink = mark(correct)
        sheet.text(x, mid, sign, 10, ink=ink, bold=True)
        sheet.text(x + 0.17, mid, said, 9, ink="soft")
        x += 0.68


def card(sheet: Picture, x: float, y: float, wide: float, high: float, attempt: Attempt, size: float) -> None:
    """One attempt: its name and mark, its steps, its score."""
    step, pad = size * _LINE / 72, 0.1
    sign, ink = mark(attempt.correct)
    picked = attempt.chosen or attempt.stands
    weight = 2.6 if attempt.chosen else 1.6 if picked else 0.8
    sheet.box(x, y, wide, high, edge="blue" if picked else "soft", weight=weight)
    sheet.text(x + pad, y + 0.16, attempt.label, 9.5, ink="soft")
    sheet.text(x + wide - pad, y + 0.16, sign, 13, ink=ink, bold=True, align="right")
    chip = 0.4 if attempt.scores else 0.0
    at = y + _TOP
    for i, line in enumerate(attempt.lines):
        bold = bool(attempt.new) and attempt.new[i]
        shade = "soft" if attempt.new and not attempt.new[i] else "ink"
        left = x + pad
        if attempt.scores:
            sheet.chip(left, at + step / 2, chip - 0.04, step - 0.03, attempt.scores[i], min(size - 1, 9.5))
            left += chip + 0.06
        room = x + wide - pad - left
        sheet.text(left, at + step / 2, fitted(line, room, size), size, ink=shade, bold=bold, mono=True)
        at += step
    if not attempt.scores:
        _score(sheet, x + pad, y + high - 0.14, wide - 2 * pad, attempt.score)


def height(attempt: Attempt, size: float) -> float:
    """A card's height in inches."""
    return _TOP + len(attempt.lines) * size * _LINE / 72 + (0.08 if attempt.scores else 0.28)


def _score(sheet: Picture, x: float, y: float, wide: float, score: float | None) -> None:
    """A bar from 0 to 1."""
    if score is None:
        sheet.text(x, y, "unscored", 9, ink="soft")
        return
    room = wide - 0.75
    sheet.text(x, y, f"score {short_score(score)}", 9, ink="soft")
    sheet.box(x + 0.75, y - 0.05, room, 0.1, fill="faint")
    sheet.box(x + 0.75, y - 0.05, max(room * min(score, 1.0), 0.01), 0.1, fill="blue")


def short_score(score: float) -> str:
    """A score with two digits."""
    return f"{score:.2f}"


def ways(question: Question, found: Sequence[Way]) -> Picture:
    """Figure 5: a band for each way, its attempts in a row, wires within a chain."""
    sheet = Picture()
    y = _head(sheet, question) + 0.1
    count = max(sum(len(chain) for chain in way.chains) for way in found)
    wide = (sheet.wide - 2 * MARGIN - _VOTES - 0.25 - _GAP * (count - 1)) / count
    everything = [a for way in found for chain in way.chains for a in chain]
    size = largest([line for a in everything for line in a.lines], wide - 0.2, 9.2)
    high = max(height(a, size) for a in everything)
    column = max(spans(way.title, _BAND, bold=True) for way in found) + 0.1
    for way in found:
        start = _band(sheet, y, way.title, way.says, column)
        x = MARGIN
        for chain in way.chains:
            for i, attempt in enumerate(chain):
                card(sheet, x, start, wide, high, attempt, size)
                if i:
                    middle = start + high / 2
                    sheet.wire((x - _GAP, middle), (x, middle), arrow=True, weight=1.6, ink="ink")
                x += wide + _GAP
        _votes(sheet, start - 0.04, way.weights, way.answer, way.correct)
        y = start + max(high, 1.3) + 0.08
    x = MARGIN
    for weight, said in ((2.6, "chosen"), (1.6, "chosen in its chain")):
        sheet.box(x, y + 0.07, 0.26, 0.14, edge="blue", weight=weight)
        sheet.text(x + 0.33, y + 0.14, said, 9, ink="soft")
        x += 0.33 + spans(said, 9) + 0.2
    sheet.text(x, y + 0.14, _BOLD, 9, ink="soft")
    _signs(sheet, x + spans(_BOLD, 9) + 0.15, y + 0.14)
    sheet.high = y + 0.42
    return sheet


def samples(parts: Sequence[Part], title: str) -> Picture:
    """Attempts in a row under their question, a part under the other."""
    sheet, y = Picture(), MARGIN - 0.05
    sheet.text(MARGIN, y + 0.12, title, 16, bold=True)
    y += 0.4
    count = max(3, *(len(part.attempts) for part in parts))
    wide = (sheet.wide - 2 * MARGIN - _GAP * (count - 1)) / count
    lines = [line for part in parts for a in part.attempts for line in a.lines]
    scored = any(a.scores for part in parts for a in part.attempts)
    size = largest(lines, wide - 0.2 - (0.46 if scored else 0), 13.5)
    for part in parts:
        y = _head(sheet, part.question, y) + 0.15
        high = max(height(a, size) for a in part.attempts)
        for i, attempt in enumerate(part.attempts):
            x = MARGIN + i * (wide + _GAP)
            card(sheet, x, y, wide, high, attempt, size)
            if part.chained and i:
                sheet.wire((x - _GAP, y + high / 2), (x, y + high / 2), arrow=True, weight=1.6, ink="ink")
        y += high + 0.25
    x, mid = MARGIN, y
    if scored:
        x = _colours(sheet, x, mid)
    if any(part.chained for part in parts):
        sheet.text(x, mid, _BOLD, 9, ink="soft")
        x += spans(_BOLD, 9) + 0.15
    _signs(sheet, x, mid)
    sheet.high = y + 0.25
    return sheet
