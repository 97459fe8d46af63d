"""What the small world's models are: the recipe of each, and the stages in which they are made.

A stage is a function of the recipes and of what the stages before it left in the folder; each
resumes where it stopped and returns at once when it is finished. The order is that of
:data:`STAGES`; only the larger model's pre-training depends on no other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from math import ceil
from pathlib import Path
from typing import Any

from mull.tiny.world import Mix
from mull.train.history import ChainPlan, make_chains
from mull.train.labels import LabelPlan, make_labels
from mull.train.loop import Recipe, final
from mull.train.proposer import LARGER, LARGER_PHASES, PHASES, Phases, train_proposer
from mull.train.rest_em import TrajectoryPlan, make_trajectories
from mull.train.reviser import overfit, train_reviser
from mull.train.revisions import RevisionPlan, make_revisions
from mull.train.verifier import Kind, best, train_verifier


@dataclass(frozen=True)
class Recipes:
    """How much data is made and how long each model is trained.

    Pre-training is in phases, each with its mix of problems; a verifier's later phase starts from the
    best checkpoint of the one before. ``tuned`` is the larger model's fine-tuning, on ``solutions``.
    """

    proposer: Phases
    larger: Phases
    labels: LabelPlan
    prm: tuple[Recipe, ...]
    orm: tuple[Recipe, ...]
    revisions: RevisionPlan
    reviser: Recipe
    chains: ChainPlan
    revision: tuple[Recipe, ...]
    trajectories: TrajectoryPlan
    restem: Recipe
    solutions: RevisionPlan
    tuned: Recipe

    def scaled(self, part: float) -> Recipes:
        """The same with this part of the problems and of the tokens."""

        def less(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(map(less, value))
            if isinstance(value, Recipe):
                return replace(value, tokens=max(1, round(value.tokens * part)))
            return value if isinstance(value, Mix) else replace(value, problems=ceil(value.problems * part))

        return replace(self, **{field.name: less(getattr(self, field.name)) for field in fields(self)})


#: Those of the shipped models.
SHIPPED = Recipes(
    proposer=PHASES,
    larger=LARGER_PHASES,
    labels=LabelPlan(problems=80_000, samples=1, rollouts=2),
    prm=(Recipe(tokens=20_000_000, lr=2e-3, seed=3), Recipe(tokens=15_000_000, lr=2e-3, seed=5)),
    orm=(Recipe(tokens=14_000_000, lr=2e-3, seed=4),),
    revisions=RevisionPlan(problems=10_000),
    reviser=Recipe(tokens=25_000_000, lr=2e-3, seed=6),
    chains=ChainPlan(problems=24_000),
    revision=(Recipe(tokens=14_000_000, lr=2e-3, seed=7),),
    trajectories=TrajectoryPlan(problems=1_000),
    restem=Recipe(tokens=8_000_000, lr=2e-3, seed=8),
    # Right solutions: the larger model has no use for wrong ones, but for different problems.
    solutions=RevisionPlan(problems=20_000, samples=16, targets=1, seed=22),
    tuned=Recipe(tokens=6_000_000, lr=1e-3, seed=9),
)
#: The plans by which data are made.
PLANS = ("labels", "revisions", "chains", "solutions", "trajectories")
VERIFIERS: tuple[Kind, ...] = ("prm", "orm", "revision")
PRETRAINED = ("proposer", "larger")

Say = Callable[[str], None]


def phases(name: str) -> int:
    """In how many phases a model is pre-trained, or a verifier trained."""
    return len(getattr(SHIPPED, name))


def pretrained(out: Path, name: str = "proposer") -> Path:
    """The checkpoint of the proposer, or of the larger model."""
    return final(out / name / f"phase-{phases(name)}")


def pretraining_tokens(out: Path, name: str) -> int:
    """How many tokens a model was pre-trained on, over all phases."""
    return sum(tokens_of(final(out / name / f"phase-{n}")) for n in range(1, phases(name) + 1))


def tokens_of(checkpoint: Path) -> int:
    """How many tokens a run had seen at one of its checkpoints."""
    return int(checkpoint.name.removeprefix("at-"))


def _proposer(out: Path, by: Recipes, say: Say) -> None:
    train_proposer(out / "proposer", say=say, phases=by.proposer)


def _larger(out: Path, by: Recipes, say: Say) -> None:
    train_proposer(out / "larger", LARGER, say, by.larger)


def _solutions(out: Path, by: Recipes, say: Say) -> None:
    make_revisions(pretrained(out), by.solutions, out / "solutions", 0, 1, say)


def _tuned(out: Path, by: Recipes, say: Say) -> None:
    start, folder = pretrained(out, "larger"), out / "larger" / "tuned"
    train_reviser(start, out / "solutions", folder, by.tuned, say, contexts=False)


def _labels(out: Path, by: Recipes, say: Say) -> None:
    make_labels(pretrained(out), by.labels, out / "labels", 0, 1, say)


def _verifier(out: Path, by: Recipes, kind: Kind, start: Path, labels: str, say: Say) -> None:
    recipes: tuple[Recipe, ...] = getattr(by, kind)
    for number, recipe in enumerate(recipes, 1):
        start = train_verifier(kind, start, out / labels, out / kind / f"phase-{number}", recipe, say)


def _prm(out: Path, by: Recipes, say: Say) -> None:
    _verifier(out, by, "prm", pretrained(out), "labels", say)


def _orm(out: Path, by: Recipes, say: Say) -> None:
    _verifier(out, by, "orm", pretrained(out), "labels", say)


def _revisions(out: Path, by: Recipes, say: Say) -> None:
    make_revisions(pretrained(out), by.revisions, out / "revisions", 0, 1, say)


def _reviser(out: Path, by: Recipes, say: Say) -> None:
    train_reviser(pretrained(out), out / "revisions", out / "reviser" / "phase-1", by.reviser, say)


def _chains(out: Path, by: Recipes, say: Say) -> None:
    make_chains(chosen(out, "reviser"), by.chains, out / "chains", 0, 1, say)


def _revision(out: Path, by: Recipes, say: Say) -> None:
    _verifier(out, by, "revision", chosen(out, "prm"), "chains", say)


def _trajectories(out: Path, by: Recipes, say: Say) -> None:
    make_trajectories(chosen(out, "reviser"), by.trajectories, out / "trajectories", 0, 1, say)


def _restem(out: Path, by: Recipes, say: Say) -> None:
    train_reviser(pretrained(out), out / "trajectories", out / "restem" / "phase-1", by.restem, say)


STAGES: dict[str, Callable[[Path, Recipes, Say], None]] = {
    "proposer": _proposer,
    "labels": _labels,
    "prm": _prm,
    "orm": _orm,
    "revisions": _revisions,
    "reviser": _reviser,
    "chains": _chains,
    "revision": _revision,
    "trajectories": _trajectories,
    "restem": _restem,
    "solutions": _solutions,
    "larger": _larger,
    "tuned": _tuned,
}


def chosen(out: Path, name: str) -> Path:
    """The checkpoint of a finished model that is shipped."""
    if name == "proposer":
        return pretrained(out)
    if name == "larger":
        return final(out / "larger" / "tuned")
    if name in ("reviser", "restem"):
        return overfit(out / name / "phase-1")
    return best(out / name / f"phase-{phases(name)}")
