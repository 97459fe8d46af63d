"""What the reviser makes of the answers that it is shown, on validation problems.

The reviser answers with nothing shown, and after one wrong answer of several kinds: the proposer's
nearest to a right one (what it was trained on, last in its contexts), any of the proposer's, any of
its own, and its own nearest to a right one of its own. Only problems that have all of these count,
each with the same weight; a kind's gain is against nothing shown on the same problems, with a 95 %
interval (paired bootstrap over problems). "copied" says how often the answer is the shown one word
for word.

With ``--train FOLDER`` another reviser is made there first and looked at instead (resumes; some 35
minutes of a core): by the recipe of the one that ships, but for the examples, which that one wrote,
wrong answers and right ones, on 10,000 other training problems.

    pip install 'mull[train]'
    python benchmarks/revision_contexts.py [--problems 300] [--reviser FOLDER]
    python benchmarks/revision_contexts.py --train FOLDER
"""

from __future__ import annotations

import argparse
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from rapidfuzz.distance import Levenshtein

from mull.answers import extract_answer, is_correct
from mull.engines.base import Job
from mull.engines.small import SmallEngine
from mull.problems import Problem
from mull.study import bootstrap
from mull.tiny.load import checkpoint, problems
from mull.trace import Trace

KINDS = ("nothing", "proposer's nearest", "proposer's, any", "its own, any", "its own nearest")
SAMPLES, SHOWN, ANSWERS = 64, 4, 4


def sampled(engine: SmallEngine, traces: list[Trace], salt: str) -> list[Trace]:
    """One continuation a trace."""
    first = zlib.crc32(salt.encode()) << 32
    jobs = [Job(trace, None, 1.0, first + i, 250) for i, trace in enumerate(traces)]
    return [each.trace for each in engine.sample_now(jobs)]


def right(trace: Trace) -> bool | None:
    """Whether an attempt is right, None if it has no answer."""
    answer = extract_answer(trace.text) if trace.complete else None
    return None if answer is None else is_correct(answer, trace.problem.gold or "")


def shown(own: list[Trace], drawn: np.random.Generator, nearest: bool) -> list[str]:
    """``SHOWN`` wrong texts of a problem's samples, or none if they are not of both kinds."""
    good = [trace.text for trace in own if right(trace)]
    bad = [trace.text for trace in own if right(trace) is False]
    if not good or not bad:
        return []
    if not nearest:
        return [bad[k] for k in drawn.integers(0, len(bad), SHOWN)]
    targets = [good[k] for k in drawn.integers(0, len(good), SHOWN)]
    return [min(bad, key=lambda text: Levenshtein.distance(text, target)) for target in targets]


def trained(folder: Path) -> Path:
    """A reviser like the one that ships, trained on that one's own answers."""
    from mull.train.recipes import SHIPPED
    from mull.train.reviser import train_reviser
    from mull.train.revisions import make_revisions

    make_revisions(
        checkpoint("reviser"), replace(SHIPPED.revisions, seed=23), folder / "examples", 0, 1, print
    )
    recipe = replace(SHIPPED.reviser, seed=10)
    return train_reviser(checkpoint("proposer"), folder / "examples", folder / "reviser", recipe)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--problems", type=int, default=300)
    parser.add_argument("--reviser", type=Path, default=checkpoint("reviser"))
    parser.add_argument("--train", type=Path, metavar="FOLDER")
    asked = parser.parse_args()
    chosen: Path = asked.reviser if asked.train is None else trained(asked.train)
    told: tuple[Problem, ...] = problems("validation", asked.problems)
    reviser, proposer = SmallEngine.load(chosen), SmallEngine.load(checkpoint("proposer"))
    every = [Trace(p) for p in told for _ in range(SAMPLES)]
    pools = [sampled(engine, every, "pool") for engine in (proposer, reviser)]
    drawn = np.random.default_rng(0)
    counted, contexts = [], []
    for i, problem in enumerate(told):
        of = [pool[i * SAMPLES : (i + 1) * SAMPLES] for pool in pools]
        found = [shown(of[who], drawn, near) for who, near in ((0, True), (0, False), (1, False), (1, True))]
        if all(found):
            counted.append(problem)
            contexts.append([[""] * SHOWN, *found])
    shares = bootstrap.weights(len(counted), 2000, seed=1)
    first = np.zeros(0)
    print(f"{len(counted)} of {len(told)} problems have right and wrong answers of both models")
    for number, kind in enumerate(KINDS):
        texts = [text for each in contexts for text in each[number] for _ in range(ANSWERS)]
        asking = [p for p in counted for _ in range(SHOWN * ANSWERS)]
        traces = [Trace(p, earlier=(t,) if t else ()) for p, t in zip(asking, texts, strict=True)]
        made = sampled(reviser, traces, kind)
        good = np.array([bool(right(trace)) for trace in made]).reshape(len(counted), -1).mean(axis=1)
        copied = np.mean([trace.text == text for trace, text in zip(made, texts, strict=True)])
        first = good if number == 0 else first
        gain = bootstrap.difference_ci95(good, first, shares)
        print(
            f"{kind:20} right {100 * good.mean():5.1f} %  gain {100 * gain.mean:+5.1f} "
            f"[{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]  copied {100 * copied:4.1f} %"
        )


if __name__ == "__main__":
    main()
