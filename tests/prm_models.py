"""Tiny random checkpoints of the published reward models' architectures, with their tokenizers' conventions.

Each builder returns the folder and the model itself, so that tests can compute what a card's recipe gives
without going through what is tested. Importing this needs torch and transformers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForSequenceClassification,
    Qwen2Model,
    Qwen3Config,
    Qwen3ForTokenClassification,
)

CORPUS = [
    "Janet has 16 eggs. She eats three for breakfast and sells the remainder for $2 each.",
    "Step 1: She sells 16 - 3 = 13 eggs.\nStep 2: She makes 13 * 2 = 26 dollars.\n\nAnswer: \\boxed{26}",
    "Please reason step by step, and put your final answer within \\boxed{}.",
    "How much does she make? Steps: one, two, three. Also 12 + 5 = 17, 40 / 8 = 5.",
    "Größe: 5 µm, also √2 ≈ 1.414; это верно. 所以答案是七。 😀",
] * 4

CHATML = (
    "{%- if messages[0]['role'] != 'system' %}<|im_start|>system\nA helpful model.<|im_end|>\n{% endif -%}"
    "{%- for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor -%}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif -%}"
)
LLAMA3 = (
    "{{- bos_token }}<|start_header_id|>system<|end_header_id|>\n\nToday Date: 26 Jul 2024\n\n<|eot_id|>"
    "{%- for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor -%}"
    "{%- if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif -%}"
)
NO_SYSTEM = (
    "{%- if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif -%}"
    "{%- for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor -%}"
)
DROPS_SYSTEM = (
    "{%- for m in messages %}{% if m['role'] != 'system' %}<|im_start|>{{ m['role'] }}\n"
    "{{ m['content'] }}<|im_end|>\n{% endif %}{% endfor -%}"
)
#: The pattern by which Llama 3's and Qwen2's byte-level tokenizers cut texts.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 512,
    "initializer_range": 0.4,
}


@dataclass(frozen=True)
class Made:
    """A checkpoint's folder, its model and head (None: the model's own), its tokenizer as cards load it."""

    folder: Path
    model: Any
    head: Any
    tokenizer: Any


def bytes_tokenizer(folder: Path, special: list[str], template: str, **names: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer, as Qwen2's and Llama 3's are."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=special,
    )
    inner.train_from_iterator(CORPUS, trainer)
    if "bos_token" in names and names.pop("adds_bos", ""):
        bos = names["bos_token"]
        inner.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, inner.token_to_id(bos))]
        )
    found = PreTrainedTokenizerFast(tokenizer_object=inner, **names)
    found.chat_template = template
    found.save_pretrained(folder)
    return found


def pieces_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """A BPE tokenizer with SentencePiece's conventions (space as ▁, bytes as <0x..>), as Mistral's is."""
    base = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    inner = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(vocab_size=620, show_progress=False, special_tokens=base)
    # Without pre-tokenization, as SentencePiece: words and tags are learnt where they are frequent.
    words = " ".join(CORPUS[:5]).replace("\n", " ").split(" ")
    inner.train_from_iterator([f"{w}" for w in words] + ["ки", "+", "-"] * 40, trainer)
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    spec = json.loads(inner.to_str())
    # Only the first three are special tokens; bytes are ordinary pieces.
    spec["added_tokens"] = spec["added_tokens"][:3]
    inner = Tokenizer.from_str(json.dumps(spec))
    found = PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    found.save_pretrained(folder)
    return found


def _write(
    folder: Path, config: Any, weights: dict[str, torch.Tensor], architecture: str, **more: Any
) -> None:
    config.architectures = [architecture]
    config.dtype = torch.float32
    config.save_pretrained(folder)
    if more:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | more))
    save_file(
        {name: weight.detach().clone().contiguous() for name, weight in weights.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )


def _made(folder: Path, model: Any, head: Any) -> Made:
    return Made(folder, model, head, AutoTokenizer.from_pretrained(folder))


def qwen_tokenizer(folder: Path, template: str = CHATML, **names: str) -> PreTrainedTokenizerFast:
    """Qwen2.5-Math's: ChatML, no beginning token."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<extra_0>"]
    names = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", **names}
    return bytes_tokenizer(folder, special, template, **names)


