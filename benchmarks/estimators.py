"""Time of all selectors at all n from a pool, against a plain loop over samples.

Prints one line a measurement; run with ``python benchmarks/estimators.py``.
"""

from __future__ import annotations

import random
import statistics
import time
from collections import defaultdict

import numpy as np

from mull.study import bootstrap
from mull.study.estimators import Pool, accuracies, draw

P, S, R, B, REPEATS = 500, 256, 1000, 1000, 5
NS = [2**i for i in range(9)]


def make_pool(seed: int = 0) -> Pool:
    """Problems from easy to hopeless, wrong answers with a heavy tail, two verifiers."""
    rng = np.random.default_rng(seed)
    chance = rng.beta(0.35, 1.2, P)[:, None]
    right = rng.random((P, S)) < chance
    tail = rng.uniform(1.3, 3.0, (P, 1))
    wrong = np.minimum(rng.pareto(tail - 0.9, (P, S)).astype(np.int64) + 1, 400)
    answers = np.where(right, 0, wrong).astype(np.int32)
    answers[rng.random((P, S)) < 0.03] = -1
    correct = answers == 0
    scores = {}
    for name, signal in (("prm", 1.2), ("orm", 0.7)):
        logit = signal * (correct - 0.5) + rng.normal(size=(P, S)) + np.log(chance + 0.05)
        scores[name] = (1 / (1 + np.exp(-logit))).astype(np.float32)
    return Pool(answers, correct, scores, rng.integers(20, 200, (P, S)))


def fast(pool: Pool) -> dict[str, np.ndarray]:
    found = accuracies(pool, NS, draw(S, R, seed=1))
    shares = bootstrap.weights(P, B, seed=2)
    for values in found.values():
        bootstrap.ci95(values, shares)
    return found


def loop(pool: Pool, problems: int, resamples: int) -> None:
    """The same by a loop over samples: majority, best-of-n and weighted of every drawn subset, all n."""
    rng = random.Random(0)
    for p in range(problems):
        answers, correct = pool.answers[p].tolist(), pool.correct[p].tolist()
        scores = [score[p].tolist() for score in pool.scores.values()]
        for n in NS:
            for _ in range(resamples):
                subset = rng.sample(range(S), n)
                ballots: list[dict[int, float]] = [defaultdict(float) for _ in range(1 + len(scores))]
                best = [(-1.0, False)] * len(scores)
                for s in subset:
                    if answers[s] < 0:
                        continue
                    ballots[0][answers[s]] += 1
                    for i, score in enumerate(scores):
                        ballots[i + 1][answers[s]] += score[s]
                        best[i] = max(best[i], (score[s], correct[s]))
                for votes in ballots:
                    max(votes, key=votes.__getitem__, default=-1)


def main() -> None:
    pool = make_pool()
    kinds = np.mean([len(np.unique(row[row >= 0])) for row in pool.answers])
    print(f"pool: {P} problems x {S} samples, {kinds:.1f} answer classes a problem, 2 verifiers")
    print(f"n = {NS[0]}..{NS[-1]}, {R} subset draws, 6 selectors, {B} bootstrap draws")
    fast(pool)
    times, busy = [], []
    for _ in range(REPEATS):
        began, cpu = time.perf_counter(), time.process_time()
        fast(pool)
        times.append(time.perf_counter() - began)
        busy.append(time.process_time() - cpu)
    part, drawn = 10, 20
    loops = []
    for _ in range(3):
        began = time.perf_counter()
        loop(pool, part, drawn)
        loops.append((time.perf_counter() - began) * (P / part) * (R / drawn))
    mid, slow = statistics.median(times), statistics.median(loops)
    print(f"vectorised: median {mid:.2f} s ({min(times):.2f} to {max(times):.2f}, {REPEATS} repeats)")
    print(f"            CPU time: median {statistics.median(busy):.2f} s (the rest is waiting for a core)")
    print(f"plain loop: median {slow:.0f} s ({min(loops):.0f} to {max(loops):.0f}, 3 repeats), scaled from")
    print(f"            {part} problems and {drawn} draws, without the bootstrap")
    print(f"ratio: {slow / mid:.0f} x")


if __name__ == "__main__":
    main()
