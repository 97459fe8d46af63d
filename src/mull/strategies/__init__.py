"""Strategies: one algorithm a file, each a generator over one problem.

Every module of this package is imported here, so that dropping a file with a
``@strategy(...)`` function into it registers the method everywhere: in the command
line, the study grid, the policy's candidates, the server and the property tests.
"""

import importlib
import pkgutil

from mull.strategies.base import (
    Arm,
    BudgetError,
    Finals,
    Plan,
    Strategy,
    find,
    start,
    strategies,
    strategy,
)
from mull.strategies.budgets import valid_budgets

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "Arm",
    "BudgetError",
    "Finals",
    "Plan",
    "Strategy",
    "find",
    "start",
    "strategies",
    "strategy",
    "valid_budgets",
]
