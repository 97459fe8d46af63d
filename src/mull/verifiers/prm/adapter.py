"""What an adapter is: how one family of reward models wants to be asked, and where it answers.

An adapter turns a problem and the texts of a solution's steps into token ids and the places in
them at which the model's output is a step's value (or, for an outcome model, the solution's).
It knows templates, step tags and label tokens; it never runs a model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from mull.verifiers.prm.tokens import Tokenizer


class Unfit(Exception):  # noqa: N818 - a finding about a trace, in the words of this package
    """A trace that this adapter cannot ask about; says why."""


@dataclass(frozen=True)
class Encoded:
    """Token ids, and the indices in them whose outputs are wanted, ascending."""

    ids: tuple[int, ...]
    places: tuple[int, ...]


class Adapter(Protocol):
    """One way of asking. See the modules beside this one."""

    @property
    def name(self) -> str:
        """What it is called in a study's table."""
        ...

    @property
    def kind(self) -> Literal["process", "outcome"]:
        """A value a step, or one a solution."""
        ...

    @property
    def head(self) -> Literal["labels", "tokens"]:
        """Where outputs come from: a head of the checkpoint's own, or two tokens' logits."""
        ...

    @property
    def models(self) -> str:
        """The published checkpoints that it fits."""
        ...

    def encode(self, tokenizer: Tokenizer, question: str, steps: Sequence[str]) -> Encoded:
        """What the model is shown; raises :class:`Unfit`."""
        ...

    def tokens(self, tokenizer: Tokenizer) -> tuple[int, int] | None:
        """The ids of the tokens that mean bad and good, where ``head`` is "tokens"."""
        ...

    def check(self, tokenizer: Tokenizer) -> None:
        """Raise :class:`~mull.errors.MullError` for a tokenizer that is not this family's."""
        ...


def clean(steps: Sequence[str]) -> list[str]:
    """The steps without white space around them; :class:`Unfit` where one is empty or there are none."""
    found = [step.strip() for step in steps]
    if not found:
        raise Unfit("the trace has no steps")
    if empty := [i for i, step in enumerate(found, 1) if not step]:
        raise Unfit(f"step {empty[0]} is empty")
    return found


def whole(steps: Sequence[str]) -> str:
    """The solution, without white space around it; :class:`Unfit` if there is none."""
    found = "".join(steps).strip()
    if not found:
        raise Unfit("the solution is empty")
    return found


def tagged(ids: Sequence[int], tag: int, question: str, steps: Sequence[str], shown: str) -> tuple[int, ...]:
    """Where the step tag stands, one place a step; :class:`Unfit` if there are more or fewer."""
    places = tuple(i for i, token in enumerate(ids) if token == tag)
    if len(places) == len(steps):
        return places
    inside = [f"step {i}" for i, step in enumerate(steps, 1) if shown in step]
    inside = ["the problem"] * (shown in question) + inside
    where = f"; the text of {inside[0]} holds the tag itself" if inside else ""
    word = "missing" if len(places) < len(steps) else "too many"
    raise Unfit(f"{word} step tags: {len(places)} of {shown!r} for {len(steps)} steps{where}")


def value(row: Sequence[float]) -> float:
    """A value in [0, 1] from one place's outputs.

    One output is the log-odds of good; of two, the last is the logit of good. ValueError for
    any other number of outputs; NaN stays NaN.
    """
    if len(row) == 1:
        odds = row[0]
    elif len(row) == 2:
        odds = row[1] - row[0]
    else:
        raise ValueError(f"{len(row)} outputs a place; a reward model has 1 or 2")
    if odds >= 0:
        return 1.0 / (1.0 + math.exp(-odds))
    small = math.exp(odds)
    return small / (1.0 + small)
