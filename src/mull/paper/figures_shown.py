"""The paper's figures of solutions, from a study's shards: the schematics 2 and 5, the samples 17 to 29."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from mull.paper import samples, schematics
from mull.paper.arrays import Labels
from mull.paper.figure import Diagram
from mull.paper.searched import Rerun
from mull.paper.shown import Content, Part
from mull.strategies.base import Arm
from mull.study.folder import Recorded
from mull.study.plan import Kind

_POOL_RULE = (
    "Of the first problem of each bin, in the study's order, that has right and wrong solutions among its "
    "samples: the best and the worst scored of each. The answer alone makes a solution right. The chips "
    "are the PRM's values of the steps. The paper's samples are from beam search, of which no text is kept."
)


def diagrams(recorded: Recorded, bins: Labels | None) -> list[Diagram]:
    """All of them; ``bins`` [P] are the problems' oracle difficulty, 0 the easiest."""
    return [*_schematics(recorded, bins), *_revised(recorded, bins), *_scored(recorded, bins)]


def _read(recorded: Recorded, what: Kind | Arm) -> pl.DataFrame | None:
    """The frame of the pool, of the chains or of an arm; None if the study has none."""
    units = [unit for unit in recorded.units if what in (unit.arm, unit.kind)]
    return pl.concat([recorded.read(unit) for unit in units]) if units else None


def _schematics(recorded: Recorded, bins: Labels | None) -> list[Diagram]:
    problems, pool, chains = recorded.problems, _read(recorded, "pool"), _read(recorded, "chains")
    arms = schematics.arms_shown({unit.arm for unit in recorded.units if unit.arm is not None})
    rerun = Rerun.of(recorded) if arms is not None else None
    searches = revisions = None
    if arms is not None and rerun is not None and pool is not None:
        runs = {arm: frame for arm in arms if (frame := _read(recorded, arm)) is not None}
        searches = schematics.searches(problems, bins, pool, runs, rerun)
    if chains is not None:
        revisions = schematics.revisions(problems, bins, chains, recorded.study.chains)
    return [
        Diagram(
            "figure-02",
            "2",
            "2",
            "Best-of-N, beam search and lookahead search",
            "The paper's schematic, with the study's own runs on one problem: every step that was sampled, "
            f"coloured by the PRM's score. {schematics.SEARCH_RULE}",
            (),
            _lacking(searches, "problem for it, or not both searches at 4 beams by models that mull runs"),
            searches,
        ),
        Diagram(
            "figure-05",
            "5",
            "5",
            "Parallel, sequential and combined sampling",
            "The paper's schematic, with recorded attempts of the reviser on one problem, four in each of "
            f"three ways. {schematics.REVISION_RULE}",
            (),
            _lacking(revisions, "chains of revisions, or no problem for it"),
            revisions,
        ),
    ]


def _revised(recorded: Recorded, bins: Labels | None) -> list[Diagram]:
    """17 to 23: a chain mended in each bin, one that loses a right answer, one that never has it."""
    frame = _read(recorded, "chains")
    found: list[Part | None] = [None] * 7
    if frame is not None:
        chains = samples.Chains(frame, recorded.problems, recorded.study.chains, bins)
        found = [chains.first(samples.mended, bin_) for bin_ in range(5)]
        found += [chains.first(samples.lost), chains.first(samples.stuck)]
    titles = [f"Revisions, bin {bin_}: wrong at first, right at last" for bin_ in range(1, 6)]
    titles += ["Revisions: right at first, wrong at last", "Revisions: never right, the answer changing"]
    says = (
        f"A chain's first four attempts. {samples.RULE} Lines that the attempt before did not have are bold; "
        "the bar is the score by the revisions' verifier."
    )
    return [
        _sample(17 + i, title, says, () if part is None else (part,), "chain of that kind")
        for i, (title, part) in enumerate(zip(titles, found, strict=True))
    ]


def _scored(recorded: Recorded, bins: Labels | None) -> list[Diagram]:
    """24 to 29: the PRM on a problem of each bin, and where it errs most."""
    frame = _read(recorded, "pool")
    made = []
    pool = None if frame is None else samples.Scored(frame, recorded.problems, bins)
    for bin_ in range(5):
        part = None if pool is None else pool.extremes(bin_)
        title = f"The PRM on solutions of one problem, bin {bin_ + 1}"
        parts = () if part is None else (part,)
        lacks = "right and wrong solutions with PRM scores in that bin"
        made.append(_sample(24 + bin_, title, _POOL_RULE, parts, lacks))
    worst = () if pool is None else pool.mistakes()
    says = (
        "Over all samples of the study: the wrong solution with the highest last score, and the right one "
        "with the lowest; the first where several tie. The answer alone makes a solution right."
    )
    return [*made, _sample(29, "Where the PRM errs most", says, worst, "solutions with PRM scores")]


def _sample(number: int, title: str, says: str, parts: Sequence[Part], lacks: str) -> Diagram:
    content = Content(parts=tuple(parts)) if parts else None
    name, lacking = f"figure-{number}", _lacking(content, lacks)
    return Diagram(name, str(number), str(number + 3), title, says, (), lacking, content, sample=True)


def _lacking(content: Content | None, what: str) -> tuple[str, ...]:
    return () if content is not None else (what,)
