"""The small world's checkpoints as GGUF, for llama.cpp's ``llama-server``.

    python tests/llama_gguf.py src/mull/tiny/checkpoints/proposer proposer.gguf

Needs ``gguf`` (PyPI). llama.cpp's own converter knows Llama checkpoints with SentencePiece or
byte-level tokenizers; the small world's is a Unigram vocabulary without bytes, so the file is
written here: llama.cpp's Unigram tokenizer is the one that it calls ``t5``, with a beginning token
and without an end token or a space before the text. All weights stay float32.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

#: Each message as it is: the small world's models know no chat.
TEMPLATE = "{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def convert(folder: Path, file: Path, template: str = TEMPLATE) -> None:
    """Write a Llama checkpoint with a Unigram tokenizer as GGUF."""
    import gguf

    config = json.loads((folder / "config.json").read_text())
    heads, kv_heads, size = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    out = gguf.GGUFWriter(file, "llama")
    out.add_name(folder.name)
    out.add_file_type(gguf.LlamaFileType.ALL_F32)
    out.add_context_length(config["max_position_embeddings"])
    out.add_embedding_length(config["hidden_size"])
    out.add_block_count(config["num_hidden_layers"])
    out.add_feed_forward_length(config["intermediate_size"])
    out.add_head_count(heads)
    out.add_head_count_kv(kv_heads)
    out.add_key_length(size)
    out.add_value_length(size)
    out.add_rope_dimension_count(size)
    out.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    out.add_layer_norm_rms_eps(config["rms_norm_eps"])
    out.add_vocab_size(config["vocab_size"])
    vocabulary(out, folder, config)
    out.add_chat_template(template)
    for name, values in load_file(folder / "model.safetensors").items():
        part, kind = name.removesuffix(".weight"), "weight"
        if part.endswith(("q_proj", "k_proj")):
            values = interleaved(values, heads if part.endswith("q_proj") else kv_heads)
        if part in WHOLE:
            written = f"{WHOLE[part]}.{kind}"
        else:
            _, _, layer, inner = part.split(".", 3)
            written = f"blk.{layer}.{NAMES[inner]}.{kind}"
        out.add_tensor(written, np.ascontiguousarray(values, dtype=np.float32))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def vocabulary(out, folder: Path, config: dict) -> None:
    """Add the Unigram vocabulary and its special tokens."""
    import gguf

    given = json.loads((folder / "tokenizer.json").read_text())
    special = {each["id"] for each in given["added_tokens"] if each["special"]}
    unknown = given["model"]["unk_id"]
    kinds = [
        gguf.TokenType.UNKNOWN if i == unknown else gguf.TokenType.CONTROL if i in special else 1
        for i in range(len(given["model"]["vocab"]))
    ]
    out.add_tokenizer_model("t5")
    out.add_token_list([text for text, _ in given["model"]["vocab"]])
    out.add_token_scores([score for _, score in given["model"]["vocab"]])
    out.add_token_types(kinds)
    out.add_bos_token_id(config["bos_token_id"])
    out.add_eos_token_id(config["eos_token_id"])
    out.add_pad_token_id(config["pad_token_id"])
    out.add_unk_token_id(unknown)
    out.add_add_bos_token(True)
    out.add_add_eos_token(False)
    out.add_add_space_prefix(False)
    out.add_remove_extra_whitespaces(False)


def interleaved(values: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a query or key projection in llama.cpp's order, for rotation of neighbours, not of halves."""
    rows, columns = values.shape
    return values.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
