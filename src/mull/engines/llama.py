"""A Llama forward pass in NumPy: the weights, and one kernel for all uses.

Sampling, prefill and scoring all go through :func:`forward`, and a row's result
depends on its own lane only, bit for bit: every matrix product has widths that are
multiples of 16, no row stands alone, and padding adds exact zeros at the end
of every sum. The module never samples, never tokenises and holds no global state.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from mull.cost import ModelSize
from mull.engines.attention import Attention, Plan
from mull.engines.lanes import Floats, Ints, Lanes, Span, ceil_to
from mull.errors import MullError

Turns = NDArray[np.complex64]


@dataclass(frozen=True)
class Layer:
    """One layer; the norms' gains and constant factors are folded into the matrices."""

    qkv: Floats
    out: Floats
    gate: Floats
    up: Floats
    down: Floats


@dataclass(frozen=True)
class Llama:
    """A checkpoint, ready to run.

    ``head`` has ``outputs`` columns and zero padding; ``turns`` is [position, heads x head
    size / 2]: what a position turns the pairs of every query head by.
    """

    layers: tuple[Layer, ...]
    embedding: Floats
    head: Floats
    bias: Floats | None
    outputs: int
    turns: Turns
    heads: int
    kv_heads: int
    head_dim: int
    eps: float
    size: ModelSize
    architecture: str
    eos: tuple[int, ...]
    digest: str

    @property
    def depth(self) -> int:
        """How many layers there are."""
        return len(self.layers)

    @property
    def max_positions(self) -> int:
        """The longest context, in tokens."""
        return len(self.turns)


def forward(
    model: Llama,
    lanes: Lanes,
    tokens: Ints,
    depths: Ints,
    plan: Plan,
    spans: Sequence[Span] | None = None,
    outputs: bool = True,
) -> Floats:
    """Run one row a token and return the head's outputs, [rows, outputs].

    Row i is at position ``depths[i]`` after the end of its base, which ``plan`` tells.
    Without ``spans`` row i is lane i's next token (decode). With them the rows are the spans'
    positions one after the other (prefill, scoring). Keys and values are written to the
    lanes; a row sees its base and its lane up to itself. Without ``outputs`` that is all
    that is done, and what only the outputs need is left out.
    """
    rows, floats = len(tokens), lanes.buffers.floats
    lanes.reserve(int(depths.max()) + 1)
    attention = plan.attention(model.heads, lanes, depths, spans)
    turns = model.turns[depths + plan.offsets]
    x = floats("x", ceil_to(rows), model.embedding.shape[1])
    x[:rows], x[rows:] = model.embedding[tokens], 0
    normed = floats("normed", *x.shape)
    asked = model.heads * model.head_dim
    with np.errstate(all="ignore"):  # a lane with NaN is reported by who reads its logits
        for index, layer in enumerate(model.layers):
            silent = not outputs and index == model.depth - 1
            weights = layer.qkv[:, asked:] if silent else layer.qkv
            qkv = floats("qkv", len(x), weights.shape[1])
            np.matmul(_normed(x, model.eps, normed), weights, out=qkv)
            if not silent:
                _ask(attention, qkv[:rows, :asked], turns)
            _write(
                lanes, index, qkv[:rows, qkv.shape[1] - layer.qkv.shape[1] + asked :], turns, depths, spans
            )
            if silent:
                break
            x += np.matmul(attention.run(index), layer.out, out=normed)
            x += np.matmul(_gated(_normed(x, model.eps, normed), layer, floats), layer.down, out=normed)
        if not outputs:
            return np.zeros((rows, 0), np.float32)
        found = (_normed(x, model.eps, normed) @ model.head)[:rows, : model.outputs]
        return found if model.bias is None else found + model.bias


def _normed(x: Floats, eps: float, out: Floats) -> Floats:
    """RMS norm without its gain and without the factor sqrt(width), which the matrices hold."""
    norm = np.vecdot(x, x)
    norm += np.float32(x.shape[1] * eps)
    np.sqrt(norm, out=norm)
    np.divide(x, norm[:, None], out=out)
    return out


def _ask(attention: Attention, query: Floats, turns: Turns) -> None:
    """Turn the query heads to their positions."""
    pairs = query.view(np.complex64)
    groups, _, wide, hd = attention.query.shape
    if groups == 1 and wide == attention.share:
        to = attention.query.reshape(-1, wide * hd).view(np.complex64)
        np.multiply(pairs, turns, out=to[: len(query)])
        return
    heads = np.multiply(pairs, turns).view(np.float32).reshape(len(query), groups, -1, hd)
    attention.query[:, : len(query), : attention.share] = heads.swapaxes(0, 1)


