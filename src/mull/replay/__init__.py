"""Replay: stopping and spending rules run over recorded samples, without generating a token.

from mull.replay import Recorded, replay
recorded = Recorded.of(read_pool("pool.parquet"))
outcome = replay(recorded.draw(runs=20, samples=64, seed=0), Arm("adaptive_consistency", 64))
outcome.right, outcome.tokens, outcome.generations        # arrays [runs, problems]
"""

from mull.replay.engine import ReplayEngine, ReplayVerifier, live
from mull.replay.recorded import Drawn, Recorded
from mull.replay.rules import Outcome, replay, rules

__all__ = ["Drawn", "Outcome", "Recorded", "ReplayEngine", "ReplayVerifier", "live", "replay", "rules"]
