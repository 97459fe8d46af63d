"""What a strategy is, and the registry that the rest of mull finds it in.

A strategy is straight-line code about one problem: a generator that yields
:class:`~mull.trace.Sample`, :class:`~mull.trace.Score` and :class:`~mull.trace.Read`
requests, is sent the results, and returns its candidates. It does no I/O and has no randomness of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mull.errors import MullError
from mull.problems import Problem
from mull.trace import Need, Read, Sample, Score, Scores, Trace

Request = Sample | Score | Read
#: Finished traces with their scores (None: never scored, or could not be).
Finals = list[tuple[Trace, Scores | None]]
Plan = Generator[Request, Any, Finals]
Value = int | float | str | bool


class BudgetError(MullError):
    """A budget that a strategy cannot meet, with the budgets that it can."""


@dataclass(frozen=True)
class Strategy:
    """A registered algorithm.

    ``plan(problem, budget=N, **params)`` checks its arguments at once (it raises
    :class:`BudgetError`) and returns the generator; ``selector`` names how its finals
    become one answer; ``verifier`` says what it needs first of all, and ``also`` what else;
    ``params`` are its hyperparameters with their defaults; ``reviser`` tells whether it revises.
    """

    name: str
    summary: str
    plan: Callable[..., Plan]
    selector: str
    verifier: Need | Literal["none"]
    params: Mapping[str, Value]
    also: tuple[Need, ...] = ()
    reviser: bool = False

    @property
    def needs(self) -> tuple[Need, ...]:
        """Everything that verifiers are asked for."""
        return self.also if self.verifier == "none" else (self.verifier, *self.also)


@dataclass(frozen=True)
class Arm:
    """A strategy with hyperparameters at a budget in generations."""

    strategy: str
    budget: int
    params: tuple[tuple[str, Value], ...] = ()

    @property
    def label(self) -> str:
        """The arm without its budget, such as ``beam(width=4)``."""
        inner = ", ".join(f"{k}={v}" for k, v in self.params)
        return f"{self.strategy}({inner})" if inner else self.strategy

    def __str__(self) -> str:
        return f"{self.label}@{self.budget}"


_REGISTRY: dict[str, Strategy] = {}


def strategy(
    name: str,
    *,
    selector: str,
    verifier: Need | Literal["none"] = "none",
    also: tuple[Need, ...] = (),
    reviser: bool = False,
) -> Callable[[Callable[..., Plan]], Callable[..., Plan]]:
    """Register ``plan(problem, *, budget, ...)`` under ``name``; its other keywords are its parameters.

    The first line of its docstring is the summary that ``mull strategies`` prints.
    """

    def register(plan: Callable[..., Plan]) -> Callable[..., Plan]:
        keywords = list(inspect.signature(plan).parameters.values())[1:]
        params = {p.name: p.default for p in keywords if p.name != "budget"}
        summary = (inspect.getdoc(plan) or "").split("\n")[0]
        _REGISTRY[name] = Strategy(name, summary, plan, selector, verifier, params, also, reviser)
        return plan

    return register


def strategies() -> Mapping[str, Strategy]:
    """All registered strategies, by name."""
    return dict(sorted(_REGISTRY.items()))


def find(name: str) -> Strategy:
    """The strategy called ``name``; :class:`MullError` lists the known ones otherwise."""
    if name not in _REGISTRY:
        raise MullError(f"there is no strategy {name!r}; known: {', '.join(sorted(_REGISTRY))}")
    return _REGISTRY[name]


def start(arm: Arm, problem: Problem) -> Plan:
    """The arm's generator on one problem.

    Raises :class:`MullError` for an unknown strategy or parameter, and
    :class:`BudgetError` for a budget that it cannot meet.
    """
    found = find(arm.strategy)
    unknown = [k for k, _ in arm.params if k not in found.params]
    if unknown:
        known = ", ".join(found.params) or "none"
        raise MullError(f"strategy {arm.strategy!r} has no parameter {unknown[0]!r}; its parameters: {known}")
    if arm.budget < 1:
        raise BudgetError(f"{arm}: a budget is at least 1 generation")
    return found.plan(problem, budget=arm.budget, **dict(arm.params))
