"""Whether a study's servers are there, and serve what it names: asked before anything is begun."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mull import models
from mull.errors import MullError
from mull.models import ModelSpec, VerifierSpec
from mull.problems import Problem
from mull.strategies.base import find
from mull.study.config import SAMPLING, VERIFIERS, Study
from mull.trace import Step, Trace

#: A short right solution, for a verifier to say something about.
_ASKED = Trace(
    Problem("hello", "What is 2 + 3?\n", "5"), (Step("2 + 3 = 5\n", ()), Step("Answer: 5", ())), "stop"
)


async def named(study: Study) -> Study:
    """The study with the names of the models that their servers serve alone; asks those servers only."""
    found: dict[str, Any] = {}
    for role in SAMPLING:
        spec = getattr(study, role)
        if isinstance(spec, ModelSpec) and spec.served and spec.model is None and not spec.replay:
            found[role] = await models.ready(spec)
    return replace(study, **found) if found else study


async def check(study: Study) -> None:
    """Ask every server for a token, or a score; :class:`MullError` says which does not do what."""
    stepwise = any("process" in find(arm.strategy).needs for arm in study.live)
    for role in SAMPLING:
        spec = getattr(study, role)
        if isinstance(spec, ModelSpec) and spec.served:
            await models.ready(spec, "steps" if role == "engine" and stepwise else "whole")
    for role in VERIFIERS:
        verifier = getattr(study, role)
        if isinstance(verifier, VerifierSpec):
            # A checkpoint is loaded by the worker; what needs none is made here, so that its mistakes are
            # found before a sample is paid for; a server is asked for a score.
            if "replay" in verifier.table:
                continue
            if "url" not in verifier.table:
                if not _loads(verifier.table):
                    models.verifier(verifier)
                continue
            (verdict,) = await models.verifier(verifier).score([_ASKED])
            if verdict.scores is None:
                where = verifier.table["url"]
                raise MullError(f"the {role} at {where} does not score: {verdict.error or 'no reason given'}")


def _loads(table: Mapping[str, Any]) -> bool:
    """Whether a verifier, or one that it combines, is a checkpoint."""
    return "path" in table or any(map(_loads, table.get("of", ())))
