"""The data sets that mull knows by name: where they are published, their shape, and their grader.

Repositories are those of the Hugging Face Hub. Nothing is downloaded here; data sets keep their
publishers' licences and terms.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mull.sets.shapes import Shape, choices, humaneval, mbpp, plain

_BOX = r"Please reason step by step, and put your final answer within \boxed{}."


@dataclass(frozen=True)
class Place:
    """A repository on the Hub with the set: its configuration, and what it calls the test split."""

    repo: str
    config: str | None = None
    split: str = "test"


@dataclass(frozen=True)
class DataSet:
    """A data set: its name, how many problems its test split has, where it is, its shape and its grader.

    ``instruction`` is what a chat model is usually told for the grader to find its answer; it is
    not part of the prompts. ``columns`` tell its files from others'. ``gated``: the Hub asks for an
    account that has accepted its terms.
    """

    name: str
    size: int
    places: tuple[Place, ...]
    grader: str
    shape: Shape = plain
    instruction: str = _BOX
    columns: tuple[str, ...] = ()
    gated: bool = False


_CODE = "Write the whole function in one Python code block."
_ALL = (
    DataSet(
        "gsm8k",
        1319,
        (Place("openai/gsm8k", "main"), Place("gsm8k", "main")),
        "form",
        instruction="Solve the problem step by step. End with a line '#### ' and the number alone.",
    ),
    DataSet(
        "math500", 500, (Place("HuggingFaceH4/MATH-500"), Place("lighteval/MATH-500", split="test")), "math"
    ),
    DataSet(
        "aime24",
        30,
        (
            Place("HuggingFaceH4/aime_2024", split="train"),
            Place("Maxwell-Jia/AIME_2024", split="train"),
            Place("math-ai/aime24"),
        ),
        "form",
    ),
    DataSet(
        "aime25",
        30,
        (
            Place("math-ai/aime25"),
            Place("opencompass/AIME2025"),
            Place("yentinglin/aime_2025", split="train"),
            Place("MathArena/aime_2025", split="train"),
        ),
        "form",
    ),
    DataSet("amc23", 40, (Place("math-ai/amc23"),), "form"),
    DataSet("amc", 83, (Place("AI-MO/aimo-validation-amc", split="train"),), "form"),
    DataSet(
        "gpqa",
        198,
        (Place("Idavidrein/gpqa", "gpqa_diamond", "train"),),
        "choice",
        choices,
        "Think step by step. End with a line 'Answer: ' and the letter of your choice.",
        ("Question", "Correct Answer", "Incorrect Answer 1"),
        gated=True,
    ),
    DataSet(
        "humaneval",
        164,
        (Place("openai/openai_humaneval", "openai_humaneval"), Place("openai_humaneval")),
        "code",
        humaneval,
        _CODE,
        ("prompt", "test", "entry_point"),
    ),
    DataSet(
        "mbpp",
        500,
        (Place("google-research-datasets/mbpp", "full"), Place("mbpp", "full")),
        "code",
        mbpp,
        _CODE,
        ("test_list", "task_id"),
    ),
    DataSet(
        "mbpp-sanitized",
        257,
        (Place("google-research-datasets/mbpp", "sanitized"), Place("mbpp", "sanitized")),
        "code",
        mbpp,
        _CODE,
        ("test_list", "test_imports", "task_id"),
    ),
)

#: The data sets by name.
SETS: Mapping[str, DataSet] = MappingProxyType({one.name: one for one in _ALL})
_OTHER_NAMES = {"gpqadiamond": "gpqa", "aime2024": "aime24", "aime2025": "aime25", "amc2023": "amc23",
                "openaihumaneval": "humaneval", "mbppsanitized": "mbpp-sanitized"}  # fmt: skip


def find(name: str) -> DataSet | None:
    """The set of that name, however written (MATH-500, math_500), or of that repository; None if none."""
    plainly = re.sub(r"[^a-z0-9]", "", name.lower())
    known = SETS.get(_OTHER_NAMES.get(plainly, plainly))
    if known is not None:
        return known
    return next((one for one in _ALL if name in {place.repo for place in one.places}), None)


def recognised(columns: set[str]) -> DataSet | None:
    """The set whose files have these columns, where that says enough; None if it does not."""
    return next((one for one in _ALL if one.columns and set(one.columns) <= columns), None)
