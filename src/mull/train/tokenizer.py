"""The small world's tokenizer: whole words and single digits, as a Hugging Face file.

A Unigram model with one score for every piece, so the segmentation with the
fewest pieces wins and digits are never merged; Unigram is among the models that
transformers, vLLM and llama.cpp all read. Decoding what was encoded gives the
text back exactly.
"""

from __future__ import annotations

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from mull.tiny.world import ITEMS, NAMES

BOS, EOS, PAD, UNK = "<s>", "</s>", "<pad>", "<unk>"
_WORDS = ["has", "more", "fewer", "times", "as", "many", "than", "and", "together", "How", "does", "have"]
_MARKS = ["Answer", ":▁", "▁+▁", "▁-▁", "▁*▁", "▁/▁", "▁=▁", "\n", ".", "?", "▁"]


def build() -> Tokenizer:
    """The tokenizer of the small world (about 80 pieces)."""
    names = [piece for name in NAMES for piece in (name, f"▁{name}")]
    words = [f"▁{word}" for word in (*_WORDS, *ITEMS)]
    pieces = [PAD, UNK, BOS, EOS, *"0123456789", *_MARKS, *names, *words]
    model = models.Unigram([(piece, -1.0) for piece in pieces], unk_id=1, byte_fallback=False)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="never", split=False)
    tokenizer.add_special_tokens([PAD, UNK, BOS, EOS])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return tokenizer


def piece_id(tokenizer: Tokenizer, piece: str) -> int:
    """The id of a piece that the tokenizer has."""
    found = tokenizer.token_to_id(piece)
    assert found is not None, f"the tokenizer has no piece {piece!r}"
    return int(found)