def qwen_prm(folder: Path, *, labels: int = 2, seed: int = 0, template: str = CHATML) -> Made:
    """Qwen2.5-Math-PRM (2 labels) or -RM (1): Qwen2 with a head of two layers, remote code and all."""
    torch.manual_seed(seed)
    tokenizer = qwen_tokenizer(folder, template)
    config = Qwen2Config(vocab_size=len(tokenizer), **SIZES)
    model = Qwen2Model(config).eval()
    head = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, labels)).eval()
    weights = {f"model.{name}": weight for name, weight in model.state_dict().items()}
    weights |= {f"score.{name}": weight for name, weight in head.state_dict().items()}
    name = "Qwen2ForProcessRewardModel" if labels == 2 else "Qwen2ForRewardModel"
    remote = {"AutoModel": f"modeling_qwen2_rm.{name}", "AutoConfig": "configuration_qwen2_rm.Qwen2RMConfig"}
    _write(folder, config, weights, name, auto_map=remote, num_labels=labels)
    return _made(folder, model, head)


def skywork_prm(folder: Path, *, seed: int = 0) -> Made:
    """Skywork-o1-Open-PRM: Qwen2 for language with a value head beside it."""
    torch.manual_seed(seed)
    tokenizer = qwen_tokenizer(folder, bos_token="<|endoftext|>")
    config = Qwen2Config(vocab_size=len(tokenizer), **SIZES)
    model = Qwen2Model(config).eval()
    head = torch.nn.Linear(64, 1).eval()
    weights = {f"model.{name}": weight for name, weight in model.state_dict().items()}
    weights["lm_head.weight"] = torch.randn(len(tokenizer), 64)
    weights |= {f"v_head.summary.{name}": weight for name, weight in head.state_dict().items()}
    _write(folder, config, weights, "Qwen2ForPrmModel")
    return _made(folder, model, head)


def math_shepherd(folder: Path, *, seed: int = 0, window: int | None = None) -> Made:
    """Math-Shepherd: Mistral for language."""
    torch.manual_seed(seed)
    tokenizer = pieces_tokenizer(folder)
    config = MistralConfig(vocab_size=len(tokenizer), sliding_window=window, **SIZES)
    model = MistralForCausalLM(config).eval()
    model.save_pretrained(folder)
    return _made(folder, model, None)


def rlhflow(folder: Path, *, seed: int = 0, template: str = LLAMA3) -> Made:
    """RLHFlow's PRMs and ORMs: Llama 3.1 for language."""
    torch.manual_seed(seed)
    special = [
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
    ]
    names = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "adds_bos": "yes"}
    tokenizer = bytes_tokenizer(folder, special, template, **names)
    config = LlamaConfig(vocab_size=len(tokenizer), **SIZES)
    model = LlamaForCausalLM(config).eval()
    model.save_pretrained(folder)
    return _made(folder, model, None)


def trl_prm(folder: Path, *, seed: int = 0) -> Made:
    """A token classifier as TRL trains it: Qwen3 with two labels."""
    torch.manual_seed(seed)
    tokenizer = qwen_tokenizer(folder)
    config = Qwen3Config(vocab_size=len(tokenizer), head_dim=32, num_labels=2, **SIZES)
    model = Qwen3ForTokenClassification(config).eval()
    model.save_pretrained(folder)
    return _made(folder, model, None)


def sequence_rm(folder: Path, *, seed: int = 0) -> Made:
    """A reward model over a chat: Qwen2 with one label at the last token."""
    torch.manual_seed(seed)
    tokenizer = qwen_tokenizer(folder)
    config = Qwen2Config(
        vocab_size=len(tokenizer), num_labels=1, pad_token_id=tokenizer.pad_token_id, **SIZES
    )
    model = Qwen2ForSequenceClassification(config).eval()
    model.save_pretrained(folder)
    return _made(folder, model, None)
