"""Grading: is an answer right, which answers are the same, and which answer a text gives."""

from mull.answers import Grader
from mull.grading.classes import Classes, classes
from mull.grading.equal import Verdict, equal
from mull.grading.extract import CONVENTIONS, final_answer
from mull.grading.named import grader
from mull.grading.settings import PRESETS, Settings, preset
from mull.grading.workers import MathVerify

__all__ = [
    "CONVENTIONS",
    "PRESETS",
    "Classes",
    "Grader",
    "MathVerify",
    "Settings",
    "Verdict",
    "classes",
    "equal",
    "final_answer",
    "grader",
    "preset",
]
