"""Solutions with labelled steps: PRM800K, Math-Shepherd and MATH-APS records, a line each.

All become rows with ``steps`` and ``step_labels`` (1 right, 0 wrong, a share for Monte-Carlo estimates,
null for none); the problem's id is a hash of its text, so that records of one problem meet.

- PRM800K: a row for the path that the labeller took, and one for each other completion, as the
  steps before it and itself. Ratings 1 and -1 are 1 and 0; a neutral rating counts as right, as in
  Let's Verify Step by Step, or as ``--set neutral=wrong`` or ``unlabelled`` says.
- Math-Shepherd: the step token in ``input``, a + or - in its place in ``label``.
- MATH-APS: prefixes with the success rate of rollouts from them, or trees, a row a leaf.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any

from mull.errors import MullError
from mull.pools.adapters.base import Asked, Source, adapter, source
from mull.pools.inputs import need, one_file, records, same_length
from mull.pools.schema import Info, Layout

_LAYOUT = Layout(optional=("steps", "step_labels"))
_NEUTRAL = {"right": 1.0, "wrong": 0.0, "unlabelled": None}
_TOKEN = "ки"
_STEP = re.compile(r"\s*(Step \d+:.*?)\s*ки", re.DOTALL)
_LABELLED = re.compile(r"\s*(Step \d+:.*?)\s*([+-])\s*(?=\nStep \d+:|\Z)", re.DOTALL)
Rows = Iterator[dict[str, Any]]


@adapter("prm800k", neutral="right (the default), wrong or unlabelled: what a neutral rating is")
def prm800k(asked: Asked) -> Source:
    """Steps rated by people, with the alternatives to each (PRM800K records)."""
    return _source(asked, "prm800k")


@adapter("math_shepherd")
def math_shepherd(asked: Asked) -> Source:
    """Solutions with a + or - for every step (Math-Shepherd records)."""
    return _source(asked, "math_shepherd")


@adapter("math_aps")
def math_aps(asked: Asked) -> Source:
    """Prefixes or rollout trees with Monte-Carlo success rates (MATH-APS records)."""
    return _source(asked, "math_aps")


@adapter("openr_step_samples", neutral="right (the default), wrong or unlabelled: what a neutral rating is")
def openr_step_samples(asked: Asked) -> Source:
    """Any of PRM800K, Math-Shepherd and MATH-APS, told by each record's fields."""
    return _source(asked, "")


def _source(asked: Asked, form: str) -> Source:
    path = one_file(asked.path, "*.jsonl*")
    neutral = _NEUTRAL[asked.choice("neutral", _NEUTRAL)]
    readers: dict[str, Callable[[dict[str, Any], str], Rows]] = {
        "prm800k": lambda record, where: _prm800k(record, where, neutral),
        "math_shepherd": _shepherd,
        "math_aps": _aps,
    }

    def rows() -> Rows:
        for where, record in records(path):
            yield from readers[form or _form(record, where)](record, where)

    return source(rows(), _LAYOUT, Info(form or "openr_step_samples"))


def _form(record: dict[str, Any], where: str) -> str:
    for field, form in (("reasoning_steps", "math_aps"), ("question", "prm800k"), ("input", "math_shepherd")):
        if field in record:
            return form
    raise MullError(f"{where}: neither a PRM800K nor a Math-Shepherd nor a MATH-APS record")


def _row(prompt: str, steps: list[str], labels: list[float | None], **more: Any) -> dict[str, Any]:
    name = blake2b(prompt.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    shared = {"problem": name, "prompt": prompt, "steps": steps, "step_labels": labels}
    return {**shared, "text": "\n".join(steps), **more}


def _prm800k(record: dict[str, Any], where: str, neutral: float | None) -> Rows:
    question, label = need(record, dict, where, "question"), need(record, dict, where, "label")
    prompt, gold = need(question, str, where, "problem"), question.get("ground_truth_answer")
    values = {1: 1.0, 0: neutral, -1: 0.0, None: None}
    steps: list[str] = []
    labels: list[float | None] = []
    for step in need(label, list, where, "steps"):
        chosen, given = step.get("chosen_completion"), step.get("completions") or []
        for at, completion in enumerate(given):
            text, rating = need(completion, str, where, "text"), completion.get("rating")
            if rating not in values:
                raise MullError(f"{where}: a rating is {rating!r}; it must be 1, 0 or -1")
            if at != chosen:
                yield _row(prompt, [*steps, text], [*labels, values[rating]], gold=gold)
        if chosen is None and not step.get("human_completion"):
            break
        taken = given[chosen] if chosen is not None else step["human_completion"]
        steps.append(need(taken, str, where, "text"))
        labels.append(values[taken.get("rating")])
    if steps:
        yield _row(prompt, steps, labels, gold=gold, finish=label.get("finish_reason"))


def _shepherd(record: dict[str, Any], where: str) -> Rows:
    text, marked = need(record, str, where, "input"), need(record, str, where, "label")
    first = text.find("Step 1:")
    if first < 0 or _TOKEN not in text:
        raise MullError(f"{where}: no 'Step 1:' or no step token {_TOKEN!r} in the input")
    prompt = text[:first].strip()
    steps = _STEP.findall(text[first:])
    pairs = _LABELLED.findall(marked[first:])
    same_length(where, steps=steps, labels=pairs)
    if steps != [step for step, _ in pairs]:
        raise MullError(f"{where}: input and label do not have the same steps")
    labels = [1.0 if sign == "+" else 0.0 for _, sign in pairs]
    yield _row(prompt, steps, list(labels), meta=json.dumps({"task": record.get("task")}))


def _aps(record: dict[str, Any], where: str) -> Rows:
    prompt, gold = need(record, str, where, "question"), record.get("final_answer")
    found = record.get("reasoning_steps")
    if isinstance(found, dict):
        meta = json.dumps({"mc_value": need(found, float, where, "mc_value")})
        for steps, labels in _leaves(found, where):
            yield _row(prompt, steps, labels, gold=gold, meta=meta)
        return
    for entry in need(record, list, where, "reasoning_steps"):
        prefix, value = need(entry, str, where, "solution_prefix"), need(entry, float, where, "mc_value")
        text = prefix.removeprefix(prompt).strip()
        if text:
            yield _row(prompt, [text], [float(value)], gold=gold)


def _leaves(root: dict[str, Any], where: str) -> Iterator[tuple[list[str], list[float | None]]]:
    """Every path from below the root, which is the question, to a leaf: its texts and values."""
    left: list[tuple[dict[str, Any], list[str], list[float | None]]] = [(root, [], [])]
    while left:
        node, steps, labels = left.pop()
        children = need(node, list, where, "children")
        if not children and steps:
            yield steps, labels
        for child in reversed(children):
            text, value = need(child, str, where, "text"), need(child, float, where, "mc_value")
            left.append((child, [*steps, text], [*labels, float(value)]))
