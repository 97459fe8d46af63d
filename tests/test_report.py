"""The report: safe, whole, honest about gaps. All numbers here are synthetic test input."""

from __future__ import annotations

import copy
import io
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mull.errors import MullError
from mull.report import load, render, table, write
from mull.report.finding import sentences
from mull.report.series import group
from synthetic_study import synthetic_summary, synthetic_trees, with_gaps

HOSTILE = '</script><img src=x onerror="alert(1)"><!--<script>'


class Elements(HTMLParser):
    """What a browser would build: elements with attributes, and the JSON of the page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.data = ""
        self._in_data = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._in_data = dict(attrs).get("id") == "data"

    def handle_endtag(self, tag: str) -> None:
        self._in_data = False

    def handle_data(self, data: str) -> None:
        if self._in_data:
            self.data += data


def test_page_refers_to_nothing_outside_itself() -> None:
    page = render(synthetic_summary(), synthetic_trees())
    for tag, attributes in Elements(page).found:
        assert tag not in ("link", "img", "iframe", "object") or attributes.get("href") == "data:,"
        assert "src" not in attributes
    without_svg_name = page.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|url\(|@import|\bimport\(|fetch\(", without_svg_name)


@pytest.mark.parametrize("make", [synthetic_summary, with_gaps])
def test_the_summary_travels_unchanged(make: Any) -> None:
    summary, trees = make(), synthetic_trees()
    data = json.loads(Elements(render(summary, trees)).data)
    assert data["summary"] == summary
    assert data["trees"] == trees


def test_hostile_text_is_inert() -> None:
    summary, trees = synthetic_summary(), synthetic_trees()
    trees[0]["prompt"] = trees[0]["nodes"][0]["text"] = HOSTILE
    summary["study"]["name"] = summary["study"]["engine"] = HOSTILE
    summary["warnings"] = [HOSTILE, "lone surrogate \ud800"]
    plain, page = Elements(render(synthetic_summary(), synthetic_trees())), Elements(render(summary, trees))
    assert [tag for tag, _ in page.found] == [tag for tag, _ in plain.found]
    assert json.loads(page.data)["trees"][0]["prompt"] == HOSTILE


def test_scripts_never_write_markup() -> None:
    page = render(synthetic_summary(), [])
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", page)


def test_written_whole_beside_the_summary(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps(synthetic_summary()))
    (tmp_path / "trees.json").write_text(json.dumps(synthetic_trees()))
    assert write(tmp_path) == tmp_path / "report.html"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "summary.json", "trees.json"]
    assert (tmp_path / "report.html").read_text() == render(synthetic_summary(), synthetic_trees())


def test_a_study_without_trees_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps(with_gaps()))
    assert write(tmp_path).exists()


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "{",
        "[]",
        '{"schema": 2}',
        '{"schema": 1}',
        '{"schema": 1, "study": 3}',
        "\x00",
        "NaN",
        "[" * 100_000,
    ],
)
def test_missing_or_damaged_summary_is_one_line(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "summary.json").write_text(text)
    for read in (write, load):
        with pytest.raises(MullError) as caught:
            read(tmp_path)
        assert "\n" not in str(caught.value)
        assert "summary.json" in str(caught.value)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    "field", ["study", "problems", "base", "arms", "difficulty", "compute_optimal", "headline", "warnings"]
)
@pytest.mark.parametrize("value", [None, "text", [3], {"a": "b"}])
def test_a_field_of_the_wrong_kind_is_an_error_or_a_page(field: str, value: Any) -> None:
    summary = synthetic_summary()
    summary[field] = value
    try:
        render(summary, [])
    except MullError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(value, dict) or field == "warnings"


def test_not_a_number_is_refused() -> None:
    summary = synthetic_summary()
    summary["arms"][0]["accuracy"] = math.nan
    with pytest.raises(MullError, match="JSON"):
        render(summary, [])


@pytest.mark.parametrize("trees", [{}, "x", [3], [{"nodes": 3}], [{"nodes": [{}]}]])
def test_damaged_trees_are_refused(trees: Any) -> None:
    with pytest.raises(MullError):
        render(synthetic_summary(), trees)


def test_every_arm_is_in_a_series_and_square_root_widths_are_one() -> None:
    arms = synthetic_summary()["arms"]
    series = group(arms)
    assert {i for s in series for i in s.arms} == set(range(len(arms)))
    root = next(s for s in series if "√N" in s.label)
    assert [arms[i]["params"]["width"] for i in root.arms] == [2, 4, 8, 16]
    assert [s.label for s in series if s.main] == [
        "Majority",
        "Best-of-N weighted",
        "Beam, width 4",
        "Lookahead, k=3, width 4",
        "Beam, width √N",
    ]


def test_the_finding_says_gain_doubt_loss_and_gap() -> None:
    summary = synthetic_summary()
    ratios = summary["headline"]["equal_accuracy_ratio"]
    ratios["predicted"]["generations_ci95"] = [0.9, 4.0]
    ratios["charged"]["generations_ci95"] = [0.4, 0.8]
    gain, doubt, loss = sentences(summary)[-3:]
    assert "needs 3.10 times the policy's generations" in gain and "includes 1" not in gain
    assert "the interval includes 1" in doubt
    assert "the policy needs 1.67 times the generations of best-of-N weighted" in loss and "a loss" in loss
    assert "no ratio" in sentences(with_gaps())[-1]
    ratios["oracle"]["generations"] = None
    assert "no ratio" in sentences(summary)[-3] and "no ratio" not in sentences(summary)[-2]


@pytest.mark.parametrize("make", [synthetic_summary, with_gaps])
def test_table_fits_100_columns(make: Any) -> None:
    console = Console(width=100, record=True, file=io.StringIO(), color_system=None)
    console.print(table(make()))
    text = console.export_text()
    assert all(len(line.rstrip()) <= 100 for line in text.splitlines())
    for shown in ("Majority", "Best-of-N weighted", "Beam, width 4", "policy, difficulty charged", "256"):
        assert shown in text
    assert "…" not in text


def test_a_table_with_too_many_budgets_leaves_no_line_empty() -> None:
    summary = synthetic_summary()
    rows = {row["budget"]: row for row in summary["compute_optimal"]}
    summary["compute_optimal"] = [{**rows[1], "budget": 1 << i} for i in range(9)]
    lone = {**summary["arms"][0], "strategy": "dvts", "params": {"width": 4}}
    summary["arms"] += [{**lone, "budget": 8, "params": {"width": w}} for w in (2, 4)]
    console = Console(width=100, record=True, file=io.StringIO(), color_system=None)
    console.print(table(summary))
    lines = console.export_text().splitlines()
    assert lines[1].split() == ["generations", "1", "4", "8", "16", "64", "256"]
    for line in (line for line in lines if line.startswith(("DVTS", "Beam", "Look"))):
        assert "±" in line, line


def test_an_unbounded_interval_is_said_and_holds_one() -> None:
    summary = synthetic_summary()
    row = summary["headline"]["equal_accuracy_ratio"]["charged"]
    row |= {"generations": 2.0, "generations_ci95": [0.8, None]}
    text = sentences(summary)[-1]
    assert "0.80 or more" in text and "includes 1" in text
    row["generations_ci95"] = [1.2, None]
    assert "includes 1" not in sentences(summary)[-1]


def test_table_escapes_markup_and_names_gaps() -> None:
    summary = with_gaps()
    summary["study"]["name"] = "[bold]x[/nope]"
    summary["warnings"] = ["[red]careful[/nope]"]
    console = Console(width=100, record=True, file=io.StringIO(), color_system=None)
    console.print(table(copy.deepcopy(summary)))
    text = console.export_text()
    assert "[bold]x[/nope]" in text and "[red]careful" in text and "not reached" in text
