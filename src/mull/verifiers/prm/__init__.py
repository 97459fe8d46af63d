"""Reward models as verifiers: adapters by name, and three ways to run them."""

from mull.verifiers.prm.adapters import ADAPTERS, adapter_named
from mull.verifiers.prm.build import build
from mull.verifiers.prm.scorer import RewardModel

__all__ = ["ADAPTERS", "RewardModel", "adapter_named", "build"]
