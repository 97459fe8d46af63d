"""The paper's schematics and samples: every mark is the record's, the rules are kept, nothing overlaps."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from mull.paper import measured, samples, schematics, searched
from mull.paper.figure import Diagram
from mull.paper.figures_shown import diagrams
from mull.paper.layout import picture
from mull.paper.page_samples import section
from mull.paper.picture import MONO, Box, Picture, fitted, ramp, short
from mull.paper.shown import Attempt, Content, Grown, Node, Part, Question, Way, lines_of
from mull.problems import Problem
from mull.select import SELECTORS
from mull.strategies.base import Arm
from mull.study.config import Source, Study, checkpoints
from mull.study.folder import Recorded
from mull.study.run import record
from mull.trace import Candidate, Scores, Step, Trace
from mull.verifiers.small import SmallVerifier

ARMS = (
    Arm("beam", 4, (("width", 2),)),
    Arm("lookahead", 8, (("k", 1), ("width", 2))),
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """The small world with its own models, recorded in small."""
    models = {"reviser": "tiny", "revision": "tiny"}
    asked = Study("shown", Source(count=60), pool=8, chains=4, arms=ARMS, **models)  # type: ignore[arg-type]
    return record(asked, tmp_path_factory.mktemp("shown") / "out", workers=1)


@pytest.fixture(scope="module")
def frames(study: Recorded) -> dict[str, pl.DataFrame]:
    found: dict[str, list[pl.DataFrame]] = {}
    for unit in study.units:
        found.setdefault(unit.label, []).append(study.read(unit))
    return {label: pl.concat(parts) for label, parts in found.items()}


@pytest.fixture(scope="module")
def bins(frames: dict[str, pl.DataFrame], study: Recorded) -> np.ndarray:
    """Oracle difficulty in five bins of twelve."""
    rates = frames["pool"]["correct"].to_numpy().reshape(60, 8).mean(axis=1)
    order = np.argsort(-rates, kind="stable")
    found = np.empty(60, np.int64)
    found[order] = np.arange(60) // 12
    return found


@pytest.fixture(scope="module")
def made(study: Recorded, bins: np.ndarray) -> dict[str, Diagram]:
    return {diagram.name: diagram for diagram in diagrams(study, bins)}


def parts(made: dict[str, Diagram]) -> Iterator[tuple[str, Part]]:
    for name, diagram in made.items():
        if diagram.sample and diagram.content is not None:
            yield from ((name, part) for part in diagram.content.parts)


def attempts(made: dict[str, Diagram]) -> Iterator[tuple[str, Question, Attempt]]:
    """Every attempt shown in a sample or in figure 5, with its figure and question."""
    for name, part in parts(made):
        yield from ((name, part.question, attempt) for attempt in part.attempts)
    content = made["figure-05"].content
    assert content is not None and content.question is not None
    for way in content.ways:
        for chain in way.chains:
            yield from (("figure-05", content.question, attempt) for attempt in chain)


def test_all_figures_of_solutions_are_there(made: dict[str, Diagram]) -> None:
    assert list(made) == ["figure-02", "figure-05", *(f"figure-{n}" for n in range(17, 30))]
    numbers = {d.name: (int(d.arxiv), int(d.iclr)) for d in made.values()}
    assert all(iclr == arxiv + (3 if arxiv >= 17 else 0) for arxiv, iclr in numbers.values())
    lacking = {name for name, d in made.items() if not d.has_data}
    # At this size a bin may hold no chain that ends right, or no right solution.
    assert lacking <= {*(f"figure-{n}" for n in range(17, 22)), "figure-28"} and len(lacking) < 5
    assert all(bool(d.missing) != d.has_data for d in made.values())


def test_every_attempt_is_a_recorded_row_with_its_marks(
    made: dict[str, Diagram], frames: dict[str, pl.DataFrame], study: Recorded
) -> None:
    golds = {problem.id: str(problem.gold) for problem in study.problems}
    checked = 0
    for name, question, attempt in attempts(made):
        pooled = int(name.removeprefix("figure-")) >= 24
        rows = frames["pool" if pooled else "chains"].filter(
            pl.col("problem") == question.problem, pl.col("text") == "\n".join(attempt.lines)
        )
        values = [r["prm"][-1] if pooled else r["score"] for r in rows.to_dicts()]
        assert attempt.score in values
        if pooled:
            assert list(attempt.scores) in rows["prm"].to_list()
        assert set(rows["correct"]) == {attempt.correct} and set(rows["answer"]) == {attempt.answer}
        assert attempt.correct == (attempt.answer == question.gold == golds[question.problem])
        checked += 1
    assert checked > 40


def test_chains_are_shown_in_order_with_the_lines_that_are_new(
    made: dict[str, Diagram], frames: dict[str, pl.DataFrame]
) -> None:
    for _, part in parts(made):
        if not part.chained:
            continue
        texts = ["\n".join(a.lines) for a in part.attempts]
        rows = frames["chains"].filter(pl.col("problem") == part.question.problem)
        recorded = [d.sort("position")["text"].to_list()[:4] for d in rows.partition_by("chain")]
        assert texts in recorded
        for before, after in zip(part.attempts, part.attempts[1:], strict=False):
            for i, line in enumerate(after.lines):
                assert after.new[i] == (before.lines[i : i + 1] != (line,))


def test_samples_are_the_first_of_their_kind(
    made: dict[str, Diagram], frames: dict[str, pl.DataFrame], study: Recorded, bins: np.ndarray
) -> None:
    rows = frames["chains"].filter(pl.col("chain") == 0)  # the one chain of four at this size
    right = rows["correct"].to_numpy().reshape(60, 4)
    answers = np.asarray(rows["answer"].to_list(), object).reshape(60, 4)
    used: set[int] = set()
    wanted = [(17 + b, b, lambda r, a: not r[0] and r[3]) for b in range(5)]
    wanted += [(22, None, lambda r, a: r[0] and not r[3])]
    wanted += [(23, None, lambda r, a: not r.any() and len(set(a)) > 1)]
    for number, bin_, kind in wanted:
        left = [p for p in range(60) if p not in used and bin_ in (None, bins[p])]
        fit = [p for p in left if kind(right[p], answers[p])]
        content = made[f"figure-{number}"].content
        assert (content is not None) == bool(fit)
        if content is not None:
            used.add(fit[0])
            assert content.parts[0].question.problem == study.problems[fit[0]].id
            assert content.parts[0].question.bin == bins[fit[0]] + 1


def test_prm_samples_are_the_extremes_of_their_problem(
    made: dict[str, Diagram], frames: dict[str, pl.DataFrame]
) -> None:
    last = frames["pool"].with_columns(pl.col("prm").list.last().alias("last"))
    for name, part in parts(made):
        if not 24 <= int(name.removeprefix("figure-")) <= 28:
            continue
        here = last.filter(pl.col("problem") == part.question.problem)
        for correct in (True, False):
            values = here.filter(pl.col("correct") == correct)["last"]
            shown = [a.score for a in part.attempts if a.correct == correct]
            assert {max(shown), min(shown)} == {values.max(), values.min()}  # type: ignore[type-var]
    content = made["figure-29"].content
    assert content is not None
    worst, least = (part.attempts[0] for part in content.parts)
    assert not worst.correct and worst.score == last.filter(~pl.col("correct"))["last"].max()
    assert least.correct and least.score == last.filter(pl.col("correct"))["last"].min()


def grown(made: dict[str, Diagram]) -> tuple[Question, tuple[Grown, ...]]:
    content = made["figure-02"].content
    assert content is not None and content.question is not None and len(content.searches) == 3
    return content.question, content.searches


def test_searches_shown_are_those_recorded(made: dict[str, Diagram], frames: dict[str, pl.DataFrame]) -> None:
    question, (best, *live) = grown(made)
    pooled = frames["pool"].filter(pl.col("problem") == question.problem).head(4).to_dicts()
    ends = [n for n in best.nodes if n.answer is not None]
    assert [(n.answer, n.correct, n.score) for n in ends] == [
        (r["answer"], r["correct"], r["prm"][-1]) for r in pooled
    ]
    for found, arm in zip(live, ARMS, strict=True):
        row = frames[str(arm)].filter(pl.col("problem") == question.problem).to_dicts()[0]
        assert (found.answer, found.correct) == (row["answer"], row["correct"])
        shown = sorted((n.answer, round(n.score or 0, 5)) for n in found.nodes if n.answer is not None)
        assert shown == sorted((c["answer"], round(c["score"], 5)) for c in row["candidates"])
    assert {g.correct for g in (best, *live)} == {True, False}


def test_a_tree_shows_what_was_kept_and_where_the_choice_came_from(made: dict[str, Diagram]) -> None:
    question, searches = grown(made)
    for found in searches:
        grew = {n.parent for n in found.nodes}
        for i, node in enumerate(found.nodes):
            assert node.kept == (i in grew or node.answer is not None)
            if node.parent is not None:
                before = found.nodes[node.parent]
                assert before.depth == node.depth - 1 and before.kept and node.parent < i
        places = [(n.depth, n.row) for n in found.nodes]
        assert len(set(places)) == len(places) and found.rows == 4 and found.depths <= 5
        chosen = [n for n in found.nodes if n.chosen]
        assert [n.depth for n in chosen] == list(range(len(chosen)))
        assert chosen[-1].answer == found.answer == max(found.weights, key=lambda a: found.weights[a])
        assert all(a.parent is not None and found.nodes[a.parent].chosen for a in chosen[1:])
        assert found.correct == (found.answer == question.gold)


def test_a_step_is_scored_where_its_rollout_ends(made: dict[str, Diagram], study: Recorded) -> None:
    question, (_, beam, look) = grown(made)
    prm = SmallVerifier.load(checkpoints(study.study)["prm"])
    problem = next(p for p in study.problems if p.id == question.problem)

    def steps(found: Grown, node: Node) -> list[str]:
        before = [] if node.parent is None else steps(found, found.nodes[node.parent])
        return [*before, node.text]

    rolled = 0
    for found in (beam, look):
        for node in found.nodes:
            lines = [*steps(found, node), *node.rollout]
            ended = lines[-1].startswith("Answer")
            texts = [line + "\n" for line in lines]
            if ended:
                texts[-1] = lines[-1]
            given = tuple(Step(text, ()) for text in texts)
            (verdict,) = prm.score_now([Trace(problem, given, "stop" if ended else None)])
            assert verdict.scores is not None and node.score == pytest.approx(verdict.scores.last, abs=1e-4)
            rolled += bool(node.rollout)
    assert rolled and not any(n.rollout for n in beam.nodes)
    assert all(bool(n.rollout) == (n.answer is None) for n in look.nodes)


def test_ways_choose_as_the_study_does(
    made: dict[str, Diagram], study: Recorded, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = made["figure-05"].content
    assert content is not None and content.question is not None
    row = [p.id for p in study.problems].index(content.question.problem)
    lines = measured.measure(study).lines
    parallel, sequential, both = content.ways
    for way, name in ((parallel, "parallel:score"), (sequential, "sequential:score")):
        assert lines[name].y[row, lines[name].column(4)] == way.correct
    for way, shape in ((parallel, [1] * 4), (sequential, [4]), (both, [2, 2])):
        assert [len(chain) for chain in way.chains] == shape
        every = [a for chain in way.chains for a in chain]
        (one,) = [a for a in every if a.chosen]
        assert one.answer == way.answer and one.correct == way.correct
        for chain in way.chains:
            assert sum(a.stands for a in chain) == (len(chain) > 1)
        if len(way.chains) < 4:
            assert one.stands


def test_models_that_have_changed_since_are_not_run_again(study: Recorded, bins: np.ndarray) -> None:
    assert searched.Rerun.of(study) is not None
    assert searched.Rerun.of(replace(study, engine="another@00000000")) is None
    served = replace(study, study=replace(study.study, prm=None, arms=()))
    assert searched.Rerun.of(served) is None
    first = diagrams(replace(study, engine="another@00000000"), bins)[0]
    assert not first.has_data and first.missing


def test_a_search_that_does_not_come_out_as_recorded_is_not_shown(
    study: Recorded, frames: dict[str, pl.DataFrame], bins: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    rerun = searched.Rerun.of(study)
    assert rerun is not None
    runs = {arm: frames[str(arm)] for arm in ARMS}
    assert schematics.searches(study.problems, bins, frames["pool"], runs, rerun) is not None
    monkeypatch.setattr(schematics, "TRIES", 4)
    runs = {arm: frame.with_columns(pl.lit("0").alias("answer")) for arm, frame in runs.items()}
    assert schematics.searches(study.problems, bins, frames["pool"], runs, rerun) is None


def test_a_study_without_revisions_or_scores_lacks_their_samples(study: Recorded, bins: np.ndarray) -> None:
    plain = replace(
        study,
        study=replace(study.study, chains=0, arms=()),
        units=tuple(u for u in study.units if u.kind == "pool"),
    )
    found = {d.name: d.has_data for d in diagrams(plain, bins)}
    assert not any(found[f"figure-{n:02d}"] for n in (2, 5, *range(17, 24)))
    assert found["figure-24"] and found["figure-29"]
    assert not any(d.has_data for d in diagrams(plain, None)[2:-1])  # without bins no problem of a bin


# Pictures


def cards(sheet: Picture) -> list[Box]:
    """What may not overlap: everything with an edge, but for the legend's."""
    return [box for box in sheet.boxes if box.edge and box.wide > 0.5]


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Area that two rectangles (left, top, right, bottom) share."""
    return max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)


def extents(sheet: Picture) -> list[tuple[str, tuple[float, ...]]]:
    """Every text as drawn: where it reaches, in inches from the top left."""
    import matplotlib as mpl

    from mull.paper.draw import STYLE
    from mull.paper.draw_picture import canvas

    with mpl.rc_context(STYLE):
        drawn = canvas(sheet)
        (axes,) = drawn.axes
        renderer = drawn.canvas.get_renderer()  # type: ignore[attr-defined]
        found = []
        for text in axes.texts:
            box = text.get_window_extent(renderer)
            place = (box.x0, drawn.dpi * sheet.high - box.y1, box.x1, drawn.dpi * sheet.high - box.y0)
            found.append((text.get_text(), tuple(v / drawn.dpi for v in place)))
    return found


def check(sheet: Picture) -> None:
    """Nothing leaves the sheet, no two cards and no two texts overlap, texts stay in their cards."""
    pytest.importorskip("matplotlib")
    boxes = [(b.x, b.y, b.x + b.wide, b.y + b.high) for b in sheet.boxes]
    texts = extents(sheet)
    for left, top, right, bottom in [*boxes, *(place for _, place in texts)]:
        assert left >= 0 and top >= 0 and right <= sheet.wide and bottom <= sheet.high
    kept = [(b.x, b.y, b.x + b.wide, b.y + b.high) for b in cards(sheet)]
    for i, one in enumerate(kept):
        assert not any(overlap(one, other) > 1e-6 for other in kept[:i])
    for i, (said, one) in enumerate(texts):
        for other_said, other in texts[:i]:
            assert overlap(one, other) < 0.004, (said, other_said)
        for box in kept:
            inside = overlap(one, box)
            area = (one[2] - one[0]) * (one[3] - one[1])
            assert inside < 0.004 or inside > 0.97 * area, (said, "crosses the edge of a card")


def test_nothing_in_the_pictures_overlaps_or_is_cut(made: dict[str, Diagram]) -> None:
    for diagram in made.values():
        if diagram.content is not None:
            sheet = picture(diagram.content, diagram.title if diagram.sample else "")
            assert sheet.wide == pytest.approx(13.33) and sheet.high <= 8
            assert not any("\u2026" in text.text for text in sheet.texts)
            check(sheet)


def attempt(lines: int, long: int, scored: bool, **how: object) -> Attempt:
    texts = tuple(f"{'W' * long} {i}" for i in range(lines))
    scores = (0.5,) * lines if scored else ()
    return Attempt("Attempt", texts, "7" * long, False, 0.5, scores, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("scored", [False, True])
@pytest.mark.parametrize(("lines", "long"), [(1, 1), (12, 30), (3, 300)])
@pytest.mark.parametrize("words", [3, 200])
def test_pictures_of_any_text_keep_to_the_sheet(scored: bool, lines: int, long: int, words: int) -> None:
    asked = Question("p", " ".join(["million"] * words), "7", None)
    every = tuple(attempt(lines, long, scored, chosen=i == 1) for i in range(4))
    check(picture(Content(parts=(Part(asked, every, chained=True), Part(asked, every[:1]))), "A title"))
    weights = {str(i) * long: 4.0 - i for i in range(6)}
    way = Way("Way", "what it does", (every[:2], every[2:]), weights, "7" * long, False)
    check(picture(Content(asked, ways=(way, way, way))))
    step = "W" * long
    nodes = tuple(
        Node(d, r, None if d == 0 else 4 * (d - 1) + r, step, None if r else 0.3, r < 2, (step, step))
        for d in range(4)
        for r in range(4)
    )
    search = Grown("Search", "what it does", nodes, weights, None, False)
    check(picture(Content(asked, searches=(search, search, search))))


def test_drawings_are_well_formed_and_the_same_every_time(made: dict[str, Diagram]) -> None:
    pytest.importorskip("matplotlib")
    from mull.paper.draw_picture import draw

    for name in ("figure-02", "figure-22"):
        first, again = draw(made[name]), draw(made[name])
        assert (first.svg, first.png, first.inline) == (again.svg, again.png, again.inline)
        root = ET.fromstring(first.svg)
        said = {(text.text or "").strip() for text in root.iter("{http://www.w3.org/2000/svg}text")}
        content = made[name].content
        assert content is not None
        shown = [n.text for g in content.searches for n in g.nodes]
        shown += [line for part in content.parts for a in part.attempts for line in a.lines]
        assert shown
        assert set(shown) <= said
        assert first.png.startswith(b"\x89PNG")


def test_the_pages_samples_escape_and_carry_every_line(made: dict[str, Diagram]) -> None:
    kept = [d for d in made.values() if d.sample and d.has_data]
    html = section(kept)
    ET.fromstring(html)
    assert all(html.count(f'id="{d.name}"') == 1 for d in kept)
    for _, part in parts(made):
        assert all(line in html for a in part.attempts for line in a.lines)
    assert section([]) == ""
    evil = Attempt("<b>", ("<script>alert(1)</script>",), "&", False, None)
    part = Part(Question("p", "<img src=x>", "<i>"), (evil,))
    found = section([replace(kept[0], content=Content(parts=(part,)), caption="<u>")])
    assert not any(tag in found for tag in ("<script", "<img", "<u>", "<i>", "<b>"))


def test_scores_have_their_colours_and_steps_fit() -> None:
    assert ramp(0) == "#1d3557" and ramp(1) == "#fbe45b" and ramp(2) == ramp(1)
    assert [short(v) for v in (0, 0.25, 1)] == [".00", ".25", "1.00"]
    for size in (6.5, 9, 13):
        for wide in (0.3, 1.0, 2.5):
            said = fitted("x" * 80, wide, size)
            assert len(said) * size * MONO / 72 <= wide + 1e-9 and said.endswith("\u2026")


def test_a_tie_between_solutions_is_settled_as_everywhere() -> None:
    problem = Problem("p", "q")
    same = {"finish": "stop", "prm": [0.5]}
    rows = [{"text": f"Answer: {a}", "answer": a, "correct": a == "1", **same} for a in "1212"]
    found = searched.whole(problem, rows, "t", "s")
    candidates = [
        Candidate(Trace(problem, (Step(r["text"], ()),), "stop"), r["answer"], Scores((0.5,))) for r in rows
    ]
    expected = SELECTORS["best_of_n_weighted"](problem.id, candidates)
    assert found.answer == expected.answer and dict(found.weights) == dict(expected.weights)
    assert [n.row for n in found.nodes if n.chosen] == [expected.chosen]


def test_lines_of_a_solution() -> None:
    assert lines_of("a\nb\n") == ("a", "b") and lines_of("a") == ("a",)
    assert samples.stuck(np.zeros(4, bool), ["1", "1", None, "1"])
    assert not samples.stuck(np.zeros(4, bool), ["1"] * 4)
