"""Graders by name: what ``grader = "math"`` in a study and ``--grader math`` on a command mean.

The presets of :mod:`mull.grading.settings`, and "code", whose answers are programs. Looking a
name up also checks that what the grader needs is installed, so that nothing is sampled first.
"""

from __future__ import annotations

from functools import cache

from mull.answers import Grader
from mull.errors import MullError
from mull.grading.settings import PRESETS
from mull.grading.workers import available

#: Other names: what the paper used is the PRM800K grader.
ALIASES = {"paper": "prm800k"}
#: The name of the grader of programs.
CODE = "code"


def known() -> tuple[str, ...]:
    """The names, presets first."""
    return (*PRESETS, *ALIASES, CODE)


def grader(name: str | None) -> Grader | None:
    """The grader of that name; None for None, which is mull's own normal form and the cheapest.

    "code" is one grader for the whole process, with one sandbox. Raises :class:`MullError`, which
    lists the names, for an unknown one, and where the grader needs math-verify and that is not
    installed.
    """
    if name is None:
        return None
    if name == CODE:
        return _programs()
    settings = PRESETS.get(ALIASES.get(name, name))
    if settings is None:
        raise MullError(f"there is no grader {name!r}; known: {', '.join(known())}")
    if settings.reach == "symbolic" and settings.missing == "error" and not available():
        raise MullError(
            f"grader {name!r} needs math-verify: pip install 'mull[math]' "
            "(graders that need nothing: exact, form, hendrycks, choice)"
        )
    return settings


@cache
def _programs() -> Grader:
    from mull.execution.grader import ProgramGrader

    return ProgramGrader()
