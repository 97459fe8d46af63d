"""Pre-training of the small world's proposer on solutions by writers of mixed skill.

Loss on the solution only. The proposer never sees which solutions are right.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from mull.tiny.world import BROAD, PRACTICE, WORLD, Mix, Split, stories
from mull.tiny.writers import Writer
from mull.train.loop import Example, Recipe, batches, final, fit
from mull.train.tokenizer import build, piece_id

CHUNK = 4096
Phases = tuple[tuple[Recipe, Mix], ...]
#: Two phases, the second from the first's weights.
PHASES: Phases = ((Recipe(tokens=30_000_000), BROAD), (Recipe(tokens=28_000_000, seed=2), PRACTICE))
#: The larger model's: a token costs it 14 times as much, so it gets fewer.
LARGER_PHASES: Phases = ((Recipe(tokens=14_000_000), BROAD), (Recipe(tokens=3_000_000, seed=2), PRACTICE))


@dataclass(frozen=True)
class Shape:
    """A model's size, and the peak learning rate that suits its width."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    lr: float


#: 209,664 parameters.
SMALL = Shape(hidden=64, layers=4, heads=4, feed_forward=160, lr=4e-3)
#: 2,963,968 parameters: 14.1 times as many, for the comparison of the paper's section 7.
LARGER = Shape(hidden=224, layers=6, heads=7, feed_forward=560, lr=2e-3)


def config(shape: Shape = SMALL) -> LlamaConfig:
    """The architecture: Llama with one key-value head of size 32, tied embeddings.

    Head size 32 is the smallest that every engine's attention kernels take.
    """
    tokenizer = build()
    return LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=shape.hidden,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=1,
        head_dim=32,
        tie_word_embeddings=True,
        max_position_embeddings=1024,
        pad_token_id=tokenizer.token_to_id("<pad>"),
        bos_token_id=tokenizer.token_to_id("<s>"),
        eos_token_id=tokenizer.token_to_id("</s>"),
        dtype="float32",
    )


def corpus(split: Split, tokenizer: Tokenizer, seed: int, count: int, mix: Mix = WORLD) -> list[Example]:
    """``count`` solved problems; targets are the next tokens of the solution."""
    rng = np.random.default_rng([seed, 7])
    eos = piece_id(tokenizer, "</s>")
    examples = []
    for story in itertools.islice(stories(split, seed, mix), count):
        prompt = tokenizer.encode(story.prompt).ids
        solution = tokenizer.encode(Writer.draw(rng).solve(story, rng), add_special_tokens=False).ids
        tokens = [*prompt, *solution, eos]
        targets = [np.nan] * (len(prompt) - 1) + tokens[len(prompt) :] + [np.nan]
        examples.append(Example(tokens, targets))
    return examples


def language_loss(model: nn.Module, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy (nats a token) over the positions that have a target."""
    logits = model(input_ids=ids, use_cache=False).logits
    wanted = ~targets.isnan()
    return nn.functional.cross_entropy(logits[wanted], targets[wanted].long())


def save_checkpoint(model: nn.Module, folder: Path) -> None:
    """Write an ordinary Hugging Face checkpoint with its tokenizer."""
    assert isinstance(model, LlamaForCausalLM)
    model.save_pretrained(folder)
    build().save(str(folder / "tokenizer.json"))


def train_proposer(
    folder: Path,
    shape: Shape = SMALL,
    say: Callable[[str], None] = print,
    phases: Phases = PHASES,
) -> Path:
    """Train a proposer under ``folder`` in its phases (resumes) and return its checkpoint.

    Every shape sees the same examples in the same order, as far as its phases go.
    """
    tokenizer = build()
    held_out = corpus("validation", tokenizer, 5, 256)

    @torch.no_grad()
    def evaluate(model: nn.Module) -> dict[str, float]:
        losses = [float(language_loss(model, *pair)) for pair in batches(held_out, 8000, 0)]
        return {"validation": float(np.mean(losses))}

    last: Path | None = None
    for number, (recipe, mix) in enumerate(phases, 1):
        recipe = replace(recipe, lr=shape.lr)
        torch.manual_seed(recipe.seed)
        start = LlamaForCausalLM(config(shape)) if last is None else LlamaForCausalLM.from_pretrained(last)
        phase = folder / f"phase-{number}"

        def chunk(index: int, recipe: Recipe = recipe, mix: Mix = mix) -> list[Example]:
            return corpus("train", tokenizer, recipe.seed * 1_000_000 + index, CHUNK, mix)

        fit(start, language_loss, chunk, recipe, phase, evaluate=evaluate, save=save_checkpoint, say=say)
        last = final(phase)
    assert last is not None
    return last
