"""From a finished study to the paper's arrays, kept beside the study so that drawing again takes seconds.

What is kept is used again only for the same study made by the same code. The module puts
lines together; each is measured in a module of its own.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import numpy as np

from mull.analysis import families
from mull.analysis.evidence import Evidence, gather
from mull.errors import MullError
from mull.exchange import inference_ratio
from mull.paper import arrays as kept
from mull.paper import revisions, search
from mull.paper.arrays import Arrays, Line, line
from mull.study.config import checkpoints
from mull.study.folder import Recorded

CACHE = "paper.npz"
#: The budgets at which the paper puts the larger model's stars; R follows from them.
STARS = (16, 64, 256)
#: What the arrays depend on besides the shards: mull's own modules, and these of its packages.
_CODE = ("", "paper", "analysis", "study")


def measure(recorded: Recorded, restem: Recorded | None = None) -> Arrays:
    """The arrays of a finished study, and of its companion by ReST-EM, from the cache if it has them."""
    key = cache_key(recorded, restem)
    path = recorded.path / CACHE
    found = kept.load(path, key)
    if found is None:
        found = compute(gather(recorded), None if restem is None else gather(restem))
        kept.save(path, found, key)
    return found


def compute(evidence: Evidence, restem: Evidence | None = None) -> Arrays:
    """Every line that the evidence has."""
    judged = families.judge(evidence)
    lines = search.lines(evidence, judged) | search.wide(judged)
    if evidence.revisions is not None:
        lines |= revisions.lines(evidence.revisions, judged)
    facts = _facts(evidence)
    if evidence.larger is not None:
        lines["larger"] = line([1], evidence.larger.accuracy[:, None])
        facts |= _sizes(evidence)
    if restem is not None:
        lines |= _restem(evidence, restem)
    labels = {kind: bins.labels for kind, bins in judged.bins.items()}
    return Arrays(lines, labels, facts)


def cache_key(recorded: Recorded, restem: Recorded | None) -> str:
    """A hash of what the arrays are made from: the study, its companion, and mull's own code."""
    digest = hashlib.blake2b(digest_size=16)
    root = resources.files("mull")
    for name in _CODE:
        for file in _sources(root.joinpath(name) if name else root):
            digest.update(file.read_bytes())
    ours = digest.hexdigest()
    return f"{recorded.hash}/{restem.hash if restem is not None else '-'}/{ours}"


def _sources(found: Traversable) -> list[Traversable]:
    return sorted((f for f in found.iterdir() if f.name.endswith(".py")), key=lambda f: f.name)


def _facts(evidence: Evidence) -> dict[str, Any]:
    """What the page says of the study."""
    study, recorded = evidence.recorded.study, evidence.recorded
    return {
        "name": study.name,
        "hash": recorded.hash,
        "seed": study.seed,
        "problems": evidence.pool.problems,
        "pool": study.pool,
        "chains": study.chains,
        "temperature": study.temperature,
        "score": evidence.score,
        "models": {"proposer": recorded.engine, **recorded.models},
        "pass_at_1": float(evidence.pool.correct.mean()),
    }


def _sizes(evidence: Evidence) -> dict[str, Any]:
    """The larger model's parameters over the proposer's, and the R of each star."""
    from mull.engines.small import SmallEngine

    where = checkpoints(evidence.recorded.study)
    small, large = (SmallEngine.load(where[role]).size.parameters for role in ("proposer", "larger"))
    size, known = large / small, evidence.recorded.facts
    found: dict[str, Any] = {"parameters": [small, large], "size": size}
    found["trained"] = {
        name: {stage: known[role].get(f"{stage}_tokens") for stage in ("pretraining", "finetuning")}
        for name, role in (("proposer", "engine"), ("reviser", "reviser"), ("larger model", "larger"))
    }
    if size <= 1:
        return found | {"stars": []}
    placed = [k for k in STARS if k > size]
    found["stars"] = [[k, inference_ratio(size, k, "v1"), inference_ratio(size, k, "iclr")] for k in placed]
    return found


def _restem(evidence: Evidence, restem: Evidence) -> dict[str, Line]:
    """The companion's lines; it must be about the same problems."""
    theirs = [problem.id for problem in restem.recorded.problems]
    if theirs != [problem.id for problem in evidence.recorded.problems]:
        raise MullError(f"{restem.recorded.path} is about other problems than {evidence.recorded.path}")
    if restem.revisions is None:
        raise MullError(f"{restem.recorded.path} has no chains of revisions; set its chains and its reviser")
    return revisions.restem(restem.revisions)


def budgets_of(arrays: Arrays, name: str) -> tuple[int, ...]:
    """A line's budgets; none if the study does not have it."""
    held = arrays.lines.get(name)
    return () if held is None else tuple(int(x) for x in np.asarray(held.x))
