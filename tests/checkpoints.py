"""Random Llama checkpoints for tests, written as any Hugging Face checkpoint is."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from small_vocabulary import IDS, save

ARCHITECTURES = {
    "lm": "LlamaForCausalLM",
    "prm": "LlamaForTokenClassification",
    "orm": "LlamaForSequenceClassification",
}


def checkpoint(
    folder: Path, kind: str = "lm", *, seed: int = 0, kv_heads: int = 1, sharp: float = 1.0
) -> Path:
    """A checkpoint with random weights; ``sharp`` scales the queries, hence the attention's scores."""
    rng = np.random.default_rng(seed)
    hidden, layers, heads, head_dim, inner, vocab = 64, 2, 4, 16, 40, len(IDS)
    newline, eos = IDS["\n"], IDS["</s>"]

    def normal(*shape: int, scale: float = 0.15) -> np.ndarray:
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    weights = {
        "model.embed_tokens.weight": normal(vocab, hidden, scale=0.3),
        "model.norm.weight": 1 + normal(hidden),
    }
    # The hidden state's mean direction favours step ends, so that random solutions have steps.
    weights["model.embed_tokens.weight"] += 0.1
    weights["model.embed_tokens.weight"][newline] += 0.07
    weights["model.embed_tokens.weight"][eos] += 0.04
    for i in range(layers):
        at = f"model.layers.{i}."
        weights |= {
            at + "input_layernorm.weight": 1 + normal(hidden),
            at + "post_attention_layernorm.weight": 1 + normal(hidden),
            at + "self_attn.q_proj.weight": normal(heads * head_dim, hidden) * np.float32(sharp),
            at + "self_attn.k_proj.weight": normal(kv_heads * head_dim, hidden),
            at + "self_attn.v_proj.weight": normal(kv_heads * head_dim, hidden),
            at + "self_attn.o_proj.weight": normal(hidden, heads * head_dim),
            at + "mlp.gate_proj.weight": normal(inner, hidden),
            at + "mlp.up_proj.weight": normal(inner, hidden),
            at + "mlp.down_proj.weight": normal(hidden, inner),
        }
    if kind != "lm":
        weights["score.weight"] = normal(1, hidden)
    if kind == "prm":
        weights["score.bias"] = normal(1)
    config = {
        "architectures": [ARCHITECTURES[kind]],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "vocab_size": vocab,
        "max_position_embeddings": 256,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
        "tie_word_embeddings": True,
        "pad_token_id": IDS["<pad>"],
        "bos_token_id": IDS["<s>"],
        "eos_token_id": eos,
        "dtype": "float32",
    }
    if kind != "lm":
        config |= {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    save(folder)
    return folder
