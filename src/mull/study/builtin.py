"""The built-in study: the small world in three sizes, with the arms of the paper's figure 3.

The same figures come out of all three; they differ in problems, samples and budgets.
"""

from __future__ import annotations

from typing import Literal

from mull.strategies.base import Arm, Value
from mull.study.config import Source, Study

Size = Literal["quick", "default", "full"]


def builtin(size: Size = "default") -> Study:
    """The study that ``mull study`` runs when it is not given one."""
    if size == "quick":
        return Study("tiny, quick", Source(count=150), pool=128, arms=grid(16))
    if size == "full":
        return Study("tiny, full", Source(count=500), pool=2048, arms=grid(256))
    return Study("tiny", Source(count=500), pool=256, arms=grid(64))


def grid(largest: int) -> tuple[Arm, ...]:
    """Greedy, beam search, lookahead and DVTS at the paper's budgets up to ``largest`` generations."""
    powers = (4, 16, 64, 256)
    arms = [Arm("greedy", 1)]
    arms += [_arm("beam", b, width=4) for b in powers]
    arms += [_arm("beam", b, width="sqrt") for b in powers]
    arms += [_arm("lookahead", b, k=1, width="sqrt") for b in (8, 32, 128)]
    arms += [_arm("lookahead", b, k=3, width=w) for w in ("sqrt", 4) for b in powers[1:]]
    arms += [_arm("dvts", b, width=4) for b in powers[1:]]
    return tuple(arm for arm in arms if arm.budget <= largest)


def _arm(name: str, budget: int, **params: Value) -> Arm:
    return Arm(name, budget, tuple(params.items()))
