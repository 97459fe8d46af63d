"""How fast the small engine samples, beside the arithmetic's floor and beside transformers.

One run, one thread, one process; all figures are CPU time, so that a busy machine blurs
them less. ``python benchmarks/engine.py [--checkpoint FOLDER]``
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from statistics import median

import mull  # before NumPy: it chooses the matrix kernels

# isort: split
import numpy as np

import mull.tiny
from mull.engines.base import Job
from mull.engines.small import SmallEngine
from mull.problems import Problem
from mull.tiny.world import stories
from mull.trace import Trace

SHIPPED = Path(mull.tiny.__file__).parent / "checkpoints" / "proposer"
REVISER = SHIPPED.parent / "reviser"
SAMPLES, MAX_TOKENS = 256, 200
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def timed(work: Callable[[], int]) -> tuple[int, float]:
    """What the work returned, and the CPU seconds it took."""
    start = time.process_time()
    return work(), time.process_time() - start


def rate(work: Callable[[], int], repeats: int) -> list[float]:
    """Units a second, sorted; the work returns how many units it did."""
    return sorted(count / seconds for count, seconds in (timed(work) for _ in range(repeats)))


def shown(rates: list[float], unit: str = "tok/s") -> str:
    return f"{median(rates):9,.0f} {unit}  ({rates[0]:,.0f} to {rates[-1]:,.0f})"


def sgemm(repeats: int = 9) -> list[float]:
    """GFLOP/s of a product of two large square matrices."""
    a, out = np.ones((1024, 1024), np.float32), np.empty((1024, 1024), np.float32)

    def work() -> int:
        for _ in range(5):
            np.matmul(a, a, out=out)
        return 5 * 2 * 1024**3

    return [r / 1e9 for r in rate(work, repeats)]


def jobs(problems: list[Problem], count: int) -> list[Job]:
    return [Job(Trace(problems[i % len(problems)]), None, 1.0, i, MAX_TOKENS) for i in range(count)]


def revisions(engine: SmallEngine, problems: list[Problem]) -> list[Job]:
    """A revision of every problem, after one to four earlier attempts of the engine's, each of its own."""
    asked = [
        Job(Trace(p), None, 1.0, 1000 * n + i, MAX_TOKENS) for i, p in enumerate(problems) for n in range(4)
    ]
    texts = [done.trace.text for done in engine.sample_now(asked)]
    return [
        Job(Trace(p, earlier=tuple(texts[4 * i : 4 * i + 1 + i % 4])), None, 1.0, i, MAX_TOKENS)
        for i, p in enumerate(problems)
    ]


def measured(label: str, engine: SmallEngine, asked: list[Job], repeats: int) -> list[float]:
    """Print an engine's rate beside the floor, the arithmetic of every sample alone; the rates, sorted.

    Samples share what they begin with alike, so the rate can be above the floor; the share of the floor that
    the work really done has is told beside it.
    """
    rates, shares, worked, speeds, floors = [], [], [], [], []
    for turn in range(repeats + 1):
        # The core's speed is taken beside the engine's: both change with what else runs.
        speed = sgemm(3)
        start = time.process_time()
        fresh = engine.fresh()
        done = fresh.sample_now(asked)
        seconds = time.process_time() - start
        if turn:  # the first is to warm up
            flops = sum(d.cost.flops for d in done)
            tokens = sum(d.cost.completion_tokens for d in done)
            speeds.append(median(speed + sgemm(3)))
            floors.append(tokens / (flops / (speeds[-1] * 1e9)))
            rates.append(tokens / seconds)
            shares.append(rates[-1] / floors[-1])
            worked.append(shares[-1] * fresh.computed_tokens / tokens)
    print(f"\n{label}\n  large sgemm   {median(speeds):9,.1f} GFLOP/s")
    print(f"  floor         {median(floors):9,.0f} tok/s")
    spread = f"{median(shares):.0%} of the floor ({min(shares):.0%} to {max(shares):.0%})"
    print(f"  mull          {shown(sorted(rates))}  {spread}")
    part = fresh.computed_tokens / tokens
    print(
        f"  computed      {part:9.0%} of the tokens sampled, at {median(worked):.0%} of the floor", flush=True
    )
    return sorted(rates)


