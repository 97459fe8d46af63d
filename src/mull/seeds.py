"""Seeds: where every random number of a run comes from.

A continuation's seed is a hash of the study's seed, the problem, the arm, the number of
the request and the place in it, and of nothing else: not of batch mates, order or time.
"""

from __future__ import annotations

import json
from hashlib import blake2b

from mull.strategies.base import Arm


def scope(arm: Arm) -> str:
    """What of an arm goes into its seeds: its text, or for one generation nothing.

    A budget of one generation leaves nothing to search, so all such arms draw the same
    solution: at N = 1 they are equal, not only equal on average.
    """
    return str(arm) if arm.budget > 1 else "@1"


def seed_for(study_seed: int, problem_id: str, arm: Arm, request: int, index: int) -> int:
    """The 64-bit seed of continuation ``index`` of a task's ``request``-th request (both from 0)."""
    text = json.dumps([study_seed, problem_id, scope(arm), request, index])
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
