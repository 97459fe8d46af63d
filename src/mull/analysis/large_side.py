"""The larger side of an exchange: one model's plain answers, measured or as the user has them.

From another study on the same problems they are by problem, so comparisons are paired; numbers
alone are taken as exact. The module reads; it never runs the larger model and never invents
an accuracy for a bin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mull.analysis.evidence import Evidence, gather
from mull.analysis.measure import Measure
from mull.analysis.small_side import OVERALL, Small, entry, read_summary
from mull.difficulty import BINS
from mull.errors import MullError
from mull.strategies.base import Arm
from mull.study.folder import open_folder

Floats = NDArray[np.float64]
#: Greedy decoding, as studies record it.
GREEDY = Arm("greedy", 1)


@dataclass(frozen=True, eq=False)
class Large:
    """A larger model's answers: by group a mean, or one a problem of the small study's group [P].

    ``flops``, ``input_tokens`` and ``output_tokens`` are means an answer, by group, as far as known.
    ``how`` says in words what was measured; ``model`` is its entry in a summary, empty if there is none.
    """

    how: str
    accuracy: Mapping[str, float | Floats]
    flops: Mapping[str, float]
    input_tokens: Mapping[str, float]
    output_tokens: Mapping[str, float]
    model: Mapping[str, Any]


def read_large(path: Path, small: Small) -> Large:
    """A larger model's answers from a study of it: its greedy decoding if that was an arm, else pass@1.

    From the folder of a finished study on the same problems they are by problem, so every group of the
    small study has its own; from a summary.json they are overall alone, since its bins are its own.
    """
    if (path / "study.toml").exists():
        return _answers(gather(open_folder(path)), small)
    summary = read_summary(path)
    greedy = next((arm for arm in summary["arms"] if arm["strategy"] == "greedy"), None)
    row = greedy if greedy is not None else _pass_at_1(summary)
    accuracy = _need(row.get("accuracy"), path, "accuracy")
    known = {name: row.get(name) for name in ("flops", "completion_tokens")}
    found = {name: {OVERALL: float(value)} for name, value in known.items() if value}
    how = "by greedy decoding" if greedy is not None else "by pass@1"
    flops, written = found.get("flops", {}), found.get("completion_tokens", {})
    return Large(how, {OVERALL: accuracy}, flops, {}, written, entry(summary, "proposer", path))


def given_large(small: Small, accuracy: float | None, by_bin: Sequence[float | None] | None = None) -> Large:
    """A larger model by its accuracies in [0, 1]; overall is the bins' mean if it is not given."""
    found: dict[str, float | Floats] = {}
    if by_bin is not None:
        bins = [group for group in small.groups if group.name != OVERALL]
        if not bins:
            raise MullError("this study's bins are not known here; give the larger model's --large-accuracy")
        if len(by_bin) != BINS:
            raise MullError(f"--large-by-bin needs {BINS} accuracies, easiest first; got {len(by_bin)}")
        held = {group: by_bin[int(group.name) - 1] for group in bins}
        known = {group: value for group, value in held.items() if value is not None}
        found |= {group.name: value for group, value in known.items()}
        if len(known) == len(bins):
            sizes = [group.problems for group in known]
            found[OVERALL] = float(np.average(list(known.values()), weights=sizes))
    if accuracy is not None:
        found[OVERALL] = accuracy
    return Large("as given", found, {}, {}, {}, {})


def recorded_large(small: Small) -> Large:
    """The larger model that the study was recorded with: by problem from its records, else the summary's."""
    larger = small.larger
    if small.answers is not None:
        rows = np.arange(small.problems)
        return _by_problem("as recorded, greedy", small.answers, None, rows, small, larger)
    if not larger:
        raise MullError(
            "the study was recorded without a larger model; say how well it does: "
            "--large-accuracy, --large-by-bin or --large-study"
        )
    by_bin = (larger.get("by_bin") or {}).get("predicted" if small.kind == "predicted" else "oracle")
    found = given_large(small, larger.get("accuracy"), by_bin if small.has_bins else None)
    known = {
        name: {OVERALL: float(larger[name])} for name in ("flops", "completion_tokens") if larger.get(name)
    }
    flops, written = known.get("flops", {}), known.get("completion_tokens", {})
    return Large("as recorded", found.accuracy, flops, {}, written, larger)


def _answers(evidence: Evidence, small: Small) -> Large:
    """The larger model's answers to the small study's problems."""
    path = evidence.recorded.path
    at = {problem.id: i for i, problem in enumerate(evidence.recorded.problems)}
    if not small.ids:
        raise MullError(
            f"pairing with {path} needs the small model's study folder with its records; "
            f"give {path / 'summary.json'} to compare overall alone"
        )
    missing = [name for name in small.ids if name not in at]
    if missing:
        raise MullError(
            f"{path} lacks {len(missing)} of the study's {len(small.ids)} problems (first: {missing[0]}); "
            "both studies must be on the same problems"
        )
    rows = np.asarray([at[name] for name in small.ids])
    if GREEDY in evidence.runs:
        how, measure = "by greedy decoding", evidence.ran(GREEDY)
    else:
        how, measure = "by pass@1", evidence.sampled(evidence.pool.correct.mean(axis=1), 1, None)
    prompt = evidence.grid("prompt_tokens")[:, 0]
    kept = path / "summary.json"
    model = entry(read_summary(kept), "proposer", kept) if kept.exists() else {}
    model = model or evidence.recorded.facts["engine"]
    return _by_problem(how, measure, prompt, rows, small, model)


def _by_problem(
    how: str,
    measure: Measure,
    prompt: Floats | None,
    rows: NDArray[np.int64],
    small: Small,
    model: Mapping[str, Any],
) -> Large:
    """The larger side from one answer a problem; ``rows`` are the small study's problems among them."""
    columns = {"flops": measure.flops, "output": measure.completion_tokens}
    if prompt is not None:
        columns["input"] = prompt
    means: dict[str, dict[str, float]] = {"flops": {}, "output": {}, "input": {}}
    accuracy: dict[str, float | Floats] = {}
    for group in small.groups:
        members = rows[group.members]
        accuracy[group.name] = measure.accuracy[members]
        for name, values in columns.items():
            means[name][group.name] = float(values[members].mean())
    spent = means["flops"] if all(means["flops"].values()) else {}
    return Large(how, accuracy, spent, means["input"], means["output"], model)


def _pass_at_1(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The pool's single sample as a row of ``arms``."""
    one: Mapping[str, Any] = next(
        (arm for arm in summary["arms"] if arm["strategy"] == "majority" and arm["budget"] == 1), {}
    )
    return {**one, "accuracy": summary["base"].get("pass_at_1")}


def _need(value: Any, path: Path, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MullError(f"{path} has no {what} of the larger model")
    return float(value)
