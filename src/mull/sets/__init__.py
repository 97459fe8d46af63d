"""Data sets as problems: GSM8K, MATH-500, AIME, AMC, GPQA, HumanEval and MBPP by name, and any other by path.

from mull.sets import default_grader, load
load("math500", count=100)             # from Hugging Face's cache, or from $MULL_SETS
default_grader("math500")              # "math"
"""

from mull.sets.known import SETS, DataSet, Place
from mull.sets.load import default_grader, load

__all__ = ["SETS", "DataSet", "Place", "default_grader", "load"]
