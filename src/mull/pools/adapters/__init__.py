"""Adapters: one foreign format a file, each giving its samples as frames of the pool's columns.

Every module of this package is imported here, so that dropping a file with an
``@adapter(...)`` function into it makes the format known to ``mull pool import``.
"""

import importlib
import pkgutil

from mull.pools.adapters.base import Adapter, Asked, Source, adapter, adapters, find, source

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["Adapter", "Asked", "Source", "adapter", "adapters", "find", "source"]
