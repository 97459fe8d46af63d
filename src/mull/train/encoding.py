"""Pools as training sequences for a real model: what mull's own adapters will show it, with targets.

- *prm*: rows with ``prompt``, ``steps`` and ``step_labels``, encoded by the adapter ``trl-prm``; a
  target at the last token of every labelled step (unlabelled steps have none);
- *orm*: rows with ``prompt``, ``text`` and ``correct``, encoded by the adapter ``reward-model``; a
  target at the last token;
- *reviser*: right and wrong samples of a problem, put together as in :mod:`mull.train.revisions` and
  shown in a prompt format; the loss wants the target solution's tokens alone.

What is trained is so what is asked later. The module reads rows and spells; it runs no model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mull.engines.prompts import Format
from mull.errors import MullError
from mull.problems import Problem
from mull.trace import Trace
from mull.train.loop import Example
from mull.train.revisions import drawn
from mull.train.rollouts import read
from mull.verifiers.prm.adapter import Adapter, Encoded, Unfit
from mull.verifiers.prm.adapters import adapter_named
from mull.verifiers.prm.tokens import Tokenizer

Kind = Literal["prm", "orm", "reviser"]
#: How each verifier is asked, in training and later.
ADAPTERS: dict[str, str] = {"prm": "trl-prm", "orm": "reward-model"}
#: The columns that each kind learns from.
COLUMNS: dict[Kind, tuple[str, ...]] = {
    "prm": ("prompt", "steps", "step_labels"),
    "orm": ("prompt", "text", "correct"),
    "reviser": ("prompt", "text", "correct", "answer"),
}
Row = dict[str, Any]


@dataclass(frozen=True)
class Encoding:
    """How rows become sequences.

    ``limit`` is the longest in tokens; longer ones are left out. ``hard`` makes a step's label 1 where
    any rollout was right, as in Math-Shepherd's hard estimate. ``form`` is a reviser's prompt format,
    ``targets`` the most examples that a problem gives it.
    """

    kind: Kind
    tokenizer: Tokenizer
    limit: int = 4096
    hard: bool = False
    form: Format | None = None
    targets: int = 6
    seed: int = 0


@dataclass(frozen=True)
class Sequences:
    """Training and held-out sequences, and how many rows gave none, by reason."""

    training: list[Example]
    held: list[Example]
    left_out: dict[str, int]


def sequences(pool: Path, how: Encoding) -> Sequences:
    """A pool's sequences, a tenth of the problems (at least one) held out.

    :class:`MullError` where there is nothing to train on or nothing to hold out.
    """
    made: dict[str, list[Example]] = {}
    left_out: dict[str, int] = {}
    rows = read(pool, COLUMNS[how.kind])
    each = _revisions(rows, how) if how.kind == "reviser" else _verified(rows, how)
    for name, found in each:
        if isinstance(found, Example) and len(found.tokens) > how.limit:
            found = f"longer than {how.limit} tokens"
        if isinstance(found, str):
            left_out[found] = left_out.get(found, 0) + 1
        else:
            made.setdefault(name, []).append(found)
    # By a hash, so that which problems are held out does not depend on the others.
    order = sorted(made, key=lambda name: blake2b(name.encode(), digest_size=8).digest())
    held = set(order[: max(1, len(order) // 10)])
    if len(order) < 2:
        why = "; ".join(f"{count} rows are {reason}" for reason, count in left_out.items())
        raise MullError(
            f"{pool} has {len(order)} problems to train a {how.kind} on, and needs at least 2"
            + (f" ({why})" if why else "")
        )
    return Sequences(
        [one for name in made if name not in held for one in made[name]],
        [one for name in made if name in held for one in made[name]],
        left_out,
    )


def _verified(rows: Iterable[Row], how: Encoding) -> Iterator[tuple[str, Example | str]]:
    adapter = adapter_named(ADAPTERS[how.kind])
    adapter.check(how.tokenizer)
    for row in rows:
        yield row["problem"], _labelled(row, how, adapter)


def _labelled(row: Row, how: Encoding, adapter: Adapter) -> Example | str:
    """A verifier's sequence, or why there is none."""
    steps: list[str] = row.get("steps") or []
    labels: list[float | None] = row.get("step_labels") or []
    if how.kind == "orm":
        steps, labels = [row["text"]], [float(row["correct"])]
    elif len(steps) != len(labels):
        return "without a label for every step"
    if all(label is None for label in labels):
        return "without labels"
    try:
        found: Encoded = adapter.encode(how.tokenizer, row["prompt"], steps)
    except Unfit as unfit:
        return str(unfit)
    targets = [float("nan")] * len(found.ids)
    for place, label in zip(found.places, labels, strict=True):
        if label is not None:
            targets[place] = float(label > 0) if how.hard else float(label)
    return Example(found.ids, targets)


def _revisions(rows: Iterable[Row], how: Encoding) -> Iterator[tuple[str, Example | str]]:
    assert how.form is not None, "a reviser is shown problems in a prompt format"
    problems: dict[str, list[Row]] = {}
    for row in rows:
        if row["finish"] in (None, "stop"):
            problems.setdefault(row["problem"], []).append(row)
    for number, (name, found) in enumerate(problems.items()):
        right, wrong = ([row["text"] for row in found if row["correct"] is side] for side in (True, False))
        if not right:
            yield name, "never right, so that there is nothing to aim at"
        problem = Problem(name, found[0]["prompt"])
        rng = np.random.default_rng([how.seed, number])
        for context, at in drawn(right, wrong, how.targets, rng):
            trace = Trace(problem, earlier=tuple(wrong[k] for k in context))
            yield name, spelt(how.tokenizer, how.form, trace, right[at])


def spelt(tokenizer: Tokenizer, form: Format, trace: Trace, target: str) -> Example:
    """A target solution after what a format shows of a trace; the loss wants the target and its end.

    Prompt and target are spelt apart, as a server does that is sent the one and samples the other.
    :class:`MullError` where the chat template rewrites the prompt once an answer follows.
    """
    prompt = form.prompt(trace)
    if form.chat:
        messages = [{"role": m.role, "content": m.content} for m in prompt.messages]
        before = tokenizer.chat(messages, form.name, open_end=True)
        after = tokenizer.chat([*messages, {"role": "assistant", "content": target}], form.name)
        if not after.startswith(before):
            raise tokenizer.mismatch("its chat template changes what stands before an answer", form.name)
        head = tokenizer.ids(before, special=False)
        target = after[len(before) :]
    else:
        head = tokenizer.ids(prompt.text, special=True)
    end = tokenizer.inner.eos_token_id
    ids = tokenizer.ids(target, special=False)
    if end is None:
        raise tokenizer.mismatch("it has no end token", form.name)
    ids = [*ids[: len(ids) - ids[::-1].index(end)]] if end in ids else [*ids, int(end)]
    return Example([*head, *ids], [np.nan] * (len(head) - 1) + list(map(float, ids)) + [np.nan])
