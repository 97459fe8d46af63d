"""Training of the small world's verifiers: a PRM, an ORM, and the verifier of revisions.

The PRM learns the Monte-Carlo value of every step end, the ORM the outcome at the last
token, the verifier of revisions the outcome of every attempt of a chain, with the attempts
before it in context; all by binary cross-entropy with soft labels (Snell et al. 2024, appendix
D), with the proposer's language-model loss kept beside it, which keeps its knowledge
of what a solution looks like. A tenth of the problems is held out; the
checkpoint with the lowest held-out loss is the one that counts (early stopping).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import nn
from transformers import LlamaConfig, LlamaForSequenceClassification, LlamaForTokenClassification

from mull.errors import MullError
from mull.train.labels import Labelled, read_labels
from mull.train.loop import Example, Recipe, fit, rows
from mull.train.revisions import CONTEXT
from mull.train.tokenizer import build, piece_id

Kind = Literal["prm", "orm", "revision"]
CHUNK = 4096
#: Weight of the language-model loss beside the verifier's own.
LANGUAGE = 0.1


@dataclass(frozen=True)
class Held:
    """Metrics on held-out problems; see :func:`measure`."""

    bce: float
    auroc: float
    calibration: float
    first_error: float


def example(row: Labelled, kind: Kind) -> Example:
    """A labelled sample as a training sequence: targets at all ends, or for an ORM at the last alone."""
    targets = [float("nan")] * len(row.tokens)
    for end, value in zip(row.ends, row.values, strict=True):
        targets[end] = value
    if kind == "orm":
        targets[:-1] = [float("nan")] * (len(targets) - 1)
    return Example(row.tokens, targets)


def held_out(row: Labelled) -> bool:
    """Whether a labelled sample's problem is in the held-out tenth."""
    return row.problem % 10 == 0


def value_logits(model: nn.Module, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Value logits ``[B, T]`` and next-token logits ``[B, T, V]`` of a verifier."""
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state  # type: ignore[operator]
    language = hidden @ model.model.embed_tokens.weight.T  # type: ignore[union-attr]
    return model.score(hidden).squeeze(-1), language  # type: ignore[operator]


def verifier_loss(newline: int) -> Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]:
    """BCE at the targets plus :data:`LANGUAGE` times the next-token loss on the solution.

    The solution begins after the first newline, which ends the prompt.
    """

    def loss(model: nn.Module, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        values, language = value_logits(model, ids)
        wanted = ~targets.isnan()
        bce = nn.functional.binary_cross_entropy_with_logits(values[wanted], targets[wanted])
        solution = ((ids == newline).cumsum(1) >= 1)[:, :-1] & (ids[:, 1:] != 0)
        return bce + LANGUAGE * nn.functional.cross_entropy(language[:, :-1][solution], ids[:, 1:][solution])

    return loss


@torch.no_grad()
def measure(model: nn.Module, kind: Kind, labelled: list[Labelled]) -> Held:
    """Held-out metrics.

    ``bce``: loss against the labels; ``auroc``: of the value against whether the prefix
    is free of errors (PRM: every step; ORM: the end; revisions: every attempt); ``calibration``: expected
    calibration error over ten bins against the labels; ``first_error``: how often the
    step with the largest relative fall in value is the first wrong one, on solutions
    with an error (PRM only, else NaN).
    """
    examples = [example(row, kind) for row in labelled]
    found: dict[int, NDArray[np.float32]] = {}
    for members, ids, _ in rows(examples, 8000, 0):
        values = torch.sigmoid(value_logits(model, ids)[0]).numpy()
        for member, line in zip(members, values, strict=True):
            found[member] = line
    ends = [row.ends[-1:] if kind == "orm" else row.ends for row in labelled]
    found_at = [found[i][list(e)] for i, e in enumerate(ends)]
    predicted = np.concatenate(found_at)
    wanted = np.concatenate([row.values[-len(e) :] for row, e in zip(labelled, ends, strict=True)])
    right = np.concatenate([row.right[-len(e) :] for row, e in zip(labelled, ends, strict=True)])
    p = np.clip(predicted, 1e-6, 1 - 1e-6)
    bce = float(-(wanted * np.log(p) + (1 - wanted) * np.log1p(-p)).mean())
    bins = np.minimum((predicted * 10).astype(int), 9)
    ece = sum(abs(float((predicted - wanted)[bins == b].sum())) for b in range(10)) / len(predicted)
    hits = []
    if kind == "prm":
        for row, line in zip(labelled, found_at, strict=True):
            if not all(row.right):
                fall = np.log(np.maximum(line, 1e-6)) - np.log(np.maximum([0.5, *line[:-1]], 1e-6))
                hits.append(int(np.argmin(fall)) == row.right.index(False))
    return Held(bce, auroc(predicted, right), ece, float(np.mean(hits)) if hits else float("nan"))


def auroc(scores: NDArray[np.float32], positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve, ties counted half (Mann-Whitney)."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n = int(positive.sum())
    m = len(positive) - n
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m)) if n and m else float("nan")


def new_verifier(kind: Kind, start: Path) -> nn.Module:
    """A verifier with the weights of ``start``: a proposer (the scalar head is then fresh) or a verifier."""
    base = LlamaConfig.from_pretrained(start)
    base.num_labels = 1
    if kind == "revision":
        base.mull_history = CONTEXT
    cls = LlamaForTokenClassification if kind == "prm" else LlamaForSequenceClassification
    return cls.from_pretrained(start, config=base)


def save_verifier(model: nn.Module, folder: Path) -> None:
    """Write an ordinary Hugging Face checkpoint with its tokenizer."""
    model.save_pretrained(folder)  # type: ignore[operator]
    build().save(str(folder / "tokenizer.json"))


def train_verifier(
    kind: Kind, start: Path, labels: Path, folder: Path, recipe: Recipe, say: Callable[[str], None] = print
) -> Path:
    """Train a verifier from ``start`` on ``labels`` under ``folder`` (resumes); its best checkpoint."""
    torch.manual_seed(recipe.seed)
    model = new_verifier(kind, start)
    tokenizer: Tokenizer = build()
    everything = list(read_labels(labels))
    training = [example(row, kind) for row in everything if not held_out(row)]
    held = [row for row in everything if held_out(row)][:3000]
    if not training or not held:
        raise MullError(f"{labels} holds too few examples; the model that wrote them solves too little")
    per_epoch = max(len(training) // CHUNK, 1)

    def chunk(index: int) -> list[Example]:
        epoch, part = divmod(index, per_epoch)
        order = np.random.default_rng([recipe.seed, epoch]).permutation(len(training))
        return [training[i] for i in np.array_split(order, per_epoch)[part]]

    def evaluate(model: nn.Module) -> dict[str, float]:
        return vars(measure(model, kind, held))

    loss = verifier_loss(piece_id(tokenizer, "\n"))
    fit(model, loss, chunk, recipe, folder, evaluate=evaluate, save=save_verifier, say=say)
    return best(folder)


def best(folder: Path) -> Path:
    """The checkpoint of a run with the lowest held-out loss."""
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return folder / f"at-{min(log, key=lambda row: row['bce'])['tokens']}"
