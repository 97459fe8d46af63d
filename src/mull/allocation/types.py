"""Types of problems: how a model's answers to one problem are spread, and how likely each spread is.

A type says which share of the answers is right, which shares fall on the two commonest wrong answers, and
which share scatters over answers that nobody repeats. A problem is taken to be one of a fixed grid of
types; the weights of the types are the prior, fitted by maximum likelihood on problems with known answers
(the nonparametric maximum likelihood of Kiefer and Wolfowitz 1956, by EM; Koenker and Mizera 2014), drawn
towards a smooth base. The module fits and never looks at a problem that it is to judge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mull.errors import MullError
from mull.study.pools import Bools, Floats, Ints

#: The grid of log-odds of a right answer. The ends stand for "never" and "always".
LOGITS = np.array([-7.0, -4.5, -3.25, -2.25, -1.5, -0.9, -0.4, 0.0, 0.4, 0.9, 1.5, 2.25, 3.25, 4.5, 7.0])
#: The grid of how wrong answers are spread: shares of the wrong ones that fall on the two commonest.
SPREADS = np.array(
    [
        (0.06, 0.05), (0.2, 0.1), (0.3, 0.25), (0.45, 0.15), (0.45, 0.4),
        (0.65, 0.1), (0.65, 0.3), (0.85, 0.1), (0.97, 0.02),
    ]
)  # fmt: skip
#: How many problems the smooth base counts for; the one that predicts left-out problems best is taken.
STRENGTHS = (6.0, 20.0, 60.0)
_FOLDS = 5
#: The Betas that the base is chosen from, by mean and size a + b.
MEANS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.87, 0.92, 0.95, 0.975)
SIZES = (0.2, 0.4, 0.8, 1.5, 3.0, 6.0)


def grid() -> Floats:
    """The shares (right, first wrong, second wrong, scattered) of all types, [T, 4]; rows sum to 1."""
    right = 1.0 / (1.0 + np.exp(-LOGITS))
    wrong = 1.0 - right
    first, second = SPREADS.T
    shares = np.empty((len(right), len(first), 4))
    shares[..., 0] = right[:, None]
    shares[..., 1] = wrong[:, None] * first
    shares[..., 2] = wrong[:, None] * second
    shares[..., 3] = wrong[:, None] * (1.0 - first - second)
    return shares.reshape(-1, 4)


def leaning() -> Floats:
    """How far each type's answers agree, from -1 to 1 (share of the commonest answer, scaled): [T].

    A hint at difficulty tilts by this and not by the chance of being right: long solutions mean answers that
    scatter, and say little on whether answers that agree are right (docs/allocation.md).
    """
    return np.asarray(2.0 * grid()[:, :3].max(axis=1) - 1.0)


def counted(answers: Ints, right: Bools) -> Ints:
    """Labelled problems as counts (right, first wrong, second wrong, others), [Q, 4].

    ``answers`` [Q, S]: classes, -1 for none; ``right`` bool [Q, K].
    """
    found = np.zeros((len(answers), 4), np.int64)
    for row, (labels, good) in enumerate(zip(answers, right, strict=True)):
        votes = np.bincount(labels[labels >= 0], minlength=len(good))
        wrong = np.sort(votes[~good])[::-1]
        first, second = (int(wrong[i]) if len(wrong) > i else 0 for i in (0, 1))
        hit, voting = int(votes[good].sum()), int(votes.sum())
        found[row] = hit, first, second, voting - hit - first - second
    return found


def likelihoods(counts: Ints) -> Floats:
    """Log-likelihood of each labelled problem [Q, 4] under each type, up to a constant a problem: [Q, T]."""
    return np.asarray(counts @ np.log(grid()).T)


@dataclass(frozen=True, eq=False)
class Prior:
    """Weights [T] of the types, and how many problems' worth of smooth base they hold."""

    weights: Floats
    strength: float

    def tilted(self, tilt: Floats) -> Floats:
        """The weights after hints at difficulty: multiplied by exp(tilt * leaning), [..., T]."""
        return tilted(self.weights, tilt)


def tilted(weights: Floats, tilt: Floats) -> Floats:
    """``weights`` [T] multiplied by exp(``tilt`` [...] * leaning) and normalised, [..., T]."""
    logs = np.asarray(tilt, np.float64)[..., None] * leaning()
    scaled = weights * np.exp(logs - logs.max(axis=-1, keepdims=True))
    return np.asarray(scaled / scaled.sum(axis=-1, keepdims=True))


def fit(counts: Ints) -> Prior:
    """The prior from labelled problems [Q, 4], by EM with a Dirichlet pseudo-count of ``strength`` problems:

        weights = (sum of the problems' posteriors + strength * base) / (Q + strength).

    The base is a Beta fitted to the right shares, times the wrong answers' spreads as they are on all
    problems alike. The strength is the one under which problems left out are likeliest.
    """
    if len(counts) < 2:
        raise MullError(f"a prior is learned from at least 2 labelled problems; there are {len(counts)}")
    logs = likelihoods(counts)
    joint = np.exp(logs - logs.max(axis=1, keepdims=True))
    fold = np.arange(len(counts)) % min(_FOLDS, len(counts))
    scores = dict.fromkeys(STRENGTHS, 0.0)
    for part in range(int(fold.max()) + 1):
        inside, outside = joint[fold != part], joint[fold == part]
        base = _base(inside)
        for strength in STRENGTHS:
            scores[strength] += float(np.log(outside @ _weights(inside, base, strength)).sum())
    strength = max(STRENGTHS, key=lambda s: scores[s])
    return Prior(_weights(joint, _base(joint), strength), strength)


def _weights(joint: Floats, base: Floats, strength: float, rounds: int = 60) -> Floats:
    weights = base
    for _ in range(rounds):
        posteriors = weights * (joint.T @ (1.0 / (joint @ weights)))
        weights = (posteriors + strength * base) / (len(joint) + strength)
    return weights


def _base(joint: Floats) -> Floats:
    """A smooth prior: Beta over the right share, cut to the grid, times the spreads' common weights."""
    shape = (len(LOGITS), len(SPREADS))
    flat = joint.reshape(-1, *shape)
    by_right = flat.mean(axis=2)  # [Q, logits], the spreads integrated out
    share = 1.0 / (1.0 + np.exp(-LOGITS))
    mean, size = (x.ravel()[:, None] for x in np.meshgrid(MEANS, SIZES))
    # over log-odds the density of a Beta(a, b) is p^a (1-p)^b
    density = np.gradient(LOGITS) * share ** (mean * size) * (1 - share) ** ((1 - mean) * size)
    density /= density.sum(axis=1, keepdims=True)
    found = density[np.log(density @ by_right.T).sum(axis=1).argmax()]
    spread = np.full(shape[1], 1.0 / shape[1])
    given = np.einsum("qps,p->qs", flat, found)
    for _ in range(20):
        shares = spread * (given.T @ (1.0 / (given @ spread)))
        spread = (shares + 1.0 / shape[1]) / (len(given) + 1.0)
    return np.outer(found, spread).ravel()
