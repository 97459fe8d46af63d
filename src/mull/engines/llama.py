"""A Llama forward pass in NumPy: the weights, the lanes' keys and values, one kernel for all.

Sampling, prefill and scoring all go through :func:`forward`, and a row's result
depends on its own lane only, bit for bit: every matrix product has widths that are
multiples of 16, no row stands alone, and padding adds exact zeros at the end
of every sum. The module never samples, never tokenises and holds no global state.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from mull.cost import ModelSize
from mull.errors import MullError

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
#: Rows, columns and context lengths are padded to multiples of this.
TILE = 16
#: Sums over the context are taken in blocks of this: NumPy adds up to 128 numbers in
#: eight strided accumulators, whose order zeros at the end do not change.
BLOCK = 128
MASKED = np.float32(-1e30)


@dataclass(frozen=True)
class Layer:
    """One layer; the norms' gains and 1/sqrt(head size) are folded into the matrices."""

    qkv: Floats
    out: Floats
    gate_up: Floats
    down: Floats


@dataclass(frozen=True)
class Llama:
    """A checkpoint, ready to run. ``head`` has ``outputs`` columns and zero padding."""

    layers: tuple[Layer, ...]
    embedding: Floats
    head: Floats
    bias: Floats
    outputs: int
    turns: NDArray[np.complex64]
    heads: int
    kv_heads: int
    head_dim: int
    eps: float
    size: ModelSize
    architecture: str
    eos: tuple[int, ...]
    digest: str

    @property
    def max_positions(self) -> int:
        """The longest context, in tokens."""
        return len(self.turns)

    @property
    def floats_per_token(self) -> int:
        """Numbers that one token's keys and values take."""
        return 2 * len(self.layers) * self.kv_heads * self.head_dim


