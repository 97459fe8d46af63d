"""What a problem's text says of the length of its solutions before the first: ridge regression on hashed
words.

Features: counts of words and of pairs of words, hashed to a fixed number of columns, and a few plain ones
(length, digits, symbols). The target is the log-length of the model's solutions, which tells how hard it
finds a problem. Reading a text costs far less than one generated token; ``TOKENS`` are charged for it all
the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from itertools import pairwise

import numpy as np

from mull.allocation.lengths import GRAIN, grains
from mull.study.pools import Bools, Floats, Ints

#: Charged to each problem whose text is read, in tokens of the model.
TOKENS = 1
COLUMNS = 1024
PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0)
_FOLDS = 5
_WORD = re.compile(r"[A-Za-z]+|\d+|\\[A-Za-z]+|[^\sA-Za-z\d]")


def features(texts: Sequence[str]) -> Floats:
    """One row a text, [P, COLUMNS + 5]: hashed words and pairs (square roots of counts), and plain
    numbers."""
    found = np.zeros((len(texts), COLUMNS + 5))
    for row, text in enumerate(texts):
        words = [word.lower() for word in _WORD.findall(text)]
        for gram in words + [f"{a} {b}" for a, b in pairwise(words)]:
            code = int.from_bytes(
                blake2b(gram.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big"
            )
            found[row, code % COLUMNS] += 1.0
        digits, marks = sum(c.isdigit() for c in text), sum(not c.isalnum() and not c.isspace() for c in text)
        plain = (len(text), len(words), digits, marks, len(set(words)))
        found[row, COLUMNS:] = np.log1p(plain)
    found[:, :COLUMNS] = np.sqrt(found[:, :COLUMNS])
    return found


def expected(texts: Floats, tokens: Ints, train: Bools, limit: int = 0) -> Floats:
    """The log-length expected of every problem [P] from its text's ``features``, learned on training
    problems.

    ``tokens`` [P, S]: only the rows of training problems are read. A training problem's own value comes
    from the other training folds, so that what is fitted on these values afterwards trusts them no more
    than new ones.
    """
    rows = np.nonzero(train)[0]
    paid = np.minimum(tokens[rows], limit) if limit else tokens[rows]
    target = (grains(paid) / GRAIN).mean(axis=1)
    inputs = texts[rows]
    fold = np.arange(len(rows)) % min(_FOLDS, len(rows))
    inner = {penalty: np.empty(len(rows)) for penalty in PENALTIES}
    for part in range(int(fold.max()) + 1):
        out = fold == part
        for penalty, values in _ridge(inputs[~out], target[~out], inputs[out]).items():
            inner[penalty][out] = values
    best = min(PENALTIES, key=lambda penalty: float(((inner[penalty] - target) ** 2).mean()))
    found = np.empty(len(texts))
    found[~train] = _ridge(inputs, target, texts[~train])[best]
    found[rows] = inner[best]
    return found


def _ridge(inputs: Floats, target: Floats, new: Floats) -> dict[float, Floats]:
    """Predictions for ``new`` under each penalty, by the dual form (fewer texts than columns)."""
    center, scale = inputs.mean(axis=0), np.maximum(inputs.std(axis=0), 0.1)
    ours, theirs = (inputs - center) / scale, (new - center) / scale
    kernel, across = ours @ ours.T, theirs @ ours.T
    values, vectors = np.linalg.eigh(kernel)
    around = vectors.T @ (target - target.mean())
    width = inputs.shape[1]
    return {
        penalty: target.mean() + across @ (vectors @ (around / (np.maximum(values, 0) + penalty * width)))
        for penalty in PENALTIES
    }
