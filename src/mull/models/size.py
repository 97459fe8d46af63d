"""How large the model is that a name means, as far as its table or its files say; nothing is loaded."""

from __future__ import annotations

from mull.cost import ModelSize
from mull.engines.local.size import checkpoint_size
from mull.models.load import checkpoint_of
from mull.models.spec import ModelSpec, model_spec
from mull.tiny.load import Name


def size_of(named: str | ModelSpec, role: Name = "proposer") -> ModelSize | None:
    """What FLOPs depend on: the table's, else the checkpoint's; None if it is not known."""
    spec = model_spec(named)
    if spec.size is not None or spec.path is None:
        return spec.size
    return checkpoint_size(checkpoint_of(spec.path, role))