def ceil_to(count: int, multiple: int = TILE) -> int:
    """``count`` rounded up to a multiple."""
    return -(-count // multiple) * multiple


class Lanes:
    """Room for the keys and values of ``count`` traces; grows in length on demand.

    ``keys`` is [layer, lane, kv head, head size, position] (transposed: that product
    is both faster and independent of the number of rows), ``values`` [layer, lane, kv
    head, position, head size]. What lies beyond a lane's length is finite and masked.
    """

    def __init__(self, model: Llama, count: int, length: int = 144):
        self._model, self.count, self.length = model, count, 0
        self.keys = self.values = np.zeros(0, np.float32)
        self.reserve(min(length, model.max_positions))

    def reserve(self, length: int) -> None:
        """Make room for ``length`` positions, keeping what is there."""
        if length <= self.length:
            return
        m = self._model
        # An odd number of tiles: lanes and rows a power of two apart would share cache sets.
        room = (ceil_to(max(length, self.length * 3 // 2)) // TILE | 1) * TILE
        keys = np.zeros((len(m.layers), self.count, m.kv_heads, m.head_dim, room), np.float32)
        values = np.zeros((len(m.layers), self.count, m.kv_heads, room, m.head_dim), np.float32)
        if self.length:
            keys[..., : self.length] = self.keys
            values[..., : self.length, :] = self.values
        self.keys, self.values, self.length = keys, values, room

    def copy(self, source: Ints | int, target: Ints | int, length: int) -> None:
        """Copy the first ``length`` positions of lanes; one source may go to many targets."""
        one = slice(source, source + 1) if isinstance(source, int) else source
        self.keys[:, target, ..., :length] = self.keys[:, one, ..., :length]
        self.values[:, target, :, :length] = self.values[:, one, :, :length]


@dataclass(frozen=True)
class Span:
    """``rows`` consecutive new positions of one lane."""

    lane: int
    rows: int


def forward(
    model: Llama, lanes: Lanes, tokens: Ints, positions: Ints, spans: Sequence[Span] | None = None
) -> Floats:
    """Run one row a token and return the head's outputs, [rows, outputs].

    Without ``spans`` row i is lane i's next token (decode). With them the rows are
    the spans' positions one after the other (prefill, scoring). Keys and values are
    written to the lanes; position p sees positions 0 to p of its lane.
    """
    rows, hd, groups = len(tokens), model.head_dim, model.kv_heads
    turned = model.heads + groups
    lane = np.arange(rows) if spans is None else np.repeat([s.lane for s in spans], [s.rows for s in spans])
    context = ceil_to(int(positions.max()) + 1)
    lanes.reserve(context)
    x = np.zeros((ceil_to(rows), model.embedding.shape[1]), np.float32)
    x[:rows] = model.embedding[tokens]
    turns = model.turns[positions][:, None]
    mask = np.where(np.arange(context) <= positions[:, None], np.float32(0), MASKED)
    mixed = np.zeros((len(x), model.heads * hd), np.float32)
    with np.errstate(all="ignore"):  # a lane with NaN is reported by who reads its logits
        for index, layer in enumerate(model.layers):
            qkv = _normed(x, model.eps) @ layer.qkv
            pairs = qkv[:rows, : turned * hd].view(np.complex64).reshape(rows, turned, hd // 2)
            pairs *= turns
            heads = qkv[:rows].reshape(rows, turned + groups, hd)
            keys, values = lanes.keys[index], lanes.values[index]
            keys[lane, :, :, positions] = heads[:, model.heads : turned]
            values[lane, :, positions] = heads[:, turned:]
            query = heads[:, : model.heads].reshape(rows, groups, -1, hd)
            answer = mixed[:rows].reshape(query.shape)
            if spans is None:
                known = keys[:rows, ..., :context], values[:rows, :, :context]
                _attend(query, *known, mask[:, None, None], answer)
            else:
                _attend_spans(query, keys, values, spans, positions, mask, answer)
            x += mixed @ layer.out
            x += _gated(_normed(x, model.eps) @ layer.gate_up) @ layer.down
        return (_normed(x, model.eps) @ model.head)[:rows, : model.outputs] + model.bias


def _normed(x: Floats, eps: float) -> Floats:
    """RMS norm without its gain."""
    square = np.vecdot(x, x)
    scale = 1 / np.sqrt(square / np.float32(x.shape[1]) + np.float32(eps))
    return np.asarray(x * scale[:, None], np.float32)


def _gated(both: Floats) -> Floats:
    """SwiGLU: silu(gate) * up."""
    half = both.shape[1] // 2
    gate, up = both[:, :half], both[:, half:]
    sigmoid = np.exp(-gate)
    sigmoid += 1
    np.divide(gate, sigmoid, out=sigmoid)
    sigmoid *= up
    return sigmoid


def _attend(query: Floats, keys: Floats, values: Floats, mask: Floats, answer: Floats) -> None:
    """Softmax attention of [..., rows, head size] over [..., head size, context] into ``answer``."""
    scores = query @ keys
    scores += mask
    scores -= scores.max(-1, keepdims=True)
    np.exp(scores, out=scores)
    total = scores[..., :BLOCK].sum(-1)
    for start in range(BLOCK, scores.shape[-1], BLOCK):
        total += scores[..., start : start + BLOCK].sum(-1)
    np.matmul(scores, values, out=answer)
    answer /= total[..., None]


def _attend_spans(
    query: Floats,
    keys: Floats,
    values: Floats,
    spans: Sequence[Span],
    positions: Ints,
    mask: Floats,
    answer: Floats,
) -> None:
    """Attention of every span over its own lane."""
    _, groups, share, hd = query.shape
    start = 0
    for span in spans:
        rows = slice(start, start + span.rows)
        start += span.rows
        context = ceil_to(int(positions[rows.stop - 1]) + 1)
        asked = query[rows].transpose(1, 0, 2, 3).reshape(groups, -1, hd)
        limit = np.repeat(mask[rows, :context], share, axis=0)
        result = np.empty_like(asked)
        _attend(asked, keys[span.lane, ..., :context], values[span.lane, :, :context], limit, result)
        answer[rows] = result.reshape(groups, span.rows, share, hd).transpose(1, 0, 2, 3)


def load_llama(folder: Path) -> Llama:
    """Read a Hugging Face Llama checkpoint: language model, token or sequence classifier."""
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
    layers = tuple(
        _layer(weights, f"model.layers.{i}.", heads, groups, hd) for i in range(int(config["num_hidden_layers"]))
    )
    body = sum(t.size for name, t in weights.items() if not name.startswith(("model.embed", "lm_head", "score")))
    eos = config.get("eos_token_id")
    return Llama(
        layers,
        embedding,
        _padded(head.T * weights["model.norm.weight"][:, None]),
        weights.get("score.bias", np.zeros(1, np.float32)),
        len(head),
        np.exp(1j * angles).astype(np.complex64),
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

    # Llama turns dimension i with i + hd/2; side by side, a pair is one complex number.
    order = np.arange(hd).reshape(2, hd // 2).T.ravel()
    query = matrix("self_attn.q_proj").reshape(heads, hd, -1)[:, order] * np.float32(hd**-0.5)
    key = matrix("self_attn.k_proj").reshape(groups, hd, -1)[:, order]
    value = matrix("self_attn.v_proj").reshape(groups, hd, -1)
    qkv = np.concatenate([query, key, value]).reshape((heads + 2 * groups) * hd, -1)
    width = ceil_to(len(matrix("mlp.gate_proj")))
    gate, up = (_padded(matrix(f"mlp.{name}").T, width) for name in ("gate_proj", "up_proj"))
    gain = matrix("post_attention_layernorm")[:, None]
    down = np.zeros((width, matrix("mlp.down_proj").shape[0]), np.float32)
    down[: matrix("mlp.down_proj").shape[1]] = matrix("mlp.down_proj").T
    return Layer(
        np.ascontiguousarray((qkv * matrix("input_layernorm")).T),
        np.ascontiguousarray(matrix("self_attn.o_proj").T),
        np.ascontiguousarray(np.concatenate([gate, up], axis=1) * gain),
        down,
    )


def _padded(matrix: Floats, columns: int = 0) -> Floats:
    """The matrix with zero columns up to ``columns``, or the next multiple of a tile."""
    wide = np.zeros((matrix.shape[0], columns or ceil_to(matrix.shape[1])), np.float32)
    wide[:, : matrix.shape[1]] = matrix
    return wide
