"""Tiny random checkpoints to be fine-tuned: Qwen2 and Llama for language, tokenizers as the real ones'.

Importing this needs torch and transformers.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from prm_models import LLAMA3, bytes_tokenizer, qwen_tokenizer

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
}


def qwen(folder: Path) -> Path:
    """Qwen2 with tied embeddings, ChatML, no beginning token, as Qwen2.5-0.5B and 1.5B are."""
    torch.manual_seed(0)
    tokenizer = qwen_tokenizer(folder)
    config = Qwen2Config(vocab_size=len(tokenizer), tie_word_embeddings=True, **SIZES)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


def llama(folder: Path) -> Path:
    """Llama with a beginning token that the tokenizer adds, Llama 3's template, and no padding token."""
    torch.manual_seed(0)
    special = [
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
    ]
    names = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "adds_bos": "yes"}
    tokenizer = bytes_tokenizer(folder, special, LLAMA3, **names)
    config = LlamaConfig(vocab_size=len(tokenizer), tie_word_embeddings=False, **SIZES)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder
