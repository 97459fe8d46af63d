"""The whole small world from nothing, on a CPU: every stage of :mod:`mull.train.recipes`.

Two single-threaded processes: the larger model's pre-training in one, everything else in the
other, and its fine-tuning when both have ended. Every stage resumes where it stopped, so the
same command goes on after an interruption. The shipped checkpoints are this module's output.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mull.errors import MullError

MODELS = ("proposer", "prm", "orm", "reviser", "revision", "restem", "larger")
#: Stored with half the bits; the others are small enough as they are.
HALF = ("larger",)
#: One thread a process, and glibc told to keep its memory (32 MiB is the largest threshold it takes).
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "1000000000",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
}


def train_tiny(
    out: Path, say: Callable[[str], None] = print, stages: Sequence[str] = (), scale: float = 1.0
) -> None:
    """Train everything under ``out``, or only ``stages`` (in their order); ends with ``out/checkpoints``.

    ``scale`` is the part of the data and of the training to do: 1 makes the shipped models, less makes
    poorer ones sooner, and far less ones that solve too little to go on, which is an error. Checkpoints of
    what is finished are collected at the end, with their hashes and logs. Raises :class:`MullError` for
    an unknown stage, a scale that is not the folder's, or if a stage fails; what it had finished is kept.
    """
    from mull.train.recipes import STAGES

    if not 0 < scale <= 1:
        raise MullError(f"the scale is {scale}; it must be above 0 and at most 1")
    if unknown := [stage for stage in stages if stage not in STAGES]:
        raise MullError(f"there is no training stage {unknown[0]!r}; known: {', '.join(STAGES)}")
    out.mkdir(parents=True, exist_ok=True)
    _agree(out, scale)
    wanted = [stage for stage in STAGES if not stages or stage in stages]
    apart = ("larger", "tuned")
    say(f"stages: {', '.join(wanted)}")
    for lanes in (
        [[s for s in wanted if s not in apart], [s for s in wanted if s == "larger"]],
        [[s for s in wanted if s == "tuned"]],
    ):
        _run([lane for lane in lanes if lane], out, scale)
    done = collect(out, scale)
    say(f"done: checkpoints of {', '.join(done)} and their hashes are in {out / 'checkpoints'}")


def _agree(out: Path, scale: float) -> None:
    """Remember a folder's scale; one of another scale is not gone on with."""
    file = out / "scale.json"
    begun = json.loads(file.read_text()) if file.exists() else 1.0 if any(out.iterdir()) else scale
    if begun != scale:
        raise MullError(f"{out} was begun at a scale of {begun}; go on with that, or name another folder")
    file.write_text(json.dumps(scale) + "\n")


def _run(lanes: list[list[str]], out: Path, scale: float) -> None:
    command = [sys.executable, "-m", "mull.train.tiny", str(out), str(scale)]
    running = [subprocess.Popen([*command, *lane], env={**os.environ, **_ENVIRONMENT}) for lane in lanes]
    try:
        codes = [process.wait() for process in running]
    except KeyboardInterrupt:
        for process in running:
            process.terminate()
        raise
    for lane, code in zip(lanes, codes, strict=True):
        if code:
            raise MullError(f"training {' or '.join(lane)} failed (status {code}); the same command goes on")


def collect(out: Path, scale: float = 1.0) -> list[str]:
    """Copy the chosen checkpoints together and write ``training.json``: hashes, plans and logs.

    Returns the names of the models that are finished.
    """
    from mull.train import recipes

    by = recipes.SHIPPED.scaled(scale)
    record: dict[str, object] = {name: vars(getattr(by, name)) for name in recipes.PLANS}
    made = [name for name in MODELS if _finished(out / name)]
    for name in made:
        source = recipes.chosen(out, name)
        target = out / "checkpoints" / name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for file in ("config.json", "model.safetensors", "tokenizer.json"):
            shutil.copyfile(source / file, target / file)
        if name in HALF:
            halve(target)
        if name not in recipes.VERIFIERS:
            base = name if name in recipes.PRETRAINED else "proposer"
            note(target, mull_pretraining_tokens=recipes.pretraining_tokens(out, base))
            if name != "proposer":
                note(target, mull_finetuning_tokens=recipes.tokens_of(source))
            account(target)
        (target / "tokenizer_config.json").write_text(json.dumps(TOKENIZER_CONFIG, indent=2) + "\n")
        folders = [*sorted((out / name).glob("phase-*")), *(out / name).glob("tuned")]
        logs = [[json.loads(row) for row in (f / "log.jsonl").read_text().splitlines()] for f in folders]
        digest = hashlib.sha256((target / "model.safetensors").read_bytes()).hexdigest()
        record[name] = {"sha256": digest, "chosen": source.name, "log": logs}
    (out / "checkpoints" / "training.json").write_text(json.dumps(record, indent=1) + "\n")
    return made


def _finished(folder: Path) -> bool:
    from mull.train.recipes import PRETRAINED, VERIFIERS, phases

    count = phases(folder.name) if folder.name in (*PRETRAINED, *VERIFIERS) else 1
    runs = [f"phase-{number}" for number in range(1, count + 1)]
    runs += ["tuned"] if folder.name == "larger" else []
    return all((folder / run / "done").exists() for run in runs)


def halve(checkpoint: Path) -> None:
    """Store a checkpoint's numbers in half precision."""
    from safetensors.torch import load_file, save_file

    file = checkpoint / "model.safetensors"
    save_file({name: value.half() for name, value in load_file(file).items()}, file, {"format": "pt"})
    note(checkpoint, dtype="float16")


def note(checkpoint: Path, **facts: object) -> None:
    """Add facts to a checkpoint's ``config.json``."""
    file = checkpoint / "config.json"
    settings = {**json.loads(file.read_text()), **facts}
    file.write_text(json.dumps(dict(sorted(settings.items())), indent=2) + "\n")


def account(checkpoint: Path) -> None:
    """Add a model's parameters to its ``config.json``, and 6 N D FLOPs for the tokens that are there."""
    from mull.engines.small import SmallEngine
    from mull.exchange import PRETRAINING

    engine = SmallEngine.load(checkpoint)
    parameters = engine.size.parameters
    spent = {
        f"mull_{stage}_flops": int(PRETRAINING) * parameters * tokens
        for stage in ("pretraining", "finetuning")
        if (tokens := getattr(engine, f"{stage}_tokens"))
    }
    note(checkpoint, mull_parameters=parameters, **spent)


TOKENIZER_CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "clean_up_tokenization_spaces": False,
}


def main(out: Path, scale: float, stages: Sequence[str]) -> int:
    """Run stages one after the other in this process; the exit status."""
    import torch

    from mull.train.recipes import SHIPPED, STAGES

    torch.set_num_threads(1)

    def say(line: str) -> None:
        print(line, flush=True)

    for number, stage in enumerate(stages, 1):
        say(f"{number} of {len(stages)}: {stage}")
        try:
            STAGES[stage](out, SHIPPED.scaled(scale), say)
        except MullError as error:
            print(f"mull: {stage}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
