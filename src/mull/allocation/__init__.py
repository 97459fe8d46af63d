"""Allocation: a total budget over many problems, spent where the chance of a right answer rises most per
token.

from mull.allocation import fit, greedy_plan, live
model = fit(Recorded.of(read_pool("pool.parquet")), train)      # train: bool, which problems to learn from
report = live(greedy_plan(model, names, budget=200_000, longest=4096), problems, driver)
"""

from mull.allocation.fitting import fit
from mull.allocation.held import RULES, Held, measure
from mull.allocation.model import Model
from mull.allocation.plans import Stream, greedy_plan, stream_plan
from mull.allocation.protocol import Draw, Given, Plan, Sampled
from mull.allocation.running import drive, live, replayed

__all__ = [
    "RULES",
    "Draw",
    "Given",
    "Held",
    "Model",
    "Plan",
    "Sampled",
    "Stream",
    "drive",
    "fit",
    "greedy_plan",
    "live",
    "measure",
    "replayed",
    "stream_plan",
]
