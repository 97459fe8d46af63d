"""Checkpoints and a study in miniature, made with NumPy alone in milliseconds.

The proposer is a table of next-token chances ("Ann", newline, "Answer: ", one digit, end), so
its answers are digits; the verifiers are random. Enough for everything that is not accuracy.
"""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from small_vocabulary import IDS, save

HIDDEN, HEAD = 80, 32


def checkpoint(folder: Path, architecture: str, seed: int = 0) -> Path:
    """A one-layer Llama: the proposer ("LlamaForCausalLM") or a classifier."""
    folder.mkdir(parents=True, exist_ok=True)
    save(folder)
    size, rng = len(IDS), np.random.default_rng(seed)
    proposer = architecture == "LlamaForCausalLM"
    spread = 0.0 if proposer else 0.6

    def matrix(rows: int, columns: int) -> np.ndarray:
        return (rng.normal(size=(rows, columns)) * spread).astype(np.float32)

    weights = {
        "model.embed_tokens.weight": np.eye(size, HIDDEN, dtype=np.float32),
        "model.norm.weight": np.ones(HIDDEN, np.float32),
    }
    layer = "model.layers.0."
    shapes = {"self_attn.q_proj": (HEAD, HIDDEN), "self_attn.k_proj": (HEAD, HIDDEN)}
    shapes |= {"self_attn.v_proj": (HEAD, HIDDEN), "self_attn.o_proj": (HIDDEN, HEAD)}
    shapes |= {"mlp.gate_proj": (48, HIDDEN), "mlp.up_proj": (48, HIDDEN), "mlp.down_proj": (HIDDEN, 48)}
    for name, shape in shapes.items():
        weights[f"{layer}{name}.weight"] = matrix(*shape)
    for name in ("input_layernorm", "post_attention_layernorm"):
        weights[f"{layer}{name}.weight"] = np.ones(HIDDEN, np.float32)
    if proposer:
        weights["lm_head.weight"] = _bigrams(IDS, size)
    else:
        weights["score.weight"] = matrix(1, HIDDEN) * 2
    save_file(weights, folder / "model.safetensors")
    config = {
        "architectures": [architecture],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "head_dim": HEAD,
        "max_position_embeddings": 256,
        "rms_norm_eps": 1e-6,
        "vocab_size": size,
        "eos_token_id": IDS["</s>"],
        "tie_word_embeddings": False,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _bigrams(vocabulary: dict[str, int], size: int) -> np.ndarray:
    """Log-chances of the next token, scaled for an embedding of one and its norm's gain."""
    digits = list("123456")
    table = {"\n": {"Ann": 0.5, "Ben": 0.2, "Answer": 0.3}, "Ann": {"\n": 1.0}, "Ben": {"\n": 1.0}}
    table |= {"Answer": {":▁": 1.0}, ":▁": dict(zip(digits, (8, 5, 3, 2, 1, 1), strict=True))}
    table |= {d: {"</s>": 1.0} for d in digits}
    logits = np.full((size, HIDDEN), -20.0)
    for before, chances in table.items():
        for after, chance in chances.items():
            logits[vocabulary[after], vocabulary[before]] = np.log(chance / sum(chances.values()))
    return (logits / np.sqrt(HIDDEN)).astype(np.float32)


def world(
    folder: Path, problems: int = 12, pool: int = 16, arms: str | None = None, **settings: object
) -> Path:
    """A folder with checkpoints, problems.jsonl and study.toml; returns the TOML's path."""
    checkpoint(folder / "proposer", "LlamaForCausalLM")
    checkpoint(folder / "prm", "LlamaForTokenClassification", 1)
    checkpoint(folder / "orm", "LlamaForSequenceClassification", 2)
    rows = [
        {
            "id": f"p{i}",
            "prompt": f"Ann has {i + 2} eggs. How many eggs does Ann have?\n",
            "answer": str(1 + i % 5),
        }
        for i in range(problems)
    ]
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if arms is None:
        arms = """
[[arms]]
strategy = "beam"
params = { width = 4 }
budgets = [4, 16]
[[arms]]
strategy = "beam"
params = { width = "sqrt" }
budgets = [4, 16]
[[arms]]
strategy = "lookahead"
params = { k = 1, width = "sqrt" }
budgets = [8]
[[arms]]
strategy = "greedy"
budgets = [1]
"""
    values = {"name": "small", "pool": pool, "max_tokens": 24, **settings}
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
    text += 'engine = "proposer"\nverifiers = { prm = "prm", orm = "orm" }\n'
    text += 'problems = { source = "problems.jsonl" }\n'
    (folder / "study.toml").write_text(text + arms)
    return folder / "study.toml"
