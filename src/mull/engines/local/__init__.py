"""Checkpoints of Hugging Face's kind, run in this process with transformers (extra ``local``)."""

from mull.engines.local.engine import TransformersEngine
from mull.engines.local.size import checkpoint_size
from mull.engines.local.spelling import Speller

__all__ = ["Speller", "TransformersEngine", "checkpoint_size"]
