"""How to spend a labelling budget: many problems with few rollouts, or the paper's 16 x 16?

Each split samples the same number of tokens with the proposer; a PRM of the same recipe is
trained on each for the same number of tokens; all are measured on the same held-out problems.

    python benchmarks/label_split.py [--out DIR] [--million 5] [--train-million 3]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import mull  # noqa: F401  (before NumPy: it chooses the matrix kernels)

# isort: split
import torch

from mull.engines.small import SmallEngine
from mull.tiny.load import checkpoint
from mull.train.labels import LabelPlan, label_chunk, make_labels, read_labels, write_labels
from mull.train.loop import Recipe, final
from mull.train.verifier import measure, new_verifier, train_verifier

#: samples a problem, rollouts a step
SPLITS = ((1, 1), (1, 2), (1, 4), (4, 4), (16, 16))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path, default=Path("label-split"))
    arguments.add_argument("--million", type=float, default=5, help="tokens sampled for labels, a split")
    arguments.add_argument("--train-million", type=float, default=3, help="tokens trained on, a split")
    args = arguments.parse_args()
    torch.set_num_threads(1)
    proposer = checkpoint("proposer")
    make_labels(proposer, LabelPlan(1500, 1, 8, seed=31), args.out / "held-out", 0, 1, print)
    held = list(read_labels(args.out / "held-out"))
    engine = SmallEngine.load(proposer)
    print("| samples x rollouts | problems | labelled samples | BCE | step AUROC | ECE | first error |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for samples, rollouts in SPLITS:
        folder = args.out / f"{samples}x{rollouts}"
        (folder / "labels").mkdir(parents=True, exist_ok=True)
        size = max(500 // (samples * rollouts), 8)
        plan = LabelPlan(10**6, samples, rollouts, chunk=size, seed=41)
        spent, index, count = 0, 0, 0
        while spent < args.million * 1e6:
            rows, tokens = label_chunk(engine, plan, index)
            write_labels(folder / "labels" / f"{index:05d}.npz", rows, tokens)
            spent, index, count = spent + tokens, index + 1, count + len(rows)
        recipe = Recipe(tokens=int(args.train_million * 1e6), lr=2e-3, seed=3, save_every=10**6)
        train_verifier("prm", proposer, folder / "labels", folder / "prm", recipe, lambda line: None)
        model = new_verifier("prm", final(folder / "prm")).eval()
        found = measure(model, "prm", held)
        print(
            f"| {samples} x {rollouts} | {index * size} | {count} | {found.bce:.4f} | {found.auroc:.4f} "
            f"| {found.calibration:.4f} | {found.first_error:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
