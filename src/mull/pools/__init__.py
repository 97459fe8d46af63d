"""Pools: recorded samples of anybody's model, imported, checked, recorded and looked at.

from mull.pools import read_pool, summarize
pool = read_pool("pool.parquet")
pool.answers, pool.correct, pool.tokens        # arrays [problems, samples]
pool.frame                                     # the same rows as a Polars frame
summarize(pool)["majority@k"]
"""

from mull.pools.adapters import Adapter, Asked, Source, adapter, adapters, source
from mull.pools.canonical import behaving, canonicalised, problems_of
from mull.pools.check import warnings
from mull.pools.data import PoolData, read_pool
from mull.pools.files import Written
from mull.pools.importing import import_pool, write_pool
from mull.pools.problem_sets import load_problem_set
from mull.pools.record import Recording, record
from mull.pools.schema import Info, Layout
from mull.pools.summary import summarize

__all__ = [
    "Adapter",
    "Asked",
    "Info",
    "Layout",
    "PoolData",
    "Recording",
    "Source",
    "Written",
    "adapter",
    "adapters",
    "behaving",
    "canonicalised",
    "import_pool",
    "load_problem_set",
    "problems_of",
    "read_pool",
    "record",
    "source",
    "summarize",
    "warnings",
    "write_pool",
]
