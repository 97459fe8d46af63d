"""What the rows of known data sets look like, and how a row becomes a problem.

A shape takes a row and gives prompt, gold answer and metadata. Nothing about a problem depends on
the other rows; choices are shuffled by the problem's own text. No instruction is put into a prompt:
how a model is to answer is the prompt format's affair.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from mull.answers import normal_form
from mull.errors import MullError
from mull.grading.extract import boxed, hashes

Meta = dict[str, str | int | float]
#: Names of a prompt's, a gold answer's, a worked solution's and an id's column, in the order looked for.
PROMPTS = ("prompt", "problem", "question", "Problem", "Question")
ANSWERS = ("answer", "gold", "Answer", "final_answer")
SOLUTIONS = ("solution", "Solution", "gt_cot", "solutions")
IDS = ("unique_id", "task_id", "id", "ID", "Record ID", "problem_idx")
#: Metadata that is worth keeping; solutions and addresses are not.
KEPT = ("level", "subject", "type", "difficulty", "year", "Subdomain", "High-level domain")
LETTERS = "ABCDEFGHIJ"


@dataclass(frozen=True)
class Made:
    """A row's prompt, gold answer (None: unknown) and metadata."""

    prompt: str
    gold: str | None
    meta: Meta = field(default_factory=dict)


Shape = Callable[[Mapping[str, Any], str], Made]


def plain(row: Mapping[str, Any], where: str, prompt: str | None = None, answer: str | None = None) -> Made:
    r"""A problem and its answer, in columns of the usual names or of those given.

    The gold answer is what follows ``####`` where the answer has such a mark (GSM8K), or else the
    answer; without one it is the solution's last ``\boxed{...}`` (MATH). Numbers are written in normal
    form: 027 and 27.0 are 27.
    """
    text = _column(row, prompt, PROMPTS)
    if not isinstance(text, str) or not text.strip():
        named = repr(prompt) if prompt else f"one of {', '.join(PROMPTS)}"
        raise MullError(f"{where}: needs a prompt, a text in column {named}; it has: {_names(row)}")
    if answer is not None and answer not in row:
        raise MullError(f"{where}: has no column {answer!r} for the answer; it has: {_names(row)}")
    gold = _gold(_column(row, answer, ANSWERS))
    if gold is None and answer is None:
        worked = _column(row, None, SOLUTIONS)
        gold = boxed(worked) if isinstance(worked, str) else None
    return Made(text, gold, _kept(row, KEPT))


def choices(row: Mapping[str, Any], where: str) -> Made:
    """GPQA: the question and its four choices under letters; gold is the right one's letter.

    The order is that of a hash of the question and each choice: the same in every run and for every
    selection of problems, and the right letter is spread evenly over problems.
    """
    question = need(row, "Question", where).strip()
    names = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
    given = [need(row, name, where).strip() for name in names]
    return lettered(question, given, 0, _kept(row, KEPT))


def lettered(question: str, given: Sequence[str], right: int, meta: Meta) -> Made:
    """A question with its choices in a shuffled order; ``right`` is the right one's place in ``given``."""
    order = sorted(range(len(given)), key=lambda at: (_hash(question, given[at]), at))
    lines = [f"({LETTERS[place]}) {given[at]}" for place, at in enumerate(order)]
    return Made(f"{question}\n\n" + "\n".join(lines), LETTERS[order.index(right)], meta)


def humaneval(row: Mapping[str, Any], where: str) -> Made:
    """HumanEval: the head of a function; gold is the text of the tests, which define ``check``."""
    name, test = need(row, "entry_point", where), need(row, "test", where)
    return Made(need(row, "prompt", where), test, {"entry_point": name})


def mbpp(row: Mapping[str, Any], where: str) -> Made:
    """MBPP, full or sanitized: what to write and its first test; gold is all tests.

    One test is shown, as InCoder (Fried et al. 2022) does it, since the text alone does not name the
    function. It is what a vote by behaviour may look at.
    """
    text = row.get("text") if isinstance(row.get("text"), str) else need(row, "prompt", where)
    tests = row.get("test_list")
    if not isinstance(tests, list) or not tests or not all(isinstance(test, str) for test in tests):
        raise MullError(f"{where}: needs a list of tests in column 'test_list'")
    setup = row.get("test_setup_code") or "\n".join(row.get("test_imports") or ())
    more = row.get("challenge_test_list") or []
    meta: Meta = {"tests": json.dumps(tests[:1])}
    if setup:
        meta["setup"] = setup
    prompt = f"{str(text).strip()}\nYour code should satisfy this test:\n{tests[0]}"
    return Made(prompt, "\n".join([*tests, *more]), meta)


def name_of(row: Mapping[str, Any], column: str | None, where: str) -> str | None:
    """The row's own id, None if it has none."""
    if column is not None and column not in row:
        raise MullError(f"{where}: has no column {column!r} for the id; it has: {_names(row)}")
    found = _column(row, column, IDS)
    return None if found is None or isinstance(found, list | dict) else str(found)


def need(row: Mapping[str, Any], name: str, where: str) -> str:
    """A text that must be there."""
    found = row.get(name)
    if not isinstance(found, str) or not found.strip():
        raise MullError(f"{where}: needs a text in column {name!r}; it has: {_names(row)}")
    return found


def _column(row: Mapping[str, Any], named: str | None, usual: Sequence[str]) -> Any:
    if named is not None:
        return row.get(named)
    return next((row[name] for name in usual if row.get(name) is not None), None)


def _gold(value: object) -> str | None:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]  # some sets keep answers in lists
    if isinstance(value, bool) or value is None:
        return None if value is None else str(value)
    if isinstance(value, int | float):
        return normal_form(repr(value))
    if not isinstance(value, str) or not value.strip():
        return None
    return normal_form(hashes(value) or value) if "####" in value else _number_or_text(value)


def _number_or_text(value: str) -> str:
    """Digits lose leading zeros (AIME's 025); any other text stays as it is."""
    return normal_form(value) if value.strip().isdigit() else value


def _kept(row: Mapping[str, Any], names: Sequence[str]) -> Meta:
    return {
        name: row[name]
        for name in names
        if isinstance(row.get(name), str | int | float) and not isinstance(row[name], bool)
    }


def _names(row: Mapping[str, Any]) -> str:
    return ", ".join(map(str, row))[:200]


def _hash(*parts: str) -> bytes:
    return blake2b("\x1f".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
