"""Candidate programs executed on tests, where they can do no harm; votes by behaviour."""

from mull.execution.behaviour import (
    agreement,
    best,
    by_agreement,
    candidate,
    classes,
    expected,
    pass_counts,
    votes,
)
from mull.execution.codet import Recorded, load_codet
from mull.execution.grader import ProgramGrader
from mull.execution.limits import GUARANTEES, Level, Limits
from mull.execution.programs import assemble, grade_program, humaneval_suite, mbpp_suite, truncate
from mull.execution.sandbox import Sandbox, run_many
from mull.execution.suite import Outcome, Suite, Verdict

__all__ = [
    "GUARANTEES",
    "Level",
    "Limits",
    "Outcome",
    "ProgramGrader",
    "Recorded",
    "Sandbox",
    "Suite",
    "Verdict",
    "agreement",
    "assemble",
    "best",
    "by_agreement",
    "candidate",
    "classes",
    "expected",
    "grade_program",
    "humaneval_suite",
    "load_codet",
    "mbpp_suite",
    "pass_counts",
    "run_many",
    "truncate",
    "votes",
]
