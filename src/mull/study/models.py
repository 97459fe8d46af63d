"""A study's models: loaded once by each worker, with fresh caches for every unit.

The module loads and hands on; it samples and scores nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mull import models
from mull.cost import ModelSize
from mull.drive import Driver
from mull.engines.base import Engine
from mull.engines.recorded import RecordedEngine
from mull.engines.small import SmallEngine
from mull.grading import grader
from mull.models import ModelSpec, VerifierSpec, known_as, model_spec, size_of
from mull.study.config import SAMPLING, VERIFIERS, Study
from mull.study.failures import Aside, AsideEngine, AsideVerifier, Failures, Watched, WatchedVerifier
from mull.trace import Need
from mull.verifiers.base import Verifier
from mull.verifiers.recorded import RecordedVerifier
from mull.verifiers.small import SmallVerifier

#: What a model that samples may tell of its training.
TRAINED = ("pretraining_tokens", "finetuning_tokens")


@dataclass(frozen=True)
class Models:
    """A study's models; all but the engine are None where the study has none."""

    engine: Engine
    prm: Verifier | None = None
    orm: Verifier | None = None
    revision: Verifier | None = None
    reviser: Engine | None = None
    larger: Engine | None = None

    def fresh(self) -> Models:
        """The same models, with empty caches where they are mull's own."""
        found: dict[str, Any] = {r: _fresh(model) for r, model in vars(self).items()}
        return Models(**found)

    def watched(self, failures: Failures) -> Models:
        """Fresh models as they are asked where one of them is outside: failures are noted, all give way."""
        found: dict[str, Any] = {}
        for role, model in vars(self.fresh()).items():
            asked = _aside(model)
            if asked is not None and not isinstance(asked, Aside):
                asked = (WatchedVerifier if role in VERIFIERS else Watched)(asked, failures)
            found[role] = asked
        return Models(**found)

    @property
    def names(self) -> dict[str, str | int]:
        """Each model's name, by role, and what is known of the making of those that sample."""
        found: dict[str, str | int] = {r: known_as(m.name) for r, m in vars(self).items() if m is not None}
        for role in SAMPLING:
            model = getattr(self, role)
            found |= {} if model is None else _making(role, model.size, model)
        return found

    def driver(self, study: Study, *, record: bool = False) -> Driver:
        """A driver over these models; strategies are verified by the PRM, by the ORM failing that."""
        found: dict[Need, Verifier | None] = {
            "process": self.prm,
            "outcome": self.prm or self.orm,
            "revision": self.revision,
        }
        driver = Driver(
            self.engine,
            {need: verifier for need, verifier in found.items() if verifier is not None},
            seed=study.seed,
            temperature=study.temperature,
            max_tokens=study.max_tokens,
            record=record,
            reviser=self.reviser,
            grader=grader(study.grader),
        )
        return replace(driver, concurrency=in_flight(study)) if study.outside else driver


def in_flight(study: Study) -> int:
    """How many requests the study's servers take at a time, the most that one of them does."""
    found = [named for named in study.named.values() if isinstance(named, ModelSpec) and named.served]
    return max((spec.concurrency for spec in found), default=64)


def load(study: Study) -> Models:
    """Load the models that a study names."""
    wanted = {role: named for role in (*VERIFIERS, *SAMPLING) if (named := getattr(study, role)) is not None}
    return Models(**{role: _loaded(role, named) for role, named in wanted.items()})


def _loaded(role: str, named: Any) -> Any:
    if role in VERIFIERS:
        return models.verifier(named, role)  # type: ignore[arg-type]
    return models.engine(named, "proposer" if role == "engine" else role)  # type: ignore[arg-type]


def names(study: Study) -> dict[str, str | int]:
    """What :attr:`Models.names` is, for the models that a study names; those outside are not asked."""
    if not study.outside:
        return load(study).names
    found: dict[str, str | int] = {}
    for role in ("engine", *VERIFIERS, "reviser", "larger"):
        if (named := getattr(study, role)) is None:
            continue
        found[role] = label(named) or known_as(_loaded(role, named).name)
        if role in SAMPLING:
            said = model_spec(named)
            made = _loaded(role, named) if said.plain else None
            tiny: Any = "proposer" if role == "engine" else role
            size = size_of(said, tiny) if made is None else made.size
            found |= _making(role, size, said, made)
    return found


def _making(role: str, size: ModelSize | None, *models: object) -> dict[str, int]:
    """A role's parameters and training tokens, as ``[recorded]`` has them; of several the last that knows."""
    found: dict[str, int] = {}
    if size is not None and size.parameters:
        found[f"{role}_parameters"] = size.parameters
    for name in TRAINED:
        for model in models:
            if tokens := getattr(model, name, None):
                found[f"{role}_{name}"] = tokens
    return found


def label(named: str | ModelSpec | VerifierSpec) -> str:
    """The name of a model outside mull, without its address; "" for mull's own."""
    return named.label if isinstance(named, VerifierSpec) else model_spec(named).label


_Around = Watched | WatchedVerifier | Aside | RecordedEngine | RecordedVerifier


def within(model: Any) -> Any:
    """The model itself, within what it is asked through; None for one that is replayed."""
    while isinstance(model, _Around):
        model = getattr(model, "inner", None)
    return model


def small(model: Any) -> Any:
    """mull's own model within what it is asked through, None for one outside."""
    found = within(model)
    return found if isinstance(found, SmallEngine | SmallVerifier) else None


def _fresh(model: Any) -> Any:
    if isinstance(model, RecordedEngine | RecordedVerifier):
        return model.around(_fresh(model.inner))
    return model.fresh() if isinstance(model, SmallEngine | SmallVerifier) else model


def _aside(model: Any) -> Any:
    """mull's own models in threads, whatever they are asked through."""
    if isinstance(model, RecordedEngine | RecordedVerifier):
        return model.around(_aside(model.inner))
    if isinstance(model, SmallEngine):
        return AsideEngine(model)
    return AsideVerifier(model) if isinstance(model, SmallVerifier) else model
