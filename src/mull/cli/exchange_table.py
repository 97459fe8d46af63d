"""How ``mull exchange`` shows what it found: a table an account, and the answer in words.

It prints numbers that are there, and a dash or a reason for those that are not; it computes none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

Row = Mapping[str, Any]
_STYLES = {"small": "green", "large": "red", "undecided": ""}
_INFERENCE = {
    "v1": "Y = 2ND",
    "iclr": "Y = 4ND",
    "sensitivity": "Y = 4ND for the small model, 2ND for the larger",
}
#: Of the break-even curve's points, one in this many is shown.
_STRIDE = 5


def tables(found: Row, *, curve: bool = False) -> Group:
    """Everything for a terminal."""
    few, many = found["parameters"]
    sizes = f"; {_count(few)} against {_count(many)} parameters ({many / few:.3g}x)" if few and many else ""
    parts: list[Table | Text] = [
        Text(
            f"{found['study']}: a policy over {found['family']} with {found['difficulty']} difficulty "
            f"on {found['engine']}, {found['problems']} problems; "
            f"the larger model's accuracy {found['larger']}{sizes}"
        )
    ]
    for account in found["accounts"]:
        parts += [Text(), _comparison(account), *_answers(account)]
        if curve:
            parts.append(_curve(account))
        parts += [Text(f"assumed: {one}", style="yellow") for one in account["assumptions"]]
    parts += [Text(), *(Text(f"note: {one}", style="yellow") for one in found["notes"])]
    return Group(*parts)


def _title(account: Row) -> str:
    kind = account["name"]
    if kind == "prices":
        return "Equal dollars"
    if kind == "measured":
        return "Equal total FLOPs as measured"
    name = account["convention"]
    return f"Equal total FLOPs, the paper's way ({name}: {_INFERENCE[name]})"


def _comparison(account: Row) -> Table:
    made = Table(
        title=f"{_title(account)}: accuracy in %, and the small model's relative improvement",
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    groups = account["groups"]
    made.add_column("difficulty", no_wrap=True)
    made.add_column("larger", justify="right")
    for row in groups[0]["rows"]:
        made.add_column(f"{_volume(account, row)}\n{_budget(account, row['budget'])}")
    made.add_column("equal accuracy\nat")
    made.add_column("small is the better buy")
    for group in groups:
        cells = [_cell(row) for row in group["rows"]]
        even = group["break_even"]
        made.add_row(
            _name(group), f"{100 * group['large']:.1f}", *cells, _even(account, even), _buy(account, even)
        )
    return made


def _name(group: Row) -> str:
    return {"1": "bin 1 (easiest)", "5": "bin 5 (hardest)"}.get(
        group["group"], group["group"] if group["group"] == "overall" else f"bin {group['group']}"
    )


def _cell(row: Row) -> Text:
    if row["small"] is None:
        why = row["note"].partition(":")[0]
        if row["at_least"] is None:
            return Text(why)
        return Text(f"≥ {100 * row['at_least']:.1f}\n{why}", style=_STYLES[row["ahead"] or "undecided"])
    shown = f"{100 * row['small']:.1f}"
    if row["relative"] is not None:
        shown += f" ({row['relative']:+.1f} %)"
        if row["relative_ci95"] is not None:
            low, high = row["relative_ci95"]
            ends = (f"{end:+.1f}" if end is not None else "unbounded" for end in (low, high))
            shown += f"\n[{', '.join(ends)}]"
    return Text(shown, style=_STYLES[row["ahead"]])


def _even(account: Row, even: Row) -> str:
    if even["budget"] is None:
        return f"– (at most {100 * even['best']:.1f})"
    count = f"{even['samples']:.3g}"
    shown = f"{count} sample{'' if count == '1' else 's'}"
    if account["unit"] == "dollars":
        return f"{_budget(account, even['budget'])} ({even['ratio']:.2g}x)\n{shown}"
    return f"{shown}\n{even['ratio']:.2g}x the larger's" if account["unit"] == "flops" else shown


def _buy(account: Row, even: Row) -> str:
    where, volume = even["where"], even["volume"]
    if volume is not None:
        many = f"\n({_count(even['requests'])} requests)" if even.get("requests") else ""
        return f"{where} {_volume(account, even)}{many}"
    reasons = {
        "never": "never",
        "nowhere": "at no volume",
        "everywhere": "at every volume" if account["fixed"] else "yes",
    }
    return "no" if where == "nowhere" and not account["fixed"] else reasons[where]


def _volume(account: Row, row: Row) -> str:
    if account["volume_unit"] == "R":
        return f"R = {row['volume']:.3g}"
    return f"{_count(row['volume'])} requests" if account["fixed"] else "any volume"


def _budget(account: Row, budget: float) -> str:
    if account["unit"] == "dollars":
        return f"${budget:.3g}"
    return f"{budget:.3g} FLOPs" if account["unit"] == "flops" else f"{budget:.4g} samples"


def _count(value: float) -> str:
    """``3.0M``: a count in a few characters."""
    for scale, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= scale:
            return f"{value / scale:.3g}{suffix}"
    return f"{value:.3g}"


def _answers(account: Row) -> list[Text]:
    """A sentence a volume: who wins where."""
    found = []
    groups = account["groups"]
    for i, first in enumerate(groups[0]["rows"]):
        held: dict[str, list[str]] = {"small": [], "large": [], "undecided": [], "unknown": []}
        for group in groups:
            held[group["rows"][i]["ahead"] or "unknown"].append(_short(group["group"]))
        words = {
            "small": "more test-time compute",
            "large": "the larger model",
            "undecided": "cannot be told apart",
            "unknown": "not measured there",
        }
        parts = [f"{words[who]}: {', '.join(names)}" for who, names in held.items() if names]
        found.append(Text(f"{_volume(account, first)} → {'; '.join(parts)}"))
    return found


def _short(group: str) -> str:
    return group if group == "overall" else f"bin {group}"


def _curve(account: Row) -> Table | Text:
    groups = account["groups"]
    points = groups[0]["curve"][::_STRIDE]
    if not points:
        return Text("no fixed costs: no volume matters, so there is no curve")
    made = Table(
        title=f"relative improvement in % over {account['volume_unit']} (– is outside the measured budgets)",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    made.add_column("difficulty", no_wrap=True)
    for point in points:
        made.add_column(_count(point["volume"]), justify="right")
    for group in groups:
        cells = []
        for point in group["curve"][::_STRIDE]:
            relative = point["relative"]
            cells.append("–" if relative is None else Text(f"{relative:+.0f}", _style(relative)))
        made.add_row(_name(group), *cells)
    return made


def _style(relative: float) -> str:
    return _STYLES["small" if relative > 0 else "large" if relative < 0 else "undecided"]
