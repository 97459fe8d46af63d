"""The part of a reward model above its backbone, read from the checkpoint's own tensors.

Published reward models bring heads that transformers has no class for, and remote code that its
later versions cannot run. Heads are small and few, so they are read here by the names of their
tensors: no code of a checkpoint is ever run. Needs torch (extra ``local``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mull.errors import MullError

#: First layers are tried in this order: two layers with ReLU (Qwen2.5-Math-PRM and -RM), one layer
#: (transformers' classifiers), a value head (Skywork-o1-Open-PRM, TRL's old value models).
LAYOUTS: tuple[tuple[str, ...], ...] = (("score.0", "score.2"), ("score",), ("v_head.summary",))


def tensors(folder: Path, names: set[str]) -> dict[str, Any]:
    """The named tensors that the checkpoint has; :class:`MullError` if it has no safetensors files."""
    from safetensors import safe_open

    index = folder / "model.safetensors.index.json"
    if index.exists():
        places: Mapping[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = {folder / file for name, file in places.items() if name in names}
    else:
        files = set(folder.glob("*.safetensors"))
        if not files:
            raise MullError(f"{folder} has no safetensors files; convert the checkpoint first")
    found: dict[str, Any] = {}
    for file in sorted(files):
        with safe_open(file, framework="pt") as opened:
            for name in names.intersection(opened.keys()):
                found[name] = opened.get_tensor(name)
    return found


def labels_head(folder: Path, adapter: str) -> list[tuple[Any, Any]]:
    """The head's layers, as (weight, bias or None), first to last; ReLU goes between them."""
    wanted = {f"{layer}.{part}" for layout in LAYOUTS for layer in layout for part in ("weight", "bias")}
    found = tensors(folder, wanted)
    for layout in LAYOUTS:
        if all(f"{layer}.weight" in found for layer in layout):
            layers = [(found[f"{layer}.weight"], found.get(f"{layer}.bias")) for layer in layout]
            outputs = layers[-1][0].shape[0]
            if outputs not in (1, 2):
                raise MullError(f"{folder}: its head has {outputs} outputs; a reward model has 1 or 2")
            return layers
    heads = ", ".join(" and ".join(layout) for layout in LAYOUTS)
    raise MullError(
        f"{folder} has no reward head (tensors {heads}), which adapter {adapter!r} reads; "
        "is it a language model, to be asked by another adapter?"
    )


def tokens_head(model: Any, tokens: tuple[int, int], adapter: str) -> list[tuple[Any, Any]]:
    """The language model's output rows of the tokens for bad and good."""
    output = model.get_output_embeddings()
    if output is None:
        raise MullError(f"adapter {adapter!r} reads next-token logits, and this checkpoint has none")
    bias = getattr(output, "bias", None)
    rows = list(tokens)
    return [(output.weight[rows].detach(), None if bias is None else bias[rows].detach())]


def apply(layers: list[tuple[Any, Any]], hidden: Any) -> Any:
    """Outputs (n, 1 or 2) of hidden states (n, width), in single precision from the head on."""
    import torch

    for number, (weight, bias) in enumerate(layers):
        if number:
            hidden = torch.relu(hidden)
        hidden = torch.nn.functional.linear(hidden.to(weight.dtype), weight, bias)
    return hidden.float()
