"""The whole small world from nothing: proposer, labels, PRM, ORM, on a CPU.

Every stage resumes where it stopped, so the same command goes on after an
interruption. Labelling and the two verifiers run as two single-threaded processes.
The shipped checkpoints are this module's output.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from mull.errors import MullError
from mull.train.labels import LabelPlan, make_labels
from mull.train.loop import Recipe
from mull.train.proposer import train_proposer
from mull.train.verifier import Kind, best, train_verifier

LABELS = LabelPlan(problems=80_000, samples=1, rollouts=2)
#: Each verifier's phases; a later one starts from the best checkpoint of the one before.
RECIPES: dict[Kind, tuple[Recipe, ...]] = {
    "prm": (Recipe(tokens=20_000_000, lr=2e-3, seed=3), Recipe(tokens=15_000_000, lr=2e-3, seed=5)),
    "orm": (Recipe(tokens=14_000_000, lr=2e-3, seed=4),),
}
PROCESSES = 2
#: One thread a process, and glibc told to keep its memory (32 MiB is the largest threshold it takes).
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "1000000000",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
}


def train_tiny(out: Path, say: Callable[[str], None] = print) -> None:
    """Train everything under ``out``; ends with ``out/checkpoints`` and ``out/training.json``.

    Raises :class:`MullError` if a stage fails; what it had finished is kept.
    """
    out.mkdir(parents=True, exist_ok=True)
    say("1 of 3: the proposer (two phases of pre-training)")
    _run([["proposer"]], out)
    say("2 of 3: Monte-Carlo step labels")
    _run([["labels", str(part)] for part in range(PROCESSES)], out)
    say("3 of 3: the PRM and the ORM")
    _run([["verifier", kind] for kind in RECIPES], out)
    collect(out)
    say(f"done: checkpoints and their hashes are in {out / 'checkpoints'}")


def _run(stages: list[list[str]], out: Path) -> None:
    command = [sys.executable, "-m", "mull.train.tiny", str(out)]
    running = [subprocess.Popen([*command, *stage], env={**os.environ, **_ENVIRONMENT}) for stage in stages]
    try:
        codes = [process.wait() for process in running]
    except KeyboardInterrupt:
        for process in running:
            process.terminate()
        raise
    for stage, code in zip(stages, codes, strict=True):
        if code:
            raise MullError(
                f"training stage {' '.join(stage)} failed (status {code}); the same command goes on"
            )


def proposer_of(out: Path) -> Path:
    """The trained proposer's checkpoint."""
    from mull.train.loop import final
    from mull.train.proposer import PHASES

    return final(out / "proposer" / f"phase-{len(PHASES)}")


def stage(out: Path, name: str, *which: str) -> None:
    """Run one stage in this process."""

    def say(line: str) -> None:
        print(line, flush=True)

    if name == "proposer":
        train_proposer(out / "proposer", say=say)
    elif name == "labels":
        make_labels(proposer_of(out), LABELS, out / "labels", int(which[0]), PROCESSES, say)
    else:
        kind: Kind = "prm" if which[0] == "prm" else "orm"
        start = proposer_of(out)
        for number, recipe in enumerate(RECIPES[kind], 1):
            phase = out / kind / f"phase-{number}"
            start = train_verifier(kind, start, out / "labels", phase, recipe, say)


def collect(out: Path) -> None:
    """Copy the chosen checkpoints together and write ``training.json``: hashes and logs."""
    chosen = {"proposer": proposer_of(out)}
    chosen |= {kind: best(out / kind / f"phase-{len(phases)}") for kind, phases in RECIPES.items()}
    record: dict[str, object] = {"labels": vars(LABELS)}
    for name, source in chosen.items():
        target = out / "checkpoints" / name
        target.mkdir(parents=True, exist_ok=True)
        for file in ("config.json", "model.safetensors", "tokenizer.json"):
            shutil.copyfile(source / file, target / file)
        (target / "tokenizer_config.json").write_text(json.dumps(TOKENIZER_CONFIG, indent=2) + "\n")
        folders = sorted(source.parent.parent.glob("phase-*"))
        logs = [[json.loads(row) for row in (f / "log.jsonl").read_text().splitlines()] for f in folders]
        digest = hashlib.sha256((source / "model.safetensors").read_bytes()).hexdigest()
        record[name] = {"sha256": digest, "chosen": source.name, "log": logs}
    (out / "checkpoints" / "training.json").write_text(json.dumps(record, indent=1) + "\n")


TOKENIZER_CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "clean_up_tokenization_spaces": False,
}


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    stage(Path(sys.argv[1]), *sys.argv[2:])
