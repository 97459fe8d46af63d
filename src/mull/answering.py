"""Answering one problem within a budget: by a strategy, or by a fitted policy.

A policy first spends its probe (a few samples, scored), reads the difficulty off it, and
spends the rest on the arm for that difficulty; the probe's samples vote with the arm's,
unless another model (a reviser) made those.
The module decides nothing itself: the driver runs, the policy chooses, a selector votes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mull import grading, models
from mull.cost import Cost
from mull.drive import Driver, Result, Task
from mull.engines.recorded import RecordedEngine
from mull.engines.small import SmallEngine
from mull.engines.words import quoted
from mull.errors import MullError
from mull.models import ModelSpec, VerifierSpec, model_spec
from mull.policy_file import Policy
from mull.problems import Problem, validate
from mull.select import SELECTORS
from mull.strategies.base import Arm, find
from mull.trace import Candidate, Need
from mull.verifiers.base import Verifier
from mull.verifiers.small import SmallVerifier

#: Probe and arm draw different numbers even where they are the same strategy at the same budget.
_PROBE_SEED = 1_000_003


@dataclass(frozen=True)
class Answer:
    """An answer (None if no candidate has one), who voted for what, and what it cost.

    ``difficulty`` is what the probe read (the mean score, higher is easier) and ``bin`` what
    it means to the policy (0: easiest); both None without a policy. ``probe`` of the
    candidates, the first ones, are the probe's.
    """

    answer: str | None
    arm: Arm
    candidates: tuple[Candidate, ...]
    weights: Mapping[str, float]
    cost: Cost
    events: tuple[str, ...] = ()
    probe: int = 0
    difficulty: float | None = None
    bin: int | None = None


def driver(
    engine: Path | str | ModelSpec | None = None,
    prm: Path | str | VerifierSpec | None = None,
    *,
    seed: int = 0,
    max_tokens: int | None = None,
    grader: str | None = None,
    for_arm: Arm | None = None,
) -> Driver:
    """A driver over a model and a verifier; the small world's, reviser and all, without ``engine``.

    ``engine`` is a checkpoint's folder, a server's address or a table; a server is asked at once whether
    it is there and can do what ``for_arm`` needs: :class:`~mull.errors.MullError` says what is wrong.
    ``max_tokens`` None is 256 a solution, 2048 of a model that is not run by mull's own engine.
    """
    verifiers: dict[Need, Verifier] = {}
    reviser = None
    judging = grading.grader(grader)
    if engine is None:
        engine, prm = "tiny", prm or "tiny"
        reviser = models.engine("tiny", "reviser")
        verifiers["revision"] = models.verifier("tiny", "revision")
    spec = model_spec(str(engine) if isinstance(engine, Path) else engine)
    if spec.served:
        stepwise = for_arm is not None and "process" in find(for_arm.strategy).needs
        spec = asyncio.run(models.ready(spec, "steps" if stepwise else "whole"))
    if prm is not None:
        verifiers["process"] = models.verifier(str(prm) if isinstance(prm, Path) else prm)
    return Driver(
        models.engine(spec),
        verifiers,
        seed=seed,
        max_tokens=max_tokens or (256 if spec.own else 2048),
        reviser=reviser,
        grader=judging,
        concurrency=spec.concurrency if spec.served else 64,
    )


def ask(
    prompt: str,
    budget: int,
    *,
    strategy: str | Arm = "best_of_n_weighted",
    policy: Policy | None = None,
    using: Driver | None = None,
    seed: int = 0,
) -> Answer:
    """Answer ``prompt`` within ``budget`` generations.

    ``strategy`` is a name or an arm (whose own budget then counts); with ``policy`` it is not
    looked at. ``using`` is the small world's :func:`driver` if None.
    """
    (problem,) = validate(
        [Problem("asked", prompt if using or prompt.endswith("\n") else prompt + "\n")], graded=False
    )
    using = using or driver(seed=seed)
    notes = _notes(problem, using, policy)
    before = _replayed(using)
    if policy is not None:
        found = _by_policy(problem, budget, policy, using, notes)
    else:
        arm = strategy if isinstance(strategy, Arm) else Arm(strategy, budget)
        (result,) = using.run([Task(problem, arm)])
        found = _answer(problem, arm, None, result, notes, _served(using))
    if count := _replayed(using) - before:
        where = using.engine.record.folder if isinstance(using.engine, RecordedEngine) else ""
        note = f"{count} answers came from the record in {where}, at the cost of when they were made"
        found = replace(found, events=(*found.events, note))
    return found


def _replayed(using: Driver) -> int:
    """How many answers came from a record so far."""
    return using.engine.replayed if isinstance(using.engine, RecordedEngine) else 0


def _served(using: Driver) -> bool:
    """Whether the model may be out of reach."""
    return not isinstance(using.engine, SmallEngine)


def _notes(problem: Problem, using: Driver, policy: Policy | None) -> list[str]:
    notes = []
    verifiers = using.verifier.values() if isinstance(using.verifier, Mapping) else [using.verifier]
    readers = [("model's", using.engine), *(("verifier's", each) for each in verifiers)]
    for whose, reader in readers:
        if not isinstance(reader, SmallEngine | SmallVerifier):
            continue
        if unknown := reader.words.unspelt(problem.prompt):
            notes.append(
                f"the {whose} vocabulary cannot spell this problem ({quoted(unknown)}: unknown to it); "
                "expect nonsense"
            )
            break
    name = models.known_as(using.engine.name)
    if policy is not None and policy.provenance.engine != name:
        notes.append(f"the policy was fitted to {policy.provenance.engine}, not to {name}")
    return notes


def _by_policy(problem: Problem, budget: int, policy: Policy, using: Driver, notes: list[str]) -> Answer:
    row = policy.row(budget, "charged")
    if row.budget != budget:
        notes = [*notes, f"the policy has no row for {budget} generations; it spends {row.budget} at most"]
    probe: Result | None = None
    value, place = None, 0
    if row.probe:
        early = replace(using, seed=using.seed + _PROBE_SEED)
        (probe,) = early.run([Task(problem, Arm("best_of_n_weighted", row.probe))])
        scores = [c.scores.last for c in probe.candidates if c.scores is not None]
        value = sum(scores) / len(scores) if scores else float("nan")
        place = row.bin_of(value)
    arm = row.entries[place].arm
    left = arm
    method = find(arm.strategy)
    if probe is not None and method.verifier != "process" and not method.reviser:
        # Its samples include the probe's.
        left = replace(arm, budget=arm.budget - row.probe)
    result = None
    if left.budget > 0:
        (result,) = using.run([Task(problem, left)])
    found = _answer(problem, arm, probe, result, notes, _served(using))
    return replace(found, difficulty=None if value is None or value != value else value, bin=place)


def _answer(
    problem: Problem,
    arm: Arm,
    probe: Result | None,
    result: Result | None,
    notes: list[str],
    served: bool,
) -> Answer:
    """The vote over the probe's candidates and the arm's; a reviser's attempts vote alone."""
    results = [each for each in (probe, result) if each is not None]
    candidates = tuple(c for each in results for c in each.candidates)
    if candidates and served and all(c.trace.finish == "error" for c in candidates):
        raise MullError(f"no candidate came: {candidates[0].trace.error}")
    method = find(arm.strategy)
    voters = result.candidates if method.reviser and result is not None else candidates
    selection = SELECTORS[method.selector](problem.id, voters)
    return Answer(
        selection.answer,
        arm,
        candidates,
        selection.weights,
        sum((each.cost for each in results), Cost()),
        (*notes, *(event for each in results for event in each.events)),
        len(probe.candidates) if probe else 0,
    )


__all__ = ["Answer", "ask", "driver"]
