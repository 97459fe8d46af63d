"""The policy as an object and as a file: what to run, by difficulty and budget.

It holds the fitted map with what was expected of it and where it came from; it writes a
readable ``policy.json`` and refuses any file that it would not have written. It never
fits, and never runs an arm.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from mull.difficulty import assign
from mull.errors import MullError
from mull.problems import Problem
from mull.strategies.base import Arm
from mull.study import store

#: The file's format; a file with another one is refused.
VERSION = 2


@dataclass(frozen=True)
class Entry:
    """What one bin gets at one budget, and what to expect of it.

    ``accuracy`` and ``ci95`` are the arm's, over the bin's ``problems`` it was chosen on, so
    a little optimistic; :attr:`Row.held_out` is not. With ``problems`` 0 the bin was empty and
    has the arm that is best over all problems. Costs are means a problem, any probe included.

    Where an average budget runs out within a bin, a ``share`` of its problems gets ``arm`` and
    the others ``other``; all figures are then the mixture's.
    """

    arm: Arm
    accuracy: float
    ci95: tuple[float, float]
    generations: float
    tokens: float
    flops: float
    problems: int
    share: float = 1.0
    other: Arm | None = None

    def arm_for(self, key: str) -> Arm:
        """The arm of the problem ``key`` (its prompt, say), always the same one."""
        if self.other is None:
            return self.arm
        place = int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
        return self.arm if place < self.share * 2**64 else self.other


@dataclass(frozen=True)
class Row:
    """The policy at one budget (generations): an entry a bin, easiest first.

    The budget is each problem's own in :attr:`Policy.rows`, and the mean over problems in
    :attr:`Policy.average`.

    ``probe`` is how many samples are taken first to find the bin (charged difficulty; 0:
    none). A pool arm counts them among its own samples, a search arm adds them to its final
    vote: ``entry.arm.budget + probe`` is within the budget then. ``held_out`` is the
    cross-validated accuracy over all problems, None if not measured.
    """

    budget: int
    thresholds: tuple[float, ...]
    entries: tuple[Entry, ...]
    probe: int = 0
    held_out: float | None = None

    def bin_of(self, value: float) -> int:
        """The bin of a problem by its difficulty value (NaN: the hardest)."""
        return int(assign(np.asarray([value]), self.thresholds)[0])


@dataclass(frozen=True)
class Provenance:
    """Where a policy came from; ``content_hash`` is the study's."""

    study: str
    content_hash: str
    engine: str
    verifier: str
    seed: int


@dataclass(frozen=True)
class Policy:
    """Rows in order of budget, by kind of difficulty (``oracle``, ``predicted``, ``charged``).

    ``rows`` give every problem the same budget, as the paper does; ``average`` has the
    allocating policy, which fixes the mean and lets easy and hopeless problems give to the others.
    """

    rows: Mapping[str, tuple[Row, ...]]
    provenance: Provenance
    average: Mapping[str, tuple[Row, ...]] = field(default_factory=dict)

    def row(self, budget: int, kind: str, *, average: bool = False) -> Row:
        """The row of the largest fitted budget that is at most ``budget`` generations."""
        chart = self.average if average else self.rows
        if kind not in chart:
            what = f"{kind!r} difficulty" + (" with an average budget" if average else "")
            raise MullError(f"the policy has no {what}; it has: {', '.join(sorted(chart)) or 'none'}")
        within = [row for row in chart[kind] if row.budget <= budget]
        if not within:
            least = chart[kind][0].budget
            raise MullError(f"a budget of {budget} is below the policy's smallest, {least} generations")
        return within[-1]


def choose(
    policy: Policy,
    budget: int,
    *,
    kind: str = "predicted",
    value: float | None = None,
    bin: int | None = None,
    average: bool = False,
    key: str = "",
) -> Arm:
    """The arm for a problem of difficulty ``value``, or in ``bin`` (0 = easiest), within ``budget``.

    With ``average`` the budget is the mean over problems; ``key`` (the prompt, say) decides
    where a bin's problems are divided between two arms.
    """
    row = policy.row(budget, kind, average=average)
    if (value is None) == (bin is None):
        raise MullError("choosing an arm needs a difficulty value or a bin, one of the two")
    place = row.bin_of(value) if value is not None else int(bin or 0)
    if not 0 <= place < len(row.entries):
        raise MullError(f"the policy has no difficulty bin {place}; it has 0 to {len(row.entries) - 1}")
    return row.entries[place].arm_for(key)


def save(policy: Policy, path: Path) -> None:
    """Write ``path``, through a temporary name beside it."""
    body = {
        "version": VERSION,
        "provenance": asdict(policy.provenance),
    }
    for name, charts in (("rows", policy.rows), ("average", policy.average)):
        body[name] = {kind: [_row_out(row) for row in rows] for kind, rows in charts.items()}
    store.write_text(path, json.dumps(body, indent=1, allow_nan=False) + "\n")


def load(path: Path | str) -> Policy:
    """Read what :func:`save` wrote; :class:`MullError` names the file and the field that is wrong."""
    path = Path(path)
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        hint = "; name the policy.json in it ('mull policy fit DIR' writes one)" if path.is_dir() else ""
        raise MullError(f"cannot read {path}: {error.strerror}{hint}") from None
    except ValueError as error:
        raise MullError(f"{path} is not JSON: {error}") from None
    found = _Reader(path)
    found.need(isinstance(body, dict), "policy", "must be an object")
    version = found.get(body, "version", int, "")
    found.need(version == VERSION, "version", f"is {version}, not {VERSION}; fit the policy again")
    source = found.get(body, "provenance", dict, "")
    names = [f.name for f in fields(Provenance)]
    origin = {n: found.get(source, n, int if n == "seed" else str, "provenance.") for n in names}
    rows = found.charts(body, "rows")
    found.need(bool(rows), "rows", "is empty")
    return Policy(rows, Provenance(**origin), found.charts(body, "average"))


