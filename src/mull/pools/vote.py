"""Choosing a class of samples that need not be right or wrong together, such as programs of one behaviour.

Answers are right as a class, behaviours are not: two programs that do the same on the
generated tests can differ on the official ones. So a class is chosen, and the value is the chance that
a member of it drawn at random is right. Whole pools only; nothing is resampled.
"""

from __future__ import annotations

import numpy as np

from mull.pools.data import PoolData
from mull.study.pools import Bools, Floats, Ints

#: Weights closer than this, relative to the winner's, tie.
_TIE = 1e-9


def chosen_class(classes: Ints, correct: Bools, weights: Floats) -> Floats:
    """The chance that a random member of the heaviest class is right, [P]; ties are split evenly.

    ``classes`` int [P, S], -1 for samples that are not in the running; ``weights`` [P, S]: a class
    weighs the sum over its members. 0 where no sample is in the running.
    """
    found = np.zeros(len(classes))
    for row, (labels, right, weight) in enumerate(zip(classes, correct, weights, strict=True)):
        held = labels >= 0
        if held.any():
            _, place = np.unique(labels[held], return_inverse=True)
            size = np.bincount(place)
            total = np.bincount(place, weight[held])
            share = np.bincount(place, right[held]) / size
            found[row] = share[total >= total.max() * (1 - _TIE)].mean()
    return found


def behaviour_majority(data: PoolData) -> Floats:
    """The most common behaviour, [P]."""
    return chosen_class(_behaviours(data), data.correct, np.ones(data.correct.shape))


def agreement(data: PoolData, tests: str) -> Floats:
    """Dual execution agreement, [P]: sqrt(programs of a behaviour) x tests they pass (Chen et al. 2022).

    ``tests`` names the score that counts passed tests, the same for all programs of one behaviour;
    programs without it are not in the running.
    """
    classes = np.where(np.isnan(data.scores[tests]), -1, _behaviours(data))
    weights = np.zeros(classes.shape)
    for row, labels in enumerate(classes):
        _, place, size = np.unique(labels, return_inverse=True, return_counts=True)
        weights[row] = data.scores[tests][row] / np.sqrt(size[place])
    return chosen_class(classes, data.correct, weights)


def _behaviours(data: PoolData) -> Ints:
    return np.full(data.answers.shape, -1) if data.behaviours is None else data.behaviours
