"""A real checkpoint, fine-tuned: low-rank adapters (LoRA) or all weights, then an ordinary checkpoint.

Training is mull's own loop (:mod:`mull.train.loop`), the same as the small world's: TRL 1.16 has no
trainer of PRMs any more, its RewardTrainer learns from pairs, and neither takes the soft
labels of rollouts; the loop also ends at the same weights when it was interrupted. peft puts
the adapters in and merges them. One device. Extra ``lora``.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mull.engines.local.loading import folder_of
from mull.errors import MullError
from mull.study.store import write_text
from mull.train.encoding import Encoding, Kind, sequences
from mull.train.loop import Example, Recipe, batches, fit, rows
from mull.train.proposer import language_loss
from mull.train.reviser import overfit
from mull.train.verifier import auroc, best

#: Examples between two looks at the clock; a run is saved some :data:`SAVES` times.
CHUNK, SAVES = 256, 12
#: Sequences that the held-out loss is taken over, at most.
HELD = 1000
#: What was trained on what, and the log.
RECORD = "training.json"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Tuning:
    """How a checkpoint is fine-tuned.

    ``model`` is a folder or a repository; ``rank`` and ``alpha`` are LoRA's (rank 0: all weights are
    trained), on all linear layers; ``epochs`` over the data; ``batch_tokens`` a batch, padding included,
    and ``accumulate`` batches an update. ``checkpointing`` trades time for memory.
    """

    model: str
    rank: int = 16
    alpha: int = 32
    lr: float = 2e-4
    epochs: float = 1.0
    batch_tokens: int = 8192
    accumulate: int = 1
    device: str = "auto"
    dtype: str = "auto"
    checkpointing: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("rank", 0), ("alpha", 1), ("batch_tokens", 1), ("accumulate", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise MullError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        for name in ("lr", "epochs"):
            if not 0 < getattr(self, name) < float("inf"):
                raise MullError(f"{name} is {getattr(self, name):g}; it must be above 0")


def tune(pool: Path, how: Encoding, tuning: Tuning, out: Path, say: Say = print) -> Path:
    """Fine-tune on a pool under ``out`` (resumes); the finished checkpoint, ``out/checkpoint``.

    ``out/run`` holds the saves and the log, ``out/adapter`` the LoRA adapter by itself, and
    ``out/training.json`` what was trained on what, and the log.
    """
    target = out / "checkpoint"
    told = _told(pool, how, tuning)
    _same(out, told)
    if target.exists():
        return target
    found = sequences(pool, how)
    for why, count in found.left_out.items():
        say(f"left out: {count} {'problems' if how.kind == 'reviser' else 'rows'} {why}")
    recipe = _recipe(found.training, tuning)
    say(
        f"training a {how.kind} from {tuning.model}: {len(found.training)} sequences, "
        f"{recipe.tokens / 1e3:.0f}k tokens, {len(found.held)} sequences held out"
    )
    model = start(how.kind, tuning, how.tokenizer.inner.pad_token_id)
    folder = out / "run"
    per_epoch = max(-(-len(found.training) // CHUNK), 1)

    def chunk(index: int) -> list[Example]:
        epoch, part = divmod(index, per_epoch)
        order = np.random.default_rng([recipe.seed, epoch]).permutation(len(found.training))
        return [found.training[i] for i in np.array_split(order, per_epoch)[part]]

    held = found.held[:HELD]
    loss = language_loss if how.kind == "reviser" else value_loss
    evaluate = partial(_validated if how.kind == "reviser" else measured, held=held)
    fit(model, loss, chunk, recipe, folder, evaluate=evaluate, save=_save, say=say)
    chosen = overfit(folder) if how.kind == "reviser" else best(folder)
    _finish(how, tuning, chosen, out)
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    record = {"settings": told, "chosen": chosen.name, "log": log}
    write_text(out / RECORD, json.dumps(record, indent=1) + "\n")
    return target


def _told(pool: Path, how: Encoding, tuning: Tuning) -> dict[str, Any]:
    data = {"kind": how.kind, "limit": how.limit, "hard": how.hard, "targets": how.targets, "seed": how.seed}
    form = None if how.form is None else repr(how.form)
    settings = {k: v for k, v in vars(tuning).items() if k not in ("device", "checkpointing")}
    return {"data": {"pool": pool.name, "bytes": pool.stat().st_size, **data, "format": form}, **settings}


def _same(out: Path, told: dict[str, Any]) -> None:
    """:class:`MullError` if ``out`` holds the training of something else."""
    mark = out / RECORD
    out.mkdir(parents=True, exist_ok=True)
    if not mark.exists():
        write_text(mark, json.dumps({"settings": told}, indent=1) + "\n")
    elif json.loads(mark.read_text())["settings"] != json.loads(json.dumps(told)):
        raise MullError(
            f"{out} holds a training with other settings or data ({mark}); choose another --out, or delete "
            f"{out / 'run'}, {out / 'checkpoint'} and {mark}"
        )


def _recipe(training: list[Example], tuning: Tuning) -> Recipe:
    tokens = sum(len(example.tokens) for example in training)
    chunks = tuning.epochs * max(len(training) / CHUNK, 1)
    return Recipe(
        tokens=max(1, round(tokens * tuning.epochs)),
        lr=tuning.lr,
        batch_tokens=tuning.batch_tokens,
        weight_decay=0.0,
        save_every=max(1, round(chunks / SAVES)),
        seed=tuning.seed,
        accumulate=tuning.accumulate,
    )


def base(kind: Kind, tuning: Tuning, pad: int | None) -> Any:
    """The checkpoint with the head that its kind needs: a fresh one (seeded) where it has none."""
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoModelForTokenClassification,
    )
    from transformers.utils import logging

    classes: dict[Kind, Any] = {
        "prm": AutoModelForTokenClassification,
        "orm": AutoModelForSequenceClassification,
        "reviser": AutoModelForCausalLM,
    }
    labels: dict[str, Any] = {}
    if kind != "reviser":
        names = ["bad", "good"] if kind == "prm" else ["good"]
        labels = {"num_labels": len(names), "id2label": dict(enumerate(names))}
        labels["label2id"] = {name: i for i, name in enumerate(names)}
    torch.manual_seed(tuning.seed)
    told: Any = logging
    level = told.get_verbosity()
    told.set_verbosity_error()  # a head that is made anew is no surprise
    try:
        dtype: Any = tuning.dtype if tuning.dtype == "auto" else getattr(torch, tuning.dtype)
        folder = folder_of(tuning.model)
        model = classes[kind].from_pretrained(folder, dtype=dtype, trust_remote_code=False, **labels)
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        line = str(error).split("\n")[0]
        raise MullError(f"cannot train a {kind} from {tuning.model}: {line}") from None
    finally:
        told.set_verbosity(level)
    if kind == "orm":
        model.config.pad_token_id = pad
    return model


def start(kind: Kind, tuning: Tuning, pad: int | None) -> nn.Module:
    """The model to train, on its device: with LoRA adapters and the head, or all of it."""
    model = base(kind, tuning, pad)
    if tuning.checkpointing:
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()
    if tuning.rank:
        peft = _peft()
        tasks = {"prm": "TOKEN_CLS", "orm": "SEQ_CLS", "reviser": "CAUSAL_LM"}
        config = peft.LoraConfig(
            task_type=tasks[kind],
            r=tuning.rank,
            lora_alpha=tuning.alpha,
            target_modules="all-linear",
            modules_to_save=None if kind == "reviser" else ["score"],
            exclude_modules=None if kind == "reviser" else ["score"],
        )
        torch.manual_seed(tuning.seed)
        model = peft.get_peft_model(model, config)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    device = tuning.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return model.to(device)  # type: ignore[no-any-return]
    except (RuntimeError, AssertionError) as error:
        line = str(error).split("\n")[0]
        raise MullError(f"cannot put {tuning.model} on {device}: {line}") from None


def _peft() -> Any:
    try:
        import peft  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise MullError(
            "low-rank adapters need the extra 'lora': pip install 'mull[lora]' "
            "(or train all weights: --rank 0)"
        ) from None
    return peft


def odds(model: nn.Module, ids: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Log-odds of good at the ``wanted`` places (bool [B, T]) of ids [B, T], padded on the right."""
    base: Any = getattr(model, "get_base_model", None)
    inner: Any = model if base is None else base()
    hidden = getattr(inner, inner.base_model_prefix)(input_ids=ids, use_cache=False).last_hidden_state
    width = next(inner.score.parameters()).dtype
    logits: torch.Tensor = inner.score(hidden[wanted].to(width)).float()
    return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits[:, 0]


