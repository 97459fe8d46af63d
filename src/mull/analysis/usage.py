"""What recording a study took of the servers it was asked of: requests, tokens, cache hits, dollars.

Everything that was asked counts once, as the servers counted it; what failed and was asked again
counts with what came of it. The module adds up; it prices only what has a price.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import polars as pl

from mull.models import ModelSpec, VerifierSpec, model_spec
from mull.strategies.base import find
from mull.study import store
from mull.study.folder import Recorded
from mull.study.plan import Unit

_COUNTS = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "verifier_tokens")


def usage(recorded: Recorded) -> dict[str, Any] | None:
    """Totals and a row a kind of unit; None for a study of mull's own models.

    What came from a record of answers is in all counts, as it was recorded; ``replayed``, where there
    is any, says how much that was.
    """
    study = recorded.study
    if not study.outside:
        return None
    rows: dict[str, dict[str, Any]] = {}
    for unit in recorded.units:
        row = rows.setdefault(unit.label, {"what": unit.label, **dict.fromkeys(_COUNTS, 0), "dollars": 0.0})
        for name, count in _counts(unit, recorded.read(unit)):
            row[name] += count
        cost = _dollars(recorded, unit, recorded.read(unit))
        row["dollars"] = None if cost is None or row["dollars"] is None else row["dollars"] + cost
    listed = list(rows.values())
    total: dict[str, Any] = {name: sum(row[name] for row in listed) for name in _COUNTS}
    priced = [row["dollars"] for row in listed]
    total["dollars"] = None if None in priced else sum(priced)
    counts = [store.replayed(recorded.shard(unit)) for unit in recorded.units]
    if any(counts):
        total["replayed"] = {
            name: sum(found.get(name, 0) for found in counts) for name in ("answers", *_COUNTS)
        }
    for row in (total, *listed):
        row["cache_hit_rate"] = row["cached_tokens"] / row["prompt_tokens"] if row["cached_tokens"] else None
    return {**total, "by": listed}


def uncounted(recorded: Recorded) -> list[str]:
    """A line for every kind of unit whose requests have fewer prompt tokens than the shortest prompt each.

    Some servers give no usage with a stream that is cut where a step ends, and some never do.
    """
    if not model_spec(recorded.study.engine).served:
        return []
    totals: dict[str, Counter[str]] = {}
    shortest: list[int] = []
    for unit in recorded.units:
        # A reviser or a larger model may have another tokenizer.
        if unit.kind not in ("pool", "arm") or (unit.arm is not None and find(unit.arm.strategy).reviser):
            continue
        frame = recorded.read(unit)
        totals.setdefault(unit.label, Counter()).update(dict(_counts(unit, frame)))
        if unit.kind == "pool":
            shortest += [count for count in frame["sent_tokens"].to_list() if count]
    least = min(shortest, default=1)
    return [
        f"{label}: the server did not count all of its answers: {total['prompt_tokens']:,} prompt tokens in "
        f"{total['requests']:,} requests"
        for label, total in totals.items()
        if total["prompt_tokens"] < total["requests"] * least
    ]


def _counts(unit: Unit, frame: pl.DataFrame) -> Iterator[tuple[str, int]]:
    """What one shard says was asked."""

    def total(*names: str) -> int:
        return sum(int(frame[name].sum() or 0) for name in names if name in frame.columns)

    yield "requests", total("requests")
    yield "prompt_tokens", total("prompt_tokens" if unit.kind == "arm" else "sent_tokens")
    yield "cached_tokens", total("cached_tokens")
    yield "completion_tokens", total("completion_tokens" if unit.kind == "arm" else "tokens")
    yield "verifier_tokens", total("verifier_tokens") if unit.kind == "arm" else _read(frame)


def _read(frame: pl.DataFrame) -> int:
    """Tokens that the verifiers of a pool read."""
    own = [name for name in ("prm", "orm") if f"{name}_tokens" in frame.columns]
    once = frame.unique("problem")
    return sum(int(frame[f"{n}_tokens"].sum()) + int(once[f"{n}_prompt_tokens"].sum()) for n in own)


def _dollars(recorded: Recorded, unit: Unit, frame: pl.DataFrame) -> float | None:
    """What one shard cost, None where a model's price is not known; mull's own models are free."""
    study, counts = recorded.study, dict(_counts(unit, frame))
    asked: list[str | ModelSpec | None] = [study.engine]
    if unit.kind in ("chains", "larger"):
        asked = [study.reviser if unit.kind == "chains" else study.larger]
    elif unit.arm is not None and find(unit.arm.strategy).reviser:
        asked.append(study.reviser)
    specs = [model_spec(named) for named in asked if named is not None]
    prompt, cached, written = (counts[n] for n in ("prompt_tokens", "cached_tokens", "completion_tokens"))
    # Where two models share an arm's tokens, the dearer one's price is an upper bound.
    bills = [0.0 if not spec.served else spec.dollars(prompt, cached, written) for spec in specs]
    read = max(
        (v.price or 0.0 for v in (study.prm, study.orm, study.revision) if isinstance(v, VerifierSpec)),
        default=0.0,
    )
    known = [bill for bill in bills if bill is not None]
    if len(known) < len(bills):
        return None
    return max(known, default=0.0) + counts["verifier_tokens"] * read / 1e6
