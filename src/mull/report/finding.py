"""What the study found, in sentences made from its numbers.

The sentences claim no more than the interval allows: a ratio whose interval holds 1 is
not called a saving, a ratio under 1 is called a loss, a missing one is called missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mull.report.series import finite

#: The three ways an adaptive policy learns a problem's difficulty, in words.
POLICIES = {
    "oracle": "with the true difficulty known for free",
    "predicted": "with difficulty predicted by the verifier, still for free",
    "charged": "with the cost of predicting difficulty charged to it",
}


def percent(value: object, digits: int = 1) -> str:
    """A fraction as a percentage, or a dash."""
    number = finite(value)
    return "–" if number is None else f"{100 * number:.{digits}f}\u00a0%"


def interval(value: object, scale: float = 1.0, digits: int = 1) -> str:
    """``low to high``; ``low or more`` where it has no upper end; empty where there is none."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return ""
    low, high = finite(value[0]), finite(value[1])
    if low is None:
        return ""
    if high is None:
        return f"{low * scale:.{digits}f} or more"
    return f"{low * scale:.{digits}f} to {high * scale:.{digits}f}"


def holds_one(value: object) -> bool:
    """Whether an interval of a ratio includes 1; no upper end means unbounded."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return False
    low, high = finite(value[0]), finite(value[1])
    return low is not None and low <= 1 and (high is None or high >= 1)


def ratio(row: Mapping[str, Any] | None, unit: str) -> str:
    """A headline ratio with its interval, such as ``2.9 (1.8 to 4.1)``."""
    number = finite((row or {}).get(unit))
    if number is None:
        return "not reached"
    span = interval((row or {}).get(f"{unit}_ci95"), digits=2)
    return f"{number:.2f} ({span})" if span else f"{number:.2f}"


def sentences(summary: Mapping[str, Any]) -> list[str]:
    """The finding: the base model, then one sentence for each policy, the costly one last."""
    base, problems = summary["base"], summary["problems"]
    found = [
        f"On {problems} problems a single sample is right {percent(base.get('pass_at_1'))} of the time"
        f"{_span_percent(base.get('ci95'))}."
    ]
    best = _best_fixed(summary)
    if best:
        found.append(best)
    found.append("Now let a policy choose the method by difficulty and budget.")
    ratios = summary["headline"].get("equal_accuracy_ratio") or {}
    if all(finite((ratios.get(name) or {}).get("generations")) is None for name in POLICIES):
        found.append(
            "However difficulty is estimated, no accuracy is reached by both the policy and "
            "best-of-N weighted, so there is no ratio to report."
        )
    else:
        found += [_policy(words, ratios.get(name)) for name, words in POLICIES.items()]
    return found


def _span_percent(value: object) -> str:
    span = interval(value, scale=100)
    return f" (95\u00a0% interval {span})" if span else ""


def _best_fixed(summary: Mapping[str, Any]) -> str:
    rows = [r for r in summary["compute_optimal"] if finite(r.get("best_of_n")) is not None]
    if not rows:
        return ""
    last = max(rows, key=lambda r: float(r["budget"]))
    text = f"Best-of-N weighted reaches {percent(last['best_of_n'])} at {last['budget']} generations"
    if finite(last.get("majority")) is not None:
        text += f", majority voting {percent(last['majority'])}"
    return text + "."


def _policy(words: str, row: Mapping[str, Any] | None) -> str:
    number = finite((row or {}).get("generations"))
    lead = f"{words[0].upper()}{words[1:]}, "
    if row is None or number is None or number <= 0:
        return f"{lead}no accuracy is reached by both the policy and best-of-N weighted: no ratio to report."
    where = "accuracy" if finite(row.get("accuracy")) is None else f"{percent(row['accuracy'])} accuracy"
    span = interval(row.get("generations_ci95"), digits=2)
    notes = [f"95\u00a0% interval {span}" if span else "no interval"]
    if finite(row.get("flops")) is not None:
        notes.append(f"in FLOPs {row['flops']:.2f}")
    bracket = "; ".join(notes)
    if number >= 1:
        text = f"best-of-N weighted needs {number:.2f} times the policy's generations for the same {where}"
        text += f" ({bracket})"
    else:
        text = f"the policy needs {1 / number:.2f} times the generations of best-of-N weighted"
        loss = "" if holds_one(row.get("generations_ci95")) else ": a loss"
        text += f" for the same {where}{loss} (ratio {number:.2f}, {bracket})"
    if holds_one(row.get("generations_ci95")):
        text += "; the interval includes 1, so neither a saving nor a loss is established"
    return lead + text + "."
