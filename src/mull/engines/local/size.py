"""How large a checkpoint's model is, read off its files; no weights are read and no library is needed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from mull.cost import ModelSize

_INPUT = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight")
_OUTPUT = ("lm_head.weight", "embed_out.weight")


def checkpoint_size(folder: Path) -> ModelSize | None:
    """Parameters of a forward pass and attention's width; None where the files do not say.

    An input embedding counts where it is the output matrix, too. Of quantised weights, which are packed,
    nothing is said.
    """
    try:
        given = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config: dict[str, Any] = given.get("text_config", given)
        shapes = {
            name: shape for file in sorted(folder.glob("*.safetensors")) for name, shape in _shapes(file)
        }
        # GPT-2 and its like have names of their own.
        layers = int(config.get("num_hidden_layers") or config["n_layer"])
        heads = int(config.get("num_attention_heads") or config["n_head"])
        head = int(config.get("head_dim") or (config.get("hidden_size") or config["n_embd"]) // heads)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if not shapes or any("qweight" in name for name in shapes):
        return None
    untied = any(name.endswith(_OUTPUT) for name in shapes)
    counted = (prod(s) for name, s in shapes.items() if not (untied and name.endswith(_INPUT)))
    return ModelSize(sum(counted), layers * heads * head)


def _shapes(file: Path) -> Iterator[tuple[str, list[int]]]:
    """Names and shapes of the tensors of a file, from its header."""
    with file.open("rb") as opened:
        header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
    for name, told in header.items():
        if name != "__metadata__":
            yield name, told["shape"]
