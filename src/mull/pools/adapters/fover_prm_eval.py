"""Scores of several verifiers with labels, as FoVer's ProcessBench results have them.

One document: {verifier: {``y_pred_instance_level``, ``y_true_instance_level``,
``y_pred_step_level``, ``y_true_step_level``}}, all over the same solutions and steps. Which steps
belong to which solution is not in the file, so it gives two pools: of the solutions (the default), or of
the steps with ``--set level=steps``; in both, every verifier is a score and ``correct`` is the label.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mull.errors import MullError
from mull.pools.adapters.base import Asked, Source, adapter, source
from mull.pools.inputs import document, need, one_file, same_length
from mull.pools.schema import Info, Layout


@adapter("fover_prm_eval", level="solutions (the default) or steps: what a row is")
def fover_prm_eval(asked: Asked) -> Source:
    """Scores of several verifiers on labelled solutions, or on labelled steps (FoVer results)."""
    level = asked.choice("level", ("solutions", "steps"))
    path = one_file(asked.path, "processbench_*.json*")
    where = str(path)
    found = need(document(path), dict, where)
    if not found:
        raise MullError(f"{where}: no verifiers")
    which = "instance" if level == "solutions" else "step"
    scores, labels = {}, None
    for name in found:
        here = f"{where}, verifier {name!r}"
        scores[name] = need(need(found, dict, where, name), list, here, f"y_pred_{which}_level")
        truth = need(found[name], list, here, f"y_true_{which}_level")
        same_length(here, scores=scores[name], labels=truth)
        if labels not in (None, truth):
            raise MullError(f"{here}: its labels are not those of the first verifier")
        labels = truth
    info = Info(
        "fover_prm_eval", "samples" if level == "solutions" else "steps", dict.fromkeys(scores, "unit")
    )
    return source(_rows(which, scores, labels or [], where), Layout(scores=tuple(scores)), info)


def _rows(
    which: str, scores: dict[str, list[Any]], labels: list[Any], where: str
) -> Iterator[dict[str, Any]]:
    for at, label in enumerate(labels):
        given = {name: need(values[at], float, where) for name, values in scores.items()}
        yield {"problem": f"{which}-{at}", "correct": need(label, bool, where), "scores": given}
