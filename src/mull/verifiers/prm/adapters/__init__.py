"""Adapters by name: one file a family of reward models."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mull.errors import MullError
from mull.verifiers.prm.adapter import Adapter
from mull.verifiers.prm.adapters.math_shepherd import MATH_SHEPHERD
from mull.verifiers.prm.adapters.outcome import QWEN_RM, REWARD_MODEL
from mull.verifiers.prm.adapters.qwen import QWEN_PRM, REASONFLUX
from mull.verifiers.prm.adapters.rlhflow import RLHFLOW_DEEPSEEK, RLHFLOW_MISTRAL, RLHFLOW_ORM
from mull.verifiers.prm.adapters.skywork import SKYWORK
from mull.verifiers.prm.adapters.trl import TRL

ADAPTERS: Mapping[str, Adapter] = MappingProxyType(
    {
        each.name: each
        for each in (
            QWEN_PRM,
            REASONFLUX,
            MATH_SHEPHERD,
            RLHFLOW_DEEPSEEK,
            RLHFLOW_MISTRAL,
            SKYWORK,
            TRL,
            QWEN_RM,
            RLHFLOW_ORM,
            REWARD_MODEL,
        )
    }
)


def adapter_named(name: str) -> Adapter:
    """An adapter by name; :class:`MullError` naming the known ones."""
    if name not in ADAPTERS:
        raise MullError(f"there is no adapter {name!r}; there are {', '.join(ADAPTERS)}")
    return ADAPTERS[name]


__all__ = ["ADAPTERS", "adapter_named"]
