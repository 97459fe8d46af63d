"""Training of the small world's reviser: the proposer, fine-tuned on revision examples.

Loss on the target alone, wrong answers in context (Snell et al. 2024, section 6.1). The
held-out loss is that of examples that another model wrote, so its minimum comes too early:
the checkpoint that counts is a little after it (appendix H). The module makes no data.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import LlamaForCausalLM

from mull.errors import MullError
from mull.train.loop import Example, Recipe, batches, final, fit
from mull.train.proposer import language_loss, save_checkpoint
from mull.train.revisions import as_example, read_revisions

CHUNK = 2048
#: The checkpoint that counts is so many saves after the lowest held-out loss.
BEYOND = 1


def train_reviser(
    start: Path,
    revisions: Path,
    folder: Path,
    recipe: Recipe,
    say: Callable[[str], None] = print,
    *,
    contexts: bool = True,
) -> Path:
    """Fine-tune ``start`` on ``revisions`` under ``folder`` (resumes); the checkpoint that counts.

    A tenth of the problems is held out. Without ``contexts`` the wrong answers are left out:
    plain fine-tuning on right solutions, for a model that is to answer at once.
    """
    torch.manual_seed(recipe.seed)
    model = LlamaForCausalLM.from_pretrained(start, dtype=torch.float32)
    rows = list(read_revisions(revisions))
    if not contexts:
        rows = [replace(row, attempts=()) for row in rows]
    training = [as_example(row) for row in rows if row.problem % 10]
    held = [as_example(row) for row in rows if row.problem % 10 == 0][:2000]
    if not training or not held:
        raise MullError(f"{revisions} holds too few examples; the model that wrote them solves too little")
    per_epoch = max(len(training) // CHUNK, 1)

    def chunk(index: int) -> list[Example]:
        epoch, part = divmod(index, per_epoch)
        order = np.random.default_rng([recipe.seed, epoch]).permutation(len(training))
        return [training[i] for i in np.array_split(order, per_epoch)[part]]

    @torch.no_grad()
    def evaluate(model: nn.Module) -> dict[str, float]:
        found = [(float(language_loss(model, *pair)), len(pair[0])) for pair in batches(held, 8000, 0)]
        losses, weights = zip(*found, strict=True)
        return {"validation": float(np.average(losses, weights=weights))}

    fit(model, language_loss, chunk, recipe, folder, evaluate=evaluate, save=save_checkpoint, say=say)
    return overfit(folder)


def overfit(folder: Path) -> Path:
    """The checkpoint :data:`BEYOND` saves after the lowest held-out loss, the last if there are fewer."""
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    lowest = min(range(len(log)), key=lambda i: log[i]["validation"])
    if lowest + BEYOND >= len(log):
        return final(folder)
    return folder / f"at-{log[lowest + BEYOND]['tokens']}"
