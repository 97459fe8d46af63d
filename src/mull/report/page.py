"""The study's page: one HTML file that opens offline and shows every number.

Invariant: nothing from a study reaches the page's markup unescaped. The finding is
HTML-escaped here; all else travels as JSON with every ``<`` escaped and is set by the
script as text.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from mull.errors import MullError
from mull.report.finding import sentences
from mull.report.series import NAMES, finite, group
from mull.study import store

SCHEMA = 1
_SCRIPTS = ("core.js", "chart.js", "tree.js", "report.js", "sections.js")
_OBJECTS = ("study", "base", "difficulty", "headline")
_LISTS = ("arms", "compute_optimal", "warnings")


def render(summary: Mapping[str, Any], trees: Sequence[Mapping[str, Any]]) -> str:
    """The page for a study's summary and search trees (see ``docs/summary.md``).

    Raises :class:`MullError` where the summary is not one that this version can read.
    """
    check(summary)
    check_trees(trees)
    series = [s.as_json() for s in group(summary["arms"])]
    try:
        data = _embed({"summary": summary, "trees": list(trees), "series": series, "names": NAMES})
    except (ValueError, TypeError) as error:
        raise MullError(f"the summary cannot be written as JSON: {error}") from error
    finding = sentences(summary)
    page = Template(_static("page.html"))
    return page.substitute(
        title=html.escape(str(summary["study"].get("name") or "Study")),
        lede=html.escape(" ".join(finding)),
        css=_static("report.css"),
        data=data,
        js="\n".join(_static(name) for name in _SCRIPTS),
    )


def write(folder: Path) -> Path:
    """Write ``folder/report.html`` from its ``summary.json`` and ``trees.json``, and say where.

    A study without ``trees.json`` gets a page that says that no tree was recorded. The
    page appears whole or not at all.
    """
    summary = load(folder)
    path = folder / "trees.json"
    trees = _read(path) if path.exists() else []
    target = folder / "report.html"
    # A lone surrogate in a sampled text cannot be written; it becomes a question mark.
    text = render(summary, trees).encode("utf-8", errors="replace").decode("utf-8")
    store.write_text(target, text)
    return target


def load(folder: Path) -> Mapping[str, Any]:
    """The checked ``summary.json`` of a study's folder."""
    path = folder / "summary.json"
    summary = _read(path)
    try:
        check(summary)
    except MullError as error:
        raise MullError(f"{path}: {error}") from error
    assert isinstance(summary, dict)
    return summary


def check(summary: object) -> None:
    """Raise :class:`MullError` unless ``summary`` keeps to the contract that the page relies on."""
    if not isinstance(summary, Mapping):
        raise MullError("the summary is not a JSON object")
    if summary.get("schema") != SCHEMA:
        raise MullError(f"schema {summary.get('schema')!r} is unknown; this mull reads schema {SCHEMA}")
    for name in _OBJECTS:
        if not isinstance(summary.get(name), Mapping):
            raise MullError(f"field {name!r} is missing or not an object")
    for name in _LISTS:
        if not isinstance(summary.get(name), list):
            raise MullError(f"field {name!r} is missing or not a list")
    if finite(summary.get("problems")) is None:
        raise MullError("field 'problems' is missing or not a number")
    for name in ("arms", "compute_optimal"):
        for i, row in enumerate(summary[name]):
            if not isinstance(row, Mapping) or finite(row.get("budget")) is None:
                raise MullError(f"{name}[{i}] has no budget")
    for i, arm in enumerate(summary["arms"]):
        if not isinstance(arm.get("strategy"), str):
            raise MullError(f"arms[{i}] has no strategy")
        if not isinstance(arm.get("params") or {}, Mapping):
            raise MullError(f"arms[{i}]: 'params' is not an object")
    ratios = summary["headline"].get("equal_accuracy_ratio") or {}
    if not isinstance(ratios, Mapping) or any(
        r is not None and not isinstance(r, Mapping) for r in ratios.values()
    ):
        raise MullError("headline.equal_accuracy_ratio is not an object of objects")


def check_trees(trees: object) -> None:
    """Raise :class:`MullError` unless ``trees`` is a list of trees with nodes."""
    if not isinstance(trees, Sequence) or isinstance(trees, str):
        raise MullError("the trees are not a JSON list")
    for i, tree in enumerate(trees):
        nodes = tree.get("nodes") if isinstance(tree, Mapping) else None
        if not isinstance(nodes, Sequence) or not all(isinstance(n, Mapping) and "id" in n for n in nodes):
            raise MullError(f"tree {i} has no list of nodes with ids")


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MullError(f"{path} is not there; run the study first") from None
    except OSError as error:
        raise MullError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise MullError(f"{path} is damaged: {str(error).splitlines()[0]}") from error


def _embed(value: object) -> str:
    """JSON that no HTML parser can mistake for markup; raises on NaN."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _static(name: str) -> str:
    return resources.files("mull.report").joinpath("static", name).read_text(encoding="utf-8")
