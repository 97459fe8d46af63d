"""The small side of an exchange: a study's compute-optimal policy, overall and by bin.

From a finished study's folder everything is by problem and on folds that the policy was
not chosen on. A summary.json alone has the same overall; its bins come from the
policy.json beside it and are accuracies the policy was chosen by. The module reads; it never
compares, and never assumes a number that was not recorded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mull import difficulty, policy_file
from mull.analysis.evidence import Evidence, gather
from mull.analysis.families import FAMILIES, SPLITS, candidates, charged_tables, table_of
from mull.analysis.measure import Measure
from mull.difficulty import Bins
from mull.errors import MullError
from mull.exchange_curve import Tokens
from mull.policy import Measured, cross_validate
from mull.policy_charged import cross_validate_charged
from mull.report.page import check
from mull.strategies.base import Arm
from mull.study.folder import Recorded, open_folder

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
#: The group of all problems; the others are the bins, "1" the easiest.
OVERALL = "overall"
KINDS = ("oracle", "predicted", "charged")
#: The family of arms that a summary's policies choose from.
SEARCH = "search"


@dataclass(frozen=True, eq=False)
class Group:
    """The policy on some problems: ``accuracy`` [P, N] at ``budgets`` [N] samples, P = 1 for means alone.

    ``flops`` and the arrays of ``tokens`` are of the accuracy's shape, None where not recorded.
    ``members`` [P]: which of the study's problems they are.
    """

    name: str
    problems: int
    budgets: Floats
    accuracy: Floats
    flops: Floats | None = None
    tokens: Tokens | None = None
    members: Labels | None = None


@dataclass(frozen=True, eq=False)
class Small:
    """A study's policy over a ``family`` of arms, overall and by bin.

    ``output_tokens`` and ``prompt_tokens`` are those of one sample; ``proposer``, ``larger`` and
    ``reviser`` (only where the family revises) are what is known of the models, empty if nothing is.
    ``held_out``: whether bins were measured on folds that their arms were not chosen on. ``ids``: the
    problems, empty if not known; ``answers``: those of the larger model to them, where it was recorded.
    """

    name: str
    engine: str
    kind: str
    family: str
    problems: int
    groups: tuple[Group, ...]
    output_tokens: float | None
    prompt_tokens: float | None
    proposer: Mapping[str, Any]
    larger: Mapping[str, Any]
    held_out: bool
    ids: tuple[str, ...] = ()
    answers: Measure | None = None
    reviser: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_bins(self) -> bool:
        """Whether there are groups besides all problems."""
        return len(self.groups) > 1


def read_small(path: Path, kind: str = "oracle", family: str = SEARCH) -> Small:
    """A study's policy from its folder, or from a summary.json, by ``kind`` of difficulty and ``family``.

    A charged policy has no bins of its own before it has run, so its problems are shown by oracle bins.
    A summary has one family: joint where it has revisions, else search.
    """
    if kind not in KINDS:
        raise MullError(f"there is no {kind!r} difficulty; choose one of {', '.join(KINDS)}")
    if family not in FAMILIES:
        raise MullError(f"there is no family of arms {family!r}; choose one of {', '.join(FAMILIES)}")
    if (path / "study.toml").exists():
        return _from_folder(open_folder(path), kind, family)
    return _from_summary(path, kind, family)


def read_summary(path: Path) -> dict[str, Any]:
    """A summary.json, given itself or its folder; :class:`MullError` if it is none."""
    file = path / "summary.json" if path.is_dir() else path
    try:
        summary = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MullError(
            f"{path} holds no study (there is no {file}); run 'mull study --out {path}' first"
        ) from None
    except OSError as error:
        raise MullError(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise MullError(f"{file} is not a study's summary.json: it is not JSON") from None
    try:
        check(summary)
    except MullError as error:
        raise MullError(f"{file} is not a study's summary.json: {error}") from None
    found: dict[str, Any] = summary
    return found


def entry(summary: Mapping[str, Any], name: str, file: Path) -> Mapping[str, Any]:
    """What a summary says of one of its models, empty if nothing."""
    found = summary.get(name) or {}
    if not isinstance(found, Mapping):
        raise MullError(f"{file}: field {name!r} must be an object")
    return found


def _from_folder(recorded: Recorded, kind: str, family: str) -> Small:
    evidence = gather(recorded)
    if kind != "oracle" and evidence.score is None:
        raise MullError(f"{recorded.path} was recorded without a verifier, so it has no {kind} difficulty")
    measured, bins, arms = _policy(evidence, kind, family)
    # What chains read was recorded in FLOPs alone; a charged policy's arms go by the run, not the problem.
    tokens = _tokens(evidence, measured, bins.labels, arms) if family == SEARCH and arms else None
    flops = measured.per_problem_cost["flops"]
    whole = Group(
        OVERALL,
        evidence.pool.problems,
        np.asarray(measured.budgets, np.float64),
        measured.per_problem,
        flops if (flops > 0).all() else None,
        tokens,
        np.arange(evidence.pool.problems),
    )
    groups = [whole]
    for b in range(bins.count):
        members = np.nonzero(bins.labels == b)[0]
        if len(members):
            groups.append(_part(whole, str(b + 1), members))
    kept = recorded.path / "summary.json"
    summary = read_summary(kept) if kept.exists() else {}
    told = {name: entry(summary, name, kept) for name in ("proposer", "larger")}
    return Small(
        recorded.study.name,
        recorded.engine,
        kind,
        family,
        evidence.pool.problems,
        tuple(groups),
        float(evidence.pool.tokens.mean()),
        float(evidence.grid("prompt_tokens")[:, 0].mean()),
        told["proposer"] or recorded.facts["engine"],
        told["larger"] or recorded.facts["larger"],
        held_out=True,
        ids=tuple(problem.id for problem in recorded.problems),
        answers=evidence.larger,
        reviser={} if family == SEARCH else recorded.facts["reviser"],
    )


def _policy(evidence: Evidence, kind: str, family: str) -> tuple[Measured, Bins, dict[Arm, Measure]]:
    """The policy, cross-validated as summaries have it, its bins for show, and its arms (charged: none)."""
    arms = next((found for name, found in candidates(evidence).items() if name == family), None)
    if arms is None:
        raise MullError(f"{evidence.recorded.path} recorded no arms of the family {family!r}")
    pool, score, recorded = evidence.pool, evidence.score, evidence.recorded
    values = difficulty.oracle(pool)
    if kind == "predicted" and score is not None:
        values = difficulty.predicted(pool, score)
    bins = difficulty.quantile_bins(values, ids=[problem.id for problem in recorded.problems])
    sizes, seed = evidence.sizes, recorded.study.seed
    if kind == "charged":
        table = {str(name): found for name, found in charged_tables(evidence).items()}[family]
        return cross_validate_charged(table, sizes, splits=SPLITS, seed=seed), bins, {}
    measured = cross_validate(table_of(arms), bins, sizes, splits=SPLITS, seed=seed, allow_cheaper=True)
    return measured, bins, arms


def _part(whole: Group, name: str, members: Labels) -> Group:
    """A group of some of the problems."""
    tokens = whole.tokens
    return replace(
        whole,
        name=name,
        problems=len(members),
        accuracy=whole.accuracy[members],
        flops=None if whole.flops is None else whole.flops[members],
        tokens=tokens and Tokens(*(np.asarray(v)[members] for v in _fields(tokens))),
        members=members,
    )


def _fields(tokens: Tokens) -> tuple[Floats | float, ...]:
    return tokens.input, tokens.output, tokens.cached, tokens.verifier


def _tokens(evidence: Evidence, measured: Measured, labels: Labels, arms: Mapping[Arm, Measure]) -> Tokens:
    """Tokens [P, N] of the cross-validated policy: each arm's, by how often its bin chose it.

    A pool arm's samples share one prompt, as a request for n samples does; a search sends the
    prompt and what it has so far with every step.
    """
    prompt = evidence.grid("prompt_tokens")[:, 0]
    listed: list[tuple[Floats, ...]] = []
    for arm, measure in arms.items():
        fresh, cached = prompt, np.zeros_like(prompt)
        if arm in evidence.runs:
            frame = evidence.runs[arm]
            cached = frame["cached_tokens"].to_numpy().astype(np.float64)
            fresh = frame["prompt_tokens"].to_numpy().astype(np.float64) - cached
        listed.append((fresh, measure.completion_tokens, cached, measure.verifier_tokens))
    chosen = measured.chosen[labels]  # [P, N, A]
    stacks = (np.stack(column, axis=1) for column in zip(*listed, strict=True))  # each [P, A]
    return Tokens(*(np.einsum("pna,pa->pn", chosen, stack) for stack in stacks))


def _from_summary(path: Path, kind: str, family: str) -> Small:
    summary = read_summary(path)
    file = path / "summary.json" if path.is_dir() else path
    held = "joint" if summary.get("revisions") else SEARCH
    if family not in (SEARCH, held):
        raise MullError(f"a summary has no policy over {family}; give the study's folder with its records")
    rows = [row for row in summary["compute_optimal"] if row.get(kind) is not None]
    if not rows:
        raise MullError(f"{file} has no policy with {kind} difficulty")
    flops = [row.get(f"{kind}_flops") for row in rows]
    whole = Group(
        OVERALL,
        int(summary["problems"]),
        np.asarray([row["budget"] for row in rows], np.float64),
        np.asarray([[row[kind] for row in rows]], np.float64),
        np.asarray([flops], np.float64) if all(flops) else None,
    )
    beside = file.with_name("policy.json")
    bins = _policy_bins(beside, summary, kind) if beside.exists() and kind != "charged" else []
    study = summary["study"]
    return Small(
        str(study.get("name")),
        str(study.get("engine")),
        kind,
        held,
        whole.problems,
        (whole, *bins),
        summary["base"].get("completion_tokens"),
        None,
        entry(summary, "proposer", file),
        entry(summary, "larger", file),
        held_out=not bins,
        reviser=entry(summary, "revisions", file),
    )


def _policy_bins(file: Path, summary: Mapping[str, Any], kind: str) -> list[Group]:
    """What a policy.json expects of its bins: chosen and measured on the same problems."""
    policy = policy_file.load(file)
    rows = policy.rows.get(kind, ())
    if policy.provenance.content_hash != summary["study"].get("hash") or not rows:
        return []
    budgets = np.asarray([row.budget for row in rows], np.float64)
    groups = []
    for b, cells in enumerate(zip(*(row.entries for row in rows), strict=True)):
        flops = np.asarray([[cell.flops for cell in cells]])
        if cells[0].problems:
            accuracy = np.asarray([[cell.accuracy for cell in cells]])
            spent = flops if (flops > 0).all() else None
            groups.append(Group(str(b + 1), cells[0].problems, budgets, accuracy, spent))
    return groups