def _row_out(row: Row) -> dict[str, Any]:
    body = asdict(row)
    for entry in body["entries"]:
        for name in ("arm", "other"):
            if entry[name] is not None:
                entry[name]["params"] = dict(entry[name]["params"])
        if entry["other"] is None:
            del entry["other"], entry["share"]
    return body


class _Reader:
    """Takes fields out of parsed JSON, or says which one of which file is wrong."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def need(self, holds: bool, field: str, why: str) -> None:
        if not holds:
            raise MullError(f"{self.path}: field {field!r} {why}")

    def get(self, body: Any, name: str, kind: type, at: str) -> Any:
        self.need(isinstance(body, dict), at.rstrip(".") or "policy", "must be an object")
        self.need(name in body, at + name, "is missing")
        value = body[name]
        if kind is float:
            good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            self.need(good, at + name, "must be a finite number")
            return float(value)
        good = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
        words = {int: "a whole number", str: "text", dict: "an object", list: "a list"}
        self.need(good, at + name, f"must be {words.get(kind, kind.__name__)}")
        return value

    def numbers(self, body: Any, name: str, at: str) -> tuple[float, ...]:
        listed = self.get(body, name, list, at)
        return tuple(self.get({str(i): v}, str(i), float, f"{at}{name}.") for i, v in enumerate(listed))

    def charts(self, body: Any, name: str) -> dict[str, tuple[Row, ...]]:
        made = {}
        for kind, listed in self.get(body, name, dict, "").items():
            at = f"{name}.{kind}"
            self.need(isinstance(listed, list) and bool(listed), at, "must be a list of at least one row")
            made[kind] = tuple(self.row(row, f"{at}[{i}].") for i, row in enumerate(listed))
            budgets = [row.budget for row in made[kind]]
            self.need(budgets == sorted(set(budgets)), at, "must be in order of budget, each once")
        return made

    def row(self, body: Any, at: str) -> Row:
        budget = self.get(body, "budget", int, at)
        self.need(budget >= 1, at + "budget", "must be at least 1")
        probe = self.get(body, "probe", int, at)
        self.need(0 <= probe <= budget, at + "probe", "must be within the budget")
        thresholds = self.numbers(body, "thresholds", at)
        falls = all(a >= b for a, b in pairwise(thresholds))
        self.need(falls, at + "thresholds", "must not increase")
        listed = self.get(body, "entries", list, at)
        entries = tuple(self.entry(entry, f"{at}entries[{i}].") for i, entry in enumerate(listed))
        wanted = len(thresholds) + 1
        self.need(len(entries) == wanted, at + "entries", f"must hold one entry a bin, {wanted}")
        self.need("held_out" in body, at + "held_out", "is missing")
        held_out = None if body["held_out"] is None else self.share(body, "held_out", at)
        return Row(budget, thresholds, entries, probe, held_out)

    def share(self, body: Any, name: str, at: str) -> float:
        value: float = self.get(body, name, float, at)
        self.need(0 <= value <= 1, at + name, "must be in [0, 1]")
        return value

    def entry(self, body: Any, at: str) -> Entry:
        arm = self.arm(self.get(body, "arm", dict, at), at + "arm.")
        ci = self.numbers(body, "ci95", at)
        self.need(len(ci) == 2 and ci[0] <= ci[1], at + "ci95", "must be two numbers, low and high")
        costs = {name: self.get(body, name, float, at) for name in ("generations", "tokens", "flops")}
        for name, value in costs.items():
            self.need(value >= 0, at + name, "must not be negative")
        problems = self.get(body, "problems", int, at)
        self.need(problems >= 0, at + "problems", "must not be negative")
        share, other = 1.0, None
        if "other" in body:
            share, other = (
                self.share(body, "share", at),
                self.arm(self.get(body, "other", dict, at), at + "other."),
            )
        accuracy = self.share(body, "accuracy", at)
        return Entry(arm, accuracy, (ci[0], ci[1]), **costs, problems=problems, share=share, other=other)

    def arm(self, body: Any, at: str) -> Arm:
        from mull.strategies import find, start  # here, since this import registers them all

        name = self.get(body, "strategy", str, at)
        budget = self.get(body, "budget", int, at)
        self.need(budget >= 1, at + "budget", "must be at least 1")
        params = self.get(body, "params", dict, at)
        try:
            known = find(name).params
        except MullError as error:
            raise MullError(f"{self.path}: field '{at}strategy': {error}") from None
        for key, value in params.items():
            field, listed = f"{at}params.{key}", ", ".join(known) or "none"
            self.need(key in known, field, f"is no parameter of {name!r}; its parameters: {listed}")
            self.need(isinstance(value, int | float | str), field, "must be a number, text or a switch")
        arm = Arm(name, budget, tuple(params.items()))
        try:
            start(arm, Problem("policy", "?")).close()
        except MullError as error:
            raise MullError(f"{self.path}: field '{at.rstrip('.')}': {error}") from None
        return arm
