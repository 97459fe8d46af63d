"""Drawing tokens: a random stream a job, without any state, and one token a row of logits.

A job's i-th random number depends on its seed and i alone, a row's token on its own
logits and number alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mull.engines.lanes import Floats, Ints

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def uniforms(seeds: NDArray[np.uint64], counts: NDArray[np.uint64]) -> NDArray[np.float64]:
    """A number in [0, 1) for the i-th token of a seed: splitmix64 of (seed, i)."""
    return drawn(streams(seeds), counts)


def streams(seeds: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Where the numbers of a seed begin, for :func:`drawn`."""
    # The seed is mixed before the count is added: neighbouring seeds share no stretch.
    return _mixed(seeds + _GOLDEN)


def drawn(begin: NDArray[np.uint64], counts: NDArray[np.uint64]) -> NDArray[np.float64]:
    """A number in [0, 1) for the i-th token of a stream."""
    z = _mixed(begin + (counts + np.uint64(1)) * _GOLDEN)
    # 52 bits, so that the product with a sum is below the sum after rounding, too.
    return np.asarray((z >> np.uint64(12)) * 2.0**-52)


def _mixed(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    return z ^ (z >> np.uint64(31))


def choose(
    logits: Floats,
    temperature: NDArray[np.float64],
    uniform: NDArray[np.float64],
    rows: Ints | None = None,
) -> tuple[Ints, Floats, NDArray[np.bool_]]:
    """A token a draw by inverse CDF, its log-probability at temperature 1, and which rows are numbers.

    ``logits`` is [row, token], ``temperature`` [row], ``uniform`` and ``rows``, each draw's row,
    [draw]; without ``rows`` every row is drawn from once. Temperature 0 takes the likeliest token.
    The log-probability is the model's own, whatever the temperature.
    """
    if rows is None:
        rows = np.arange(len(logits))
    with np.errstate(all="ignore"):
        shifted = logits - logits.max(axis=1, keepdims=True)
        weights = np.exp(shifted)
        normal = np.log(weights.sum(axis=1))
        special = temperature != 1
        if special.any():
            divisor = np.where(temperature > 0, temperature, 1)[special, None]
            weights[special] = np.exp(shifted[special] / divisor)
        cumulated = np.cumsum(weights, axis=1, dtype=np.float64)
        # The first token whose cumulated weight is beyond the number: never one of weight 0.
        chosen = (cumulated[rows] > uniform[:, None] * cumulated[rows, -1:]).argmax(axis=1)
        if special.any():
            chosen = np.where(temperature[rows] == 0, logits.argmax(axis=1)[rows], chosen)
        logprob = shifted[rows, chosen] - normal[rows]
    return chosen, logprob, np.isfinite(normal)