def _write(
    lanes: Lanes, layer: int, new: Floats, turns: Turns, depths: Ints, spans: Sequence[Span] | None
) -> None:
    """Put the rows' keys, turned, and values into their lanes."""
    _, groups, _, hd, _ = lanes.keys.shape
    keys, values = new[:, : groups * hd], new[:, groups * hd :]
    pairs = keys.view(np.complex64)
    pairs *= turns[:, : groups * hd // 2]
    keys, values = keys.reshape(-1, groups, hd), values.reshape(-1, groups, hd)
    if spans is None:
        rows = np.arange(len(new))
        lanes.keys[layer][:, rows, :, depths] = keys
        lanes.values[layer].swapaxes(0, 1)[rows, :, depths] = values
        return
    end = 0
    for span in spans:
        start, end = end, end + span.rows
        at = slice(int(depths[start]), int(depths[start]) + span.rows)
        lanes.keys[layer][:, span.lane, :, at] = keys[start:end].transpose(1, 2, 0)
        lanes.values[layer][:, span.lane, at] = values[start:end].transpose(1, 0, 2)


def _gated(x: Floats, layer: Layer, floats: Callable[..., Floats]) -> Floats:
    """SwiGLU, silu(gate) * up, of both negated: their product's sign is right again."""
    gate, up, below = (floats(name, len(x), layer.gate.shape[1]) for name in ("gate", "up", "below"))
    np.matmul(x, layer.gate, out=gate)
    np.matmul(x, layer.up, out=up)
    np.exp(gate, out=below)
    below += 1
    gate *= up
    gate /= below
    return gate


@cache
def rows_alike() -> bool:
    """Whether this NumPy rounds equal rows equally, wherever they stand in a batch of whole tiles."""
    rng = np.random.default_rng(0)
    for inner in (64, 160):
        row, weights = (rng.standard_normal((n, inner)).astype(np.float32) for n in (1, 64))
        found = [np.repeat(row, rows, axis=0) @ np.ascontiguousarray(weights.T) for rows in (16, 48)]
        if not all((each == found[0][0]).all() for each in found):
            return False
    return True


def load_llama(folder: Path) -> Llama:
    """Read a Hugging Face Llama checkpoint: language model, token or sequence classifier."""
    if not rows_alike():
        warnings.warn(
            "NumPy's matrix kernels here round a row by its place in the batch, so a result may depend "
            "in its last bits on what is computed beside it; import mull before NumPy to have others",
            stacklevel=3,
        )
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        file = folder / "model.safetensors"
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        weights = {name: tensor.astype(np.float32) for name, tensor in load_file(file).items()}
    except OSError as error:
        raise MullError(f"{folder} is not a checkpoint folder: cannot read {error.filename}") from None
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    refused = {
        "model_type": config.get("model_type") != "llama",
        "rope_type": rope.get("rope_type", rope.get("type", "default")) != "default",
        "hidden_act": config.get("hidden_act") != "silu",
        "attention_bias": config.get("attention_bias", False),
        "mlp_bias": config.get("mlp_bias", False),
    }
    if any(refused.values()):
        bad = ", ".join(name for name, wrong in refused.items() if wrong)
        raise MullError(f"{folder}/config.json: the small engine cannot run this model ({bad})")
    heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
    groups = int(config.get("num_key_value_heads") or heads)
    hd = int(config.get("head_dim") or hidden // heads)
    embedding = weights["model.embed_tokens.weight"]
    head = weights.get("score.weight", weights.get("lm_head.weight", embedding))
    theta = float(rope.get("rope_theta", config.get("rope_theta", 10000.0)))
    frequencies = theta ** -(np.arange(0, hd, 2) / hd)
    angles = np.arange(int(config["max_position_embeddings"]))[:, None] * frequencies
    root = np.float32(hidden**0.5)
    layers = tuple(
        _layer(weights, f"model.layers.{i}.", heads, groups, hd)
        for i in range(int(config["num_hidden_layers"]))
    )
    body = sum(
        t.size for name, t in weights.items() if not name.startswith(("model.embed", "lm_head", "score"))
    )
    eos = config.get("eos_token_id")
    return Llama(
        layers,
        embedding,
        _padded(head.T * (weights["model.norm.weight"] * root)[:, None]),
        weights.get("score.bias"),
        len(head),
        np.tile(np.exp(1j * angles).astype(np.complex64), heads),
        heads,
        groups,
        hd,
        float(config["rms_norm_eps"]),
        ModelSize(body + head.size, heads * hd * len(layers)),
        str((config.get("architectures") or [""])[0]),
        tuple(eos) if isinstance(eos, list) else () if eos is None else (int(eos),),
        digest,
    )


def _layer(weights: dict[str, Floats], prefix: str, heads: int, groups: int, hd: int) -> Layer:
    """Fuse and fold one layer's matrices, input-major."""

    def matrix(name: str) -> Floats:
        return weights[f"{prefix}{name}.weight"]

    root = np.float32(matrix("input_layernorm").size ** 0.5)
    # Llama turns dimension i with i + hd/2; side by side, a pair is one complex number.
    order = np.arange(hd).reshape(2, hd // 2).T.ravel()
    query = matrix("self_attn.q_proj").reshape(heads, hd, -1)[:, order] * np.float32(hd**-0.5)
    key = matrix("self_attn.k_proj").reshape(groups, hd, -1)[:, order]
    value = matrix("self_attn.v_proj").reshape(groups, hd, -1)
    qkv = np.concatenate([query, key, value]).reshape((heads + 2 * groups) * hd, -1)
    width = ceil_to(len(matrix("mlp.gate_proj")))
    gate, up = (_padded(matrix(f"mlp.{name}").T, width) for name in ("gate_proj", "up_proj"))
    gain = (matrix("post_attention_layernorm") * -root)[:, None]  # negated: see _gated
    down = np.zeros((width, matrix("mlp.down_proj").shape[0]), np.float32)
    down[: matrix("mlp.down_proj").shape[1]] = matrix("mlp.down_proj").T
    return Layer(
        np.ascontiguousarray((qkv * (matrix("input_layernorm") * root)).T),
        np.ascontiguousarray(matrix("self_attn.o_proj").T),
        gate * gain,
        up * gain,
        down,
    )


def _padded(matrix: Floats, columns: int = 0) -> Floats:
    """The matrix with zero columns up to ``columns``, or the next multiple of a tile."""
    wide = np.zeros((matrix.shape[0], columns or ceil_to(matrix.shape[1])), np.float32)
    wide[:, : matrix.shape[1]] = matrix
    return wide
