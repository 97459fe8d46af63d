"""How far a study's verifiers mean what they say: their scores against how often they are right.

The pool is labelled, so the curve costs nothing; beside it stands what an isotonic calibration would make
of the scores, out of fold by problem. The module hands out numbers; it changes no score.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mull.analysis.evidence import Evidence
from mull.calibrate import cross_fitted
from mull.errors import MullError

#: Samples of a problem that are looked at, at most: more of them are more of the same.
MOST = 256


def calibrations(evidence: Evidence) -> dict[str, Any]:
    """By verifier what :meth:`mull.calibrate.Fitted.to_dict` has, of solutions' scores (a PRM's last step).

    A verifier is left out where its samples are all right or all wrong, or its scores are no chances.
    """
    found: dict[str, Any] = {}
    correct = evidence.pool.correct[:, :MOST]
    for name, scores in evidence.pool.scores.items():
        if "-" in name:  # another way to make one score of a PRM's steps
            continue
        try:
            made = cross_fitted(scores[:, :MOST], correct, np.ones(correct.shape, np.bool_))
        except MullError:
            continue
        found[name] = made.to_dict()
    return found