def beam(folder: Path, problems: list[Problem]) -> None:
    """Eight rounds of a beam of 256: no more is computed than is sampled, and each prompt once."""
    engine, sampled, rng = SmallEngine.load(folder), 0, np.random.default_rng(0)
    traces = [Trace(p) for p in problems for _ in range(SAMPLES)]
    start = time.process_time()
    for round_ in range(8):
        done = engine.sample_now([Job(t, 1, 1.0, round_ << 32 | i, MAX_TOKENS) for i, t in enumerate(traces)])
        sampled += sum(d.cost.completion_tokens for d in done)
        traces = []
        for problem in problems:
            alive = [d.trace for d in done if d.trace.open and d.trace.problem is problem]
            if alive:
                kept = rng.choice(len(alive), min(SAMPLES // 4, len(alive)), replace=False)
                traces += [alive[i] for i in kept for _ in range(4)]
        if not traces:
            break
    seconds = time.process_time() - start
    prompts = sum(len(engine.words.prompt(p.prompt)) - 1 for p in problems)
    verdict = "no more" if engine.computed_tokens <= sampled + prompts else "MORE"
    print(
        f"beam of {SAMPLES}, {len(problems)} problems: computed {engine.computed_tokens:,} tokens, "
        f"{verdict} than sampled {sampled:,} + prompts {prompts:,}; {sampled / seconds:,.0f} tok/s"
    )


def transformers_rate(
    folder: Path, engine: SmallEngine, problems: list[Problem], repeats: int
) -> list[float]:
    """Sampled tokens a second of ``generate``, prompts padded on the left."""
    import torch
    from transformers import LlamaForCausalLM

    torch.set_num_threads(1)
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    prompts = [engine.words.prompt(problems[i % len(problems)].prompt) for i in range(SAMPLES)]
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + list(p) for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    eos = engine.words.eos[0]

    def work() -> int:
        out = model.generate(
            ids, attention_mask=mask, do_sample=True, temperature=1.0, top_k=0, max_new_tokens=MAX_TOKENS
        )[:, width:]
        return int(((out == eos).cumsum(1) - (out == eos).long() == 0).sum())

    return rate(work, repeats)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--lanes", type=int, default=None)
    parser.add_argument("--reviser", type=Path, default=REVISER)
    parser.add_argument("--alone", action="store_true", help="without transformers beside")
    args = parser.parse_args()
    lanes = {"lanes": args.lanes} if args.lanes else {}
    engine = SmallEngine.load(args.checkpoint, **lanes)
    problems = [Problem(str(i), s.prompt) for i, s in enumerate(islice(stories("test", 3), SAMPLES))]
    typical = sorted(problems, key=lambda p: len(engine.words.prompt(p.prompt)))[
        SAMPLES // 2 : SAMPLES // 2 + 1
    ]
    print(f"{engine.name}: {engine.size.parameters:,} parameters")
    cases = (
        (f"{SAMPLES} samples of one problem", typical, SAMPLES),
        (f"{4 * SAMPLES} samples of one problem", typical, 4 * SAMPLES),
        (f"{16 * SAMPLES} samples of 64 problems", problems[:64], 16 * SAMPLES),
        (f"one sample of each of {SAMPLES} problems", problems, SAMPLES),
    )
    for label, chosen, count in cases:
        rates = measured(label, engine, jobs(chosen, count), args.repeats)
        if count == SAMPLES and not args.alone:
            try:
                other = transformers_rate(args.checkpoint, engine, chosen, max(3, args.repeats // 2))
            except ImportError as error:
                print(f"  transformers  not measured: {error}")
                continue
            ratio = median(rates) / median(other)
            print(f"  transformers  {shown(other)}  mull is {ratio:.1f} times as fast")
    reviser = SmallEngine.load(args.reviser, **lanes)
    asked = revisions(engine, problems)
    heads = sorted(len(reviser.words.head(job.trace)[1]) for job in asked)
    label = f"one revision of each of {SAMPLES} problems, after {heads[0]} to {heads[-1]} tokens of its own"
    measured(label, reviser, asked, args.repeats)
    print()
    beam(args.checkpoint, problems[:4])


if __name__ == "__main__":
    if any(os.environ.get(name) != "1" for name in ONE_THREAD):
        # The libraries read these when they are loaded, which has happened by now.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ONE_THREAD})
    main()
