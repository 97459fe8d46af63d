"""Which model is meant: named in words or in a table, checked, and made ready to be asked."""

from mull.models.load import checkpoint_of, digest_of, engine, known_as, ready, verifier
from mull.models.scoring import VerifierSpec, verifier_spec
from mull.models.size import size_of
from mull.models.spec import ModelSpec, model_spec, simplest

__all__ = [
    "ModelSpec",
    "VerifierSpec",
    "checkpoint_of",
    "digest_of",
    "engine",
    "known_as",
    "model_spec",
    "ready",
    "simplest",
    "size_of",
    "verifier",
    "verifier_spec",
]
