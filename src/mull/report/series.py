"""Arms grouped into the lines that a reader compares, each with a plain name.

A series is one strategy with fixed hyperparameters across budgets. Beam widths that
are the square root of the budget form one series, as in the paper. Order is the order
of a legend: majority, best-of-N weighted, searches, then everything else.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Role = Literal["majority", "weighted", "plain", "search"]
_ORDER: tuple[Role, ...] = ("majority", "weighted", "search", "plain")

#: Plain names of strategies; others are shown with their underscores replaced.
NAMES = {
    "majority": "Majority",
    "best_of_n": "Best-of-N",
    "bon": "Best-of-N",
    "best_of_n_weighted": "Best-of-N weighted",
    "bon_weighted": "Best-of-N weighted",
    "weighted": "Best-of-N weighted",
    "beam": "Beam",
    "lookahead": "Lookahead",
    "dvts": "DVTS",
    "single": "One sample",
    "greedy": "Greedy",
}


@dataclass(frozen=True)
class Series:
    """A line: where its arms are in ``summary["arms"]``, cheapest first."""

    key: str
    label: str
    role: Role
    verifier: str
    aggregation: str
    arms: tuple[int, ...]
    main: bool = False

    def as_json(self) -> dict[str, Any]:
        """The series as the page's script reads it."""
        return asdict(self)


def plain_name(strategy: str) -> str:
    """The strategy's name in words."""
    return NAMES.get(strategy, strategy.replace("_", " ").capitalize())


def role(arm: Mapping[str, Any]) -> Role:
    """What an arm is to the comparison: a vote, a weighted vote, a pick, or a search."""
    name = str(arm["strategy"]).lower()
    params = arm.get("params") or {}
    if "majority" in name or name in ("self_consistency", "vote"):
        return "majority"
    if name in ("best_of_n", "bon", "best_of_n_weighted", "bon_weighted", "weighted"):
        chosen = str(params.get("selector", params.get("select", "")))
        return "weighted" if "weighted" in name + chosen or params.get("weighted") is True else "plain"
    return "search"


def group(arms: Sequence[Mapping[str, Any]]) -> list[Series]:
    """The arms' series; every arm is in at least one."""
    lines: dict[tuple[str, str], list[int]] = defaultdict(list)
    roots: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, arm in enumerate(arms):
        params = dict(arm.get("params") or {})
        lines[str(arm["strategy"]), _inner(params)].append(i)
        width = params.pop("width", None)
        if isinstance(width, int) and width > 1 and width * width == arm["budget"]:
            roots[str(arm["strategy"]), _inner({"width": "√N", **params})].append(i)
    for key, members in roots.items():
        if len({arms[i]["params"]["width"] for i in members}) > 1:
            lines[key] = members
    rooted = {i for key, members in lines.items() if key in roots for i in members}
    kept = {
        key: members
        for key, members in lines.items()
        if key in roots or len(members) > 1 or members[0] not in rooted
    }
    made = [_series(arms, key, members) for key, members in kept.items()]
    made.sort(key=lambda s: (_ORDER.index(s.role), len(s.arms) == 1))
    return _mark_main(made)


def _inner(params: Mapping[str, Any]) -> str:
    shown = {k: v for k, v in sorted(params.items()) if v is not None and v != ""}
    return ", ".join(
        f"{k}{'=' if len(k) == 1 else ' '}{'√N' if v == 'sqrt' else v}" for k, v in shown.items()
    )


def _series(arms: Sequence[Mapping[str, Any]], key: tuple[str, str], members: Sequence[int]) -> Series:
    strategy, inner = key
    first = arms[members[0]]
    params = dict(first.get("params") or {})
    part = role(first)
    verifier = str(params.pop("verifier", "") or "").lower()
    aggregation = str(params.pop("aggregation", "") or "").lower()
    if part == "search":
        label = f"{plain_name(strategy)}, {inner}" if inner else plain_name(strategy)
    else:
        name = {"majority": "Majority", "weighted": "Best-of-N weighted", "plain": "Best-of-N"}[part]
        extra = " ".join(x for x in (verifier.upper() if part != "majority" else "", aggregation) if x)
        label = f"{name}, {extra}" if extra else name
    ordered = tuple(sorted(members, key=lambda i: (arms[i].get("generations") or 0, arms[i]["budget"])))
    return Series(f"{strategy}|{inner}", label, part, verifier, aggregation, ordered)


def _mark_main(made: list[Series]) -> list[Series]:
    """Mark the lines of the main figure: one majority, one weighted, every search."""
    chosen: dict[str, str] = {}
    for part in ("majority", "weighted", "plain"):
        pool = [s for s in made if s.role == part]
        pool.sort(
            key=lambda s: (s.verifier not in ("prm", ""), s.aggregation not in ("last", ""), -len(s.arms))
        )
        if pool:
            chosen[part] = pool[0].key
    if "weighted" in chosen:
        chosen.pop("plain", None)
    main = set(chosen.values())
    return [
        Series(
            s.key,
            plain_name(s.role) if s.role in ("majority", "weighted") and s.key in main else s.label,
            s.role,
            s.verifier,
            s.aggregation,
            s.arms,
            s.role == "search" or s.key in main,
        )
        for s in made
    ]


def finite(value: object) -> float | None:
    """The number, or None where nothing was measured."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
