"""Verifiers and revisers of real models, in two stages: data by any engine, then training on them.

A stage whose output is there is skipped, so data of one's own (a recorded pool, an imported set of
labelled steps) take the place of the first. ``docs/training.md`` is the page for users.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mull.engines.base import Engine
from mull.engines.prompts import Format
from mull.pools.record import Recording, record
from mull.problems import Problem
from mull.study.progress import reporter
from mull.train.encoding import Kind
from mull.train.rollouts import Labelling, label

#: The file of each kind's data, under the folder of the training.
DATA: dict[Kind, str] = {"prm": "labels.parquet", "orm": "samples.parquet", "reviser": "samples.parquet"}


@dataclass(frozen=True)
class Data:
    """What data are made: ``samples`` solutions a problem, and for a PRM ``rollouts`` from every step."""

    problems: tuple[Problem, ...]
    engine: Engine
    samples: int
    rollouts: int = 8
    seed: int = 0
    temperature: float = 1.0
    max_tokens: int = 2048
    grader: str | None = None


def make_data(kind: Kind, data: Data, out: Path, say: Callable[[str], None]) -> Path:
    """Make a kind's data under ``out``, or whatever is missing of them; their file.

    A PRM's are step labels by rollouts, the others' a pool of samples (:mod:`mull.pools.record`).
    """
    file = out / DATA[kind]
    if file.exists():
        return file
    out.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {
        "samples": data.samples,
        "seed": data.seed,
        "temperature": data.temperature,
        "max_tokens": data.max_tokens,
        "grader": data.grader,
    }
    if kind == "prm":
        label(Labelling(data.problems, data.engine, rollouts=data.rollouts, **settings), file, say)
    else:
        record(Recording(data.problems, data.engine, **settings), file, say=reporter())
    say(f"data: {file}")
    return file


def usage(kind: Kind, checkpoint: Path, form: Format | None) -> str:
    """How a trained checkpoint is named in a study."""
    if kind == "reviser":
        named = "chat" if form is not None and form.chat else "text"
        return (
            f"vllm serve {checkpoint} --served-model-name reviser\n"
            f'reviser = {{ url = "http://localhost:8000", model = "reviser", format = "{named}" }}'
        )
    adapter = {"prm": "trl-prm", "orm": "reward-model"}[kind]
    return f'verifiers = {{ {kind} = {{ adapter = "{adapter}", path = "{checkpoint}" }} }}'
