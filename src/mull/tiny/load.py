"""The small world as users meet it: its problems, and the checkpoints that come with mull.

The module finds and converts; it never samples a model and never trains one.
"""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import Literal

from mull.errors import MullError
from mull.problems import Problem
from mull.tiny.world import Split, Story, stories

Name = Literal["proposer", "prm", "orm", "revision", "reviser", "restem", "larger"]

#: Where the trained checkpoints lie.
CHECKPOINTS = Path(__file__).parent / "checkpoints"


def problems(split: Split = "test", count: int = 500, seed: int = 0) -> tuple[Problem, ...]:
    """The first ``count`` problems of a split, in the order that ``seed`` draws them."""
    return tuple(problem(story) for story in itertools.islice(stories(split, seed), count))


def problem(story: Story) -> Problem:
    """A story as a problem; its id is a hash of its text, so it is the same in every study."""
    name = hashlib.blake2b(story.prompt.encode(), digest_size=8).hexdigest()
    meta = {
        "steps": len(story.chain),
        "facts": len(story.facts),
        "backwards": sum(fact.kind.startswith("r") for fact in story.chain),
        "largest": max(fact.number for fact in story.facts),
    }
    return Problem(f"tiny-{name}", story.prompt, str(story.answer), meta)


def checkpoint(name: Name) -> Path:
    """The folder of one of the small world's checkpoints; :class:`MullError` if it is not there."""
    folder = CHECKPOINTS / name
    if not (folder / "config.json").is_file():
        raise MullError(
            f"the small world's {name} checkpoint is not at {folder}; "
            "install mull from a release, or train it with 'mull train tiny'"
        )
    return folder
