"""What the small world's models are: the recipe of each, and the stages in which they are made.

A stage is a function of what the stages before it left in the folder; each resumes where it
stopped and returns at once when it is finished. The order is that of :data:`STAGES`; only the
larger model's pre-training depends on no other.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mull.train.history import ChainPlan, make_chains
from mull.train.labels import LabelPlan, make_labels
from mull.train.loop import Recipe, final
from mull.train.proposer import LARGER, LARGER_PHASES, PHASES, Shape, train_proposer
from mull.train.rest_em import TrajectoryPlan, make_trajectories
from mull.train.reviser import overfit, train_reviser
from mull.train.revisions import RevisionPlan, make_revisions
from mull.train.verifier import Kind, best, train_verifier

LABELS = LabelPlan(problems=80_000, samples=1, rollouts=2)
REVISIONS = RevisionPlan(problems=10_000)
#: Right solutions for the larger model: it has no use for wrong ones, but for different problems.
SOLUTIONS = RevisionPlan(problems=20_000, samples=16, targets=1, seed=22)
CHAINS = ChainPlan(problems=24_000)
TRAJECTORIES = TrajectoryPlan(problems=1_000)
#: Each verifier's phases; a later one starts from the best checkpoint of the one before.
VERIFIERS: dict[Kind, tuple[Recipe, ...]] = {
    "prm": (Recipe(tokens=20_000_000, lr=2e-3, seed=3), Recipe(tokens=15_000_000, lr=2e-3, seed=5)),
    "orm": (Recipe(tokens=14_000_000, lr=2e-3, seed=4),),
    "revision": (Recipe(tokens=14_000_000, lr=2e-3, seed=7),),
}
REVISER = Recipe(tokens=25_000_000, lr=2e-3, seed=6)
RESTEM = Recipe(tokens=8_000_000, lr=2e-3, seed=8)
#: The larger model's fine-tuning, on right solutions of the proposer's.
TUNED = Recipe(tokens=6_000_000, lr=1e-3, seed=9)
#: Pre-training phases by model.
PRETRAINING = {"proposer": PHASES, "larger": LARGER_PHASES}

Say = Callable[[str], None]


def pretrained(out: Path, name: str = "proposer") -> Path:
    """The checkpoint of the proposer, or of the larger model."""
    return final(out / name / f"phase-{len(PRETRAINING[name])}")


def pretraining_tokens(out: Path, name: str) -> int:
    """How many tokens a model was pre-trained on, over all phases."""
    phases = [final(out / name / f"phase-{number}") for number in range(1, len(PRETRAINING[name]) + 1)]
    return sum(map(tokens_of, phases))


def tokens_of(checkpoint: Path) -> int:
    """How many tokens a run had seen at one of its checkpoints."""
    return int(checkpoint.name.removeprefix("at-"))


def _proposer(out: Path, say: Say) -> None:
    train_proposer(out / "proposer", say=say)


def _larger(out: Path, say: Say, shape: Shape = LARGER) -> None:
    train_proposer(out / "larger", shape, say, LARGER_PHASES)


def _tuned(out: Path, say: Say) -> None:
    start, folder = pretrained(out, "larger"), out / "larger" / "tuned"
    train_reviser(start, out / "solutions", folder, TUNED, say, contexts=False)


def _labels(out: Path, say: Say) -> None:
    make_labels(pretrained(out), LABELS, out / "labels", 0, 1, say)


def _verifier(out: Path, kind: Kind, start: Path, labels: str, say: Say) -> None:
    for number, recipe in enumerate(VERIFIERS[kind], 1):
        start = train_verifier(kind, start, out / labels, out / kind / f"phase-{number}", recipe, say)


def _prm(out: Path, say: Say) -> None:
    _verifier(out, "prm", pretrained(out), "labels", say)


def _orm(out: Path, say: Say) -> None:
    _verifier(out, "orm", pretrained(out), "labels", say)


def _revisions(out: Path, say: Say) -> None:
    make_revisions(pretrained(out), REVISIONS, out / "revisions", 0, 1, say)


def _reviser(out: Path, say: Say) -> None:
    train_reviser(pretrained(out), out / "revisions", out / "reviser" / "phase-1", REVISER, say)


def _solutions(out: Path, say: Say) -> None:
    make_revisions(pretrained(out), SOLUTIONS, out / "solutions", 0, 1, say)


def _chains(out: Path, say: Say) -> None:
    make_chains(chosen(out, "reviser"), CHAINS, out / "chains", 0, 1, say)


def _revision(out: Path, say: Say) -> None:
    _verifier(out, "revision", chosen(out, "prm"), "chains", say)


def _trajectories(out: Path, say: Say) -> None:
    make_trajectories(chosen(out, "reviser"), TRAJECTORIES, out / "trajectories", 0, 1, say)


def _restem(out: Path, say: Say) -> None:
    train_reviser(pretrained(out), out / "trajectories", out / "restem" / "phase-1", RESTEM, say)


STAGES: dict[str, Callable[[Path, Say], None]] = {
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
    phases = {str(kind): len(recipes) for kind, recipes in VERIFIERS.items()}
    return best(out / name / f"phase-{phases[name]}")
