"""The terminal's table at the end of a study: accuracy by budget, policies, headline.

At most 100 columns wide: where a study has more budgets than fit, the table keeps the
first, the last and those at which most was measured, so that no line stays empty while
there is room.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from mull.report.finding import POLICIES, ratio
from mull.report.page import check
from mull.report.series import finite, group

_COLUMNS = 6
_POLICY_ROWS = {
    "oracle": "policy, oracle difficulty",
    "predicted": "policy, predicted difficulty",
    "charged": "policy, difficulty charged",
}


def table(summary: Mapping[str, Any]) -> Group:
    """What a terminal shows of a summary: two tables, a third if servers were asked, and the warnings."""
    check(summary)
    parts: list[Table | Text] = [_accuracy(summary), _headline(summary)]
    if summary.get("usage"):
        parts.append(_usage(summary["usage"]))
    parts += [Text(f"warning: {sentence}", style="yellow") for sentence in summary["warnings"]]
    return Group(*parts)


def _accuracy(summary: Mapping[str, Any]) -> Table:
    arms, optimal = summary["arms"], summary["compute_optimal"]
    lines = [s for s in group(arms) if s.main]
    at = {float(row["budget"]): row for row in optimal}
    budgets = _shown([{float(arms[i]["budget"]) for i in line.arms} for line in lines] + [set(at)])
    study = summary["study"]
    made = Table(
        title=Text(f"{study.get('name') or 'study'}: accuracy in % on {summary['problems']} problems"),
        caption="± is half the 95 % interval; – is not measured",
        caption_justify="left",
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
    )
    made.add_column("generations", overflow="ellipsis", no_wrap=True, max_width=30)
    for budget in budgets:
        made.add_column(f"{budget:g}", justify="right", no_wrap=True)
    for line in lines:
        rows = {float(arms[i]["budget"]): arms[i] for i in line.arms}
        cells = [_cell(rows.get(b), "accuracy", "ci95") for b in budgets]
        made.add_row(Text(line.label), *cells)
    made.add_section()
    for name, label in _POLICY_ROWS.items():
        made.add_row(label, *(_cell(at.get(b), name, f"{name}_ci95") for b in budgets), style="bold")
    return made


def _headline(summary: Mapping[str, Any]) -> Table:
    made = Table(
        title="best-of-N weighted's compute over the policy's, at equal accuracy (above 1: the policy saves)",
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
    )
    sized = _sized(summary)
    for name in ("policy", "in generations", "in FLOPs" if sized else "in tokens", "at accuracy"):
        made.add_column(name, justify="left" if name == "policy" else "right", no_wrap=True)
    ratios = summary["headline"].get("equal_accuracy_ratio") or {}
    for name in POLICIES:
        row = ratios.get(name)
        where = finite((row or {}).get("accuracy"))
        shown = "–" if where is None else f"{100 * where:.1f} %"
        second = ratio(row, "flops" if sized else "completion_tokens")
        made.add_row(_POLICY_ROWS[name], ratio(row, "generations"), second, shown)
    return made


def _sized(summary: Mapping[str, Any]) -> bool:
    """Whether FLOPs are known."""
    return not summary["arms"] or any(finite(arm.get("flops")) is not None for arm in summary["arms"])


def _usage(found: Mapping[str, Any]) -> Table:
    """What the study took of its servers."""
    made = Table(
        title="asked of the models",
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
    )
    for name in ("", "requests", "prompt tokens", "from cache", "sampled", "verified", "dollars"):
        made.add_column(name, justify="right" if name else "left", no_wrap=True, max_width=30)
    for row in (*found["by"], {"what": "all", **found}):
        rate, dollars = finite(row["cache_hit_rate"]), finite(row["dollars"])
        counts = [f"{row[n]:,}" for n in ("requests", "prompt_tokens")]
        counts.append("–" if rate is None else f"{rate:.0%}")
        counts += [f"{row[n]:,}" for n in ("completion_tokens", "verifier_tokens")]
        made.add_row(Text(str(row["what"])), *counts, "unknown" if dollars is None else f"{dollars:,.2f}")
    if "replayed" in found:
        row, rate = found["replayed"], found["replayed"]["cached_tokens"]
        counts = [f"{row[n]:,}" for n in ("requests", "prompt_tokens")]
        counts.append(f"{rate / row['prompt_tokens']:.0%}" if rate else "–")
        counts += [f"{row[n]:,}" for n in ("completion_tokens", "verifier_tokens")]
        made.add_row("of these from the record", *counts, "–")
    return made


def _cell(row: Mapping[str, Any] | None, name: str, span: str) -> str:
    """``33.7 ±2.1``; a dash where nothing was measured."""
    number = finite((row or {}).get(name))
    if number is None:
        return "–"
    ends = (row or {}).get(span)
    if not isinstance(ends, list | tuple) or len(ends) != 2:
        return f"{100 * number:.1f}"
    low, high = finite(ends[0]), finite(ends[1])
    if low is None or high is None:
        return f"{100 * number:.1f}"
    return f"{100 * number:.1f} ±{50 * (high - low):.1f}"


def _shown(lines: Sequence[set[float]]) -> list[float]:
    """At most six of the budgets that the lines have: the ends, then what most lines still lack."""
    left = sorted({budget for line in lines for budget in line})
    if len(left) <= _COLUMNS:
        return left
    kept = {left.pop(0), left.pop()}
    while len(kept) < _COLUMNS:

        def worth(budget: float) -> tuple[int, int, float, float]:
            having = [line for line in lines if budget in line]
            apart = min(max(budget / other, other / budget) for other in kept)
            return sum(not line & kept for line in having), len(having), apart, budget

        kept.add(max(left, key=worth))
        left = [budget for budget in left if budget not in kept]
    return sorted(kept)
