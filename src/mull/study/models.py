"""A study's models: loaded once by each worker, with fresh caches for every unit.

The module loads and hands on; it samples and scores nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mull.drive import Driver
from mull.engines.small import SmallEngine
from mull.study.config import VERIFIERS, Study, checkpoints
from mull.trace import Need
from mull.verifiers.small import SmallVerifier


@dataclass(frozen=True)
class Models:
    """A study's models; all but the engine are None where the study has none."""

    engine: SmallEngine
    prm: SmallVerifier | None = None
    orm: SmallVerifier | None = None
    revision: SmallVerifier | None = None
    reviser: SmallEngine | None = None
    larger: SmallEngine | None = None

    def fresh(self) -> Models:
        """The same models, with empty caches."""
        found: dict[str, Any] = {
            r: None if model is None else model.fresh() for r, model in vars(self).items()
        }
        return Models(**found)

    @property
    def names(self) -> dict[str, str | int]:
        """Each model's name, by role, and what is known of the engine's and the larger model's making."""
        found: dict[str, str | int] = {r: m.name for r, m in vars(self).items() if m is not None}
        for role, model in (("engine", self.engine), ("larger", self.larger)):
            if model is not None:
                found[f"{role}_parameters"] = model.size.parameters
                if model.pretraining_tokens is not None:
                    found[f"{role}_pretraining_tokens"] = model.pretraining_tokens
        return found

    def driver(self, study: Study, *, record: bool = False) -> Driver:
        """A driver over these models; strategies are verified by the PRM, by the ORM failing that."""
        found: dict[Need, SmallVerifier | None] = {
            "process": self.prm,
            "outcome": self.prm or self.orm,
            "revision": self.revision,
        }
        return Driver(
            self.engine,
            {need: verifier for need, verifier in found.items() if verifier is not None},
            seed=study.seed,
            temperature=study.temperature,
            max_tokens=study.max_tokens,
            record=record,
            reviser=self.reviser,
        )


def load(study: Study) -> Models:
    """Load the models that a study names."""
    where = checkpoints(study)
    found: dict[str, Any] = {role: SmallVerifier.load(where[role]) for role in VERIFIERS if role in where}
    found |= {role: SmallEngine.load(where[role]) for role in ("reviser", "larger") if role in where}
    return Models(SmallEngine.load(where["proposer"]), **found)
