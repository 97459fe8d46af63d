"""mull spends a language model's test-time compute where it pays.

    from mull import Arm, ask, run_study
    print(ask("Ann has 3 eggs. ...", budget=16).answer)
    summary = run_study(out="mull-study")

Names are imported when they are first used. Import mull before NumPy: it then asks for matrix
kernels under which a result does not depend on what is computed beside it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mull.kernels import settle

__version__ = "0.1.0"

settle()

if TYPE_CHECKING:
    from mull.analysis.run import run_study
    from mull.answering import Answer, ask
    from mull.cost import Cost, ModelSize
    from mull.drive import Driver, Result, Task
    from mull.engines.small import SmallEngine
    from mull.errors import MullError
    from mull.policy_file import Policy
    from mull.policy_file import load as load_policy
    from mull.problems import Problem
    from mull.strategies.base import Arm, strategies
    from mull.study.builtin import builtin
    from mull.study.config import Source, Study, load_problems
    from mull.study.config import read as read_study
    from mull.tiny.load import checkpoint
    from mull.verifiers.small import SmallVerifier

__all__ = [
    "Answer",
    "Arm",
    "Cost",
    "Driver",
    "ModelSize",
    "MullError",
    "Policy",
    "Problem",
    "Result",
    "SmallEngine",
    "SmallVerifier",
    "Source",
    "Study",
    "Task",
    "ask",
    "builtin",
    "checkpoint",
    "load_policy",
    "load_problems",
    "read_study",
    "run_study",
    "strategies",
]

#: Where each name is, as "module" or "module:name there".
_HOME = {
    "Answer": "answering",
    "Arm": "strategies.base",
    "Cost": "cost",
    "Driver": "drive",
    "ModelSize": "cost",
    "MullError": "errors",
    "Policy": "policy_file",
    "Problem": "problems",
    "Result": "drive",
    "SmallEngine": "engines.small",
    "SmallVerifier": "verifiers.small",
    "Source": "study.config",
    "Study": "study.config",
    "Task": "drive",
    "ask": "answering",
    "builtin": "study.builtin",
    "checkpoint": "tiny.load",
    "load_policy": "policy_file:load",
    "load_problems": "study.config",
    "read_study": "study.config:read",
    "run_study": "analysis.run",
    "strategies": "strategies.base",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mull' has no attribute {name!r}")
    home, _, there = _HOME[name].partition(":")
    return getattr(import_module(f"mull.{home}"), there or name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
