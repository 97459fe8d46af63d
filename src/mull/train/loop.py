"""One training loop for all of the small world's models: resumable, logged, seeded.

Data come in numbered chunks, each a pure function of its number, so that a run
killed anywhere goes on from its last saved chunk and ends at the same weights.
The loop knows nothing of what the model is for; the loss is handed in.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn


@dataclass(frozen=True)
class Example:
    """One training sequence.

    ``tokens`` are ids; ``targets`` has one entry a token: what the loss wants
    there, NaN (or -100 for token targets) where it wants nothing.
    """

    tokens: Sequence[int]
    targets: Sequence[float]


@dataclass(frozen=True)
class Recipe:
    """What a run is: its length, its optimiser, its data seed; ``accumulate`` batches go in one update."""

    tokens: int
    lr: float = 4e-3
    warmup: float = 0.03
    batch_tokens: int = 4000
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.05
    clip: float = 1.0
    save_every: int = 5
    seed: int = 1
    accumulate: int = 1


Loss = Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]
Chunk = Callable[[int], list[Example]]


def batches(examples: list[Example], budget: int, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """:func:`rows` without the indices."""
    return ((ids, targets) for _, ids, targets in rows(examples, budget, seed))


def rows(
    examples: list[Example], budget: int, seed: int
) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor]]:
    """Length-sorted batches of about ``budget`` tokens, in shuffled order.

    Yields the examples' indices ``[B]``, ids ``[B, T]`` (0 is padding) and targets
    ``[B, T]`` (NaN where there is none).
    """
    groups: list[list[int]] = [[]]
    for index in sorted(range(len(examples)), key=lambda i: len(examples[i].tokens)):
        if groups[-1] and (len(groups[-1]) + 1) * len(examples[index].tokens) > budget:
            groups.append([])
        groups[-1].append(index)
    for chosen in np.random.default_rng(seed).permutation(len(groups)):
        group = groups[chosen]
        width = len(examples[group[-1]].tokens)
        ids = np.zeros((len(group), width), dtype=np.int64)
        targets = np.full((len(group), width), np.nan, dtype=np.float32)
        for row, index in enumerate(group):
            example = examples[index]
            ids[row, : len(example.tokens)] = example.tokens
            targets[row, : len(example.targets)] = example.targets
        yield group, torch.from_numpy(ids), torch.from_numpy(targets)


def fit(
    model: nn.Module,
    loss: Loss,
    chunk: Chunk,
    recipe: Recipe,
    folder: Path,
    *,
    evaluate: Callable[[nn.Module], dict[str, float]],
    save: Callable[[nn.Module, Path], None],
    say: Callable[[str], None] = print,
) -> None:
    """Train ``model`` for ``recipe.tokens`` tokens, keeping checkpoints under ``folder``.

    What needs no gradient is left alone, and batches go where the parameters are.
    ``folder/state.pt`` is the resumable state, replaced whole; ``folder/log.jsonl``
    has a row a save; ``folder/at-<tokens>`` are the checkpoints. A finished folder
    (it holds ``done``) returns at once.
    """
    if (folder / "done").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    device = next(iter(trained.values())).device
    decay = [p for p in trained.values() if p.ndim > 1]
    plain = [p for p in trained.values() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decay, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=recipe.lr,
        betas=recipe.betas,
        fused=True,
    )
    seen, index, spent = 0, 0, 0.0
    if (folder / "state.pt").exists():
        state = torch.load(folder / "state.pt", weights_only=True, map_location=device)
        model.load_state_dict(state["model"], strict=False)
        optimiser.load_state_dict(state["optimiser"])
        seen, index, spent = state["seen"], state["index"], state["spent"]
    began = time.monotonic() - spent
    while seen < recipe.tokens:
        losses = []
        model.train()
        examples = chunk(index)
        whole = list(rows(examples, recipe.batch_tokens, recipe.seed + index))
        for number, (members, ids, targets) in enumerate(whole, 1):
            rate = min(1.0, seen / (recipe.warmup * recipe.tokens), (recipe.tokens - seen) / recipe.tokens)
            for group in optimiser.param_groups:
                group["lr"] = recipe.lr * max(rate, 0.005)
            value = loss(model, ids.to(device), targets.to(device))
            (value / recipe.accumulate).backward()  # type: ignore[no-untyped-call]
            losses.append(float(value.detach()))
            seen += sum(len(examples[i].tokens) for i in members)
            if number % recipe.accumulate and number < len(whole):
                continue
            nn.utils.clip_grad_norm_(trained.values(), recipe.clip)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        index += 1
        if index % recipe.save_every and seen < recipe.tokens:
            continue
        spent = time.monotonic() - began
        model.eval()
        row = {"tokens": seen, "seconds": round(spent, 1), "loss": round(float(np.mean(losses)), 5)}
        row |= {name: round(value, 5) for name, value in evaluate(model).items()}
        with (folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(row) + "\n")
        save(model, folder / f"at-{seen}")
        state = {
            "model": {name: p.detach() for name, p in trained.items()},
            "optimiser": optimiser.state_dict(),
            "seen": seen,
            "index": index,
            "spent": spent,
        }
        torch.save(state, folder / "state.new")
        (folder / "state.new").replace(folder / "state.pt")
        left = spent / seen * max(recipe.tokens - seen, 0)
        done = f"{seen / 1e6:.1f}M of {recipe.tokens / 1e6:.3g}M tokens"
        say(f"{folder.name}: {done}, {left / 60:.0f} min left, {row}")
    (folder / "done").touch()


def final(folder: Path) -> Path:
    """The last checkpoint of a run."""
    return max(folder.glob("at-*"), key=lambda path: int(path.name.removeprefix("at-")))