def value_loss(model: nn.Module, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy with soft labels at the places that have one."""
    wanted = ~targets.isnan()
    return nn.functional.binary_cross_entropy_with_logits(odds(model, ids, wanted), targets[wanted])


@torch.no_grad()
def measured(model: nn.Module, held: list[Example]) -> dict[str, float]:
    """On held-out sequences: loss, how well values rank labels above .5 over others, calibration error."""
    device = next(model.parameters()).device
    values, labels = [], []
    for _, ids, targets in rows(held, 8192, 0):
        wanted = ~targets.isnan()
        values.append(torch.sigmoid(odds(model, ids.to(device), wanted.to(device))).cpu().numpy())
        labels.append(targets[wanted].numpy())
    p, y = np.concatenate(values), np.concatenate(labels)
    q = np.clip(p, 1e-6, 1 - 1e-6)
    bins = np.minimum((p * 10).astype(int), 9)
    return {
        "bce": float(-(y * np.log(q) + (1 - y) * np.log1p(-q)).mean()),
        "auroc": auroc(p, y > 0.5),
        "calibration": sum(abs(float((p - y)[bins == b].sum())) for b in range(10)) / len(p),
    }


@torch.no_grad()
def _validated(model: nn.Module, held: list[Example]) -> dict[str, float]:
    device = next(model.parameters()).device
    found = [
        (float(language_loss(model, ids.to(device), targets.to(device))), len(ids))
        for ids, targets in batches(held, 8192, 0)
    ]
    losses, weights = zip(*found, strict=True)
    return {"validation": float(np.average(losses, weights=weights))}


def _save(model: nn.Module, folder: Path) -> None:
    """The adapter (or all weights) as their libraries write them."""
    saved: Any = model
    # Embeddings are not trained, and looking whether they grew may ask the network.
    more = {"save_embedding_layers": False} if hasattr(model, "peft_config") else {}
    saved.save_pretrained(folder, **more)


def _finish(how: Encoding, tuning: Tuning, chosen: Path, out: Path) -> None:
    """The chosen save as an ordinary checkpoint, adapters merged, with its tokenizer."""
    new = out / "checkpoint.new"
    shutil.rmtree(new, ignore_errors=True)
    if tuning.rank:
        model = base(how.kind, tuning, how.tokenizer.inner.pad_token_id)
        merged = _peft().PeftModel.from_pretrained(model, str(chosen)).merge_and_unload()
        merged.save_pretrained(new)
        shutil.rmtree(out / "adapter", ignore_errors=True)
        shutil.copytree(chosen, out / "adapter")
    else:
        shutil.copytree(chosen, new)
    how.tokenizer.inner.save_pretrained(new)
    os.replace(new, out / "checkpoint")
