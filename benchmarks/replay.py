"""Time of replaying all rules on 500 problems x 80 samples, and against a plain loop over samples.

    python benchmarks/replay.py

Made-up answers and lengths, no file is read. Prints CPU time (one thread) of everything that
``mull replay`` does: all rules, 20 two-fold splits for the learned ones, 1,000 bootstrap draws; the cost of
a decision (one look of one rule at one run of one problem); and the ratio to a Python loop with the
same rules and the same answers, with its spread.
"""

from __future__ import annotations

import random
import statistics
import time
from collections import Counter
from dataclasses import replace

import numpy as np

from mull.replay import Recorded, replay
from mull.replay.entries import default, table
from mull.replay.ledger import Ledger
from mull.strategies import Arm
from mull.strategies.adaptive_consistency import lead_probability
from mull.strategies.bayes_stop import stays
from mull.strategies.confidence_vote import grains
from mull.strategies.marginal import gain

P, S, N, RUNS, REPEATS = 500, 80, 64, 20, 5


def make_recorded(seed: int = 0) -> Recorded:
    """Problems from easy to hopeless, wrong answers with a heavy tail, scores and log-probabilities."""
    rng = np.random.default_rng(seed)
    chance = rng.beta(1.2, 0.5, P)[:, None]
    wrong = 1 + np.minimum(rng.pareto(1.2, (P, S)), 30).astype(np.int64)
    answers = np.where(rng.random((P, S)) < chance, 0, wrong)
    right = np.zeros((P, 32), bool)
    right[:, 0] = True
    tokens = (np.exp(rng.normal(0, 0.6, (P, S))) * 2000 * (2 - chance)).astype(np.int64)
    scores = np.rint(rng.random((P, S)) * 2**20) / 2**20
    logprobs = -rng.random((P, S)) * tokens
    sure = np.array([[grains(m) for m in row] for row in (logprobs / tokens).tolist()])
    texts = tuple(tuple(map(str, range(32))) for _ in range(P))
    rank = np.tile(np.arange(S), (P, 1))
    names = tuple(map(str, range(P)))
    return Recorded(names, answers, texts, right, tokens, scores, sure, logprobs, rank, 64)


def loop(answers: list[int], tokens: list[int], rule: str) -> tuple[int, int, int]:
    """One run of one problem, sample by sample; the answer, samples and tokens."""
    votes: Counter[int] = Counter()
    spent = 0
    for n, (answer, length) in enumerate(zip(answers, tokens, strict=True), 1):
        votes[answer] += 1
        spent += length
        (_, top), (_, second) = (*votes.most_common(2), (0, 0))[:2]
        if rule == "adaptive_consistency" and lead_probability(top, second) >= 0.95:
            break
        if rule == "bayes_stop" and stays(N - n, n, top, second) >= 0.95:
            break
        if rule == "early_stopping" and n % 5 == 0 and len(set(answers[n - 5 : n])) == 1:
            break
        if rule == "marginal" and gain(n, top, second) < 0.025:
            break
    best = max(votes.values())
    return min(a for a, c in votes.items() if c == best), n, spent


LOOPED = ("majority", "adaptive_consistency", "bayes_stop", "early_stopping", "marginal")


def cpu(function: object) -> float:
    began = time.process_time()
    function()  # type: ignore[operator]
    return time.process_time() - began


def main() -> None:
    recorded = make_recorded()
    orders = recorded.orders(RUNS, N, seed=0)
    print(f"{P} problems x {S} samples, {RUNS} runs, up to {N} samples a run; CPU time of one thread")
    everything = [
        cpu(lambda s=s: table(Ledger(recorded.draw(RUNS, N, s)), default(recorded, N), splits=20, draws=1000))
        for s in range(3)
    ]
    arms = default(recorded, N)
    print(
        f"all {len(arms)} rules, 20 splits, 1,000 bootstrap draws: "
        f"median {statistics.median(everything):.1f} s "
        f"({min(everything):.1f} to {max(everything):.1f}, 3 repeats)"
    )
    for arm in dict.fromkeys(replace(a, params=()) for a in arms if not a.strategy.startswith("learned")):
        times, looks = [], 0
        for _ in range(3):
            drawn = recorded.drawn(orders)
            began = time.process_time()
            outcome = replay(drawn, arm)
            times.append(time.process_time() - began)
            looks = int(outcome.generations.sum())
        print(f"  {arm!s:28} {statistics.median(times) / looks * 1e6:6.3f} us a decision ({looks} decisions)")
    part, few = 50, 4
    fast: list[float] = []
    slow: list[float] = []
    for _ in range(REPEATS):
        drawn = recorded.drawn(orders)
        fast.append(cpu(lambda d=drawn: [replay(d, Arm(rule, N)) for rule in LOOPED]))
        columns = random.Random(0).sample(range(drawn.answers.shape[1]), part * few)
        runs = [(drawn.answers[:, c].tolist(), drawn.tokens[:, c].tolist()) for c in columns]
        share = len(columns) / drawn.answers.shape[1]
        slow.append(cpu(lambda r=runs: [loop(*run, rule) for rule in LOOPED for run in r]) / share)
        for rule in LOOPED:  # the loop's answers are the replay's
            found = replay(drawn, Arm(rule, N))
            cells = (
                found.answer.ravel()[columns],
                found.generations.ravel()[columns],
                found.tokens.ravel()[columns],
            )
            assert [loop(*run, rule) for run in runs] == list(
                zip(*(c.tolist() for c in cells), strict=True)
            ), rule
    ratios = [b / a for a, b in zip(fast, slow, strict=True)]
    print(
        f"{len(LOOPED)} rules, vectorised: median {statistics.median(fast):.2f} s; plain loop: "
        f"{statistics.median(slow):.1f} s (scaled from {part * few} of {P * RUNS} runs)"
    )
    low, high = min(ratios), max(ratios)
    print(f"ratio: {statistics.median(ratios):.0f} x ({low:.0f} to {high:.0f}, {REPEATS} repeats)")


if __name__ == "__main__":
    main()
