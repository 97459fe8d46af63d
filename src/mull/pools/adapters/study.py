"""The pool of a study that mull recorded: its samples with the verifiers' scores.

The outcome verifier's score is ``scores.orm``, the process verifier's last value ``scores.prm`` and its
values ``step_scores.prm``, where the study has them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import polars as pl

from mull.pools.adapters.base import Asked, Source, adapter
from mull.pools.schema import Info, Layout
from mull.study.folder import Recorded, open_folder


@adapter("study")
def study(asked: Asked) -> Source:
    """The samples that 'mull study' recorded, from the study's folder."""
    found = open_folder(asked.path)
    names = tuple(name for name in ("orm", "prm") if getattr(found, name) is not None)
    layout = Layout(names, tuple(name for name in names if name == "prm"))
    return Source(_frames(found, layout), layout, Info("study", scales=dict.fromkeys(names, "unit")))


def _frames(found: Recorded, layout: Layout) -> Iterator[pl.DataFrame]:
    asked = pl.DataFrame(
        [(p.id, p.prompt, p.gold, json.dumps(dict(p.meta))) for p in found.problems],
        schema={"problem": pl.String, "prompt": pl.String, "gold": pl.String, "meta": pl.String},
        orient="row",
    )
    value = {"orm": pl.col("orm"), "prm": pl.col("prm").list.last()}
    for unit in found.units:
        if unit.arm is None:
            frame = found.read(unit).join(asked, on="problem", how="left", maintain_order="left")
            made = [pl.col("error").replace("", None)]
            if layout.scores:
                made.append(pl.struct(value[n].alias(n) for n in layout.scores).alias("scores"))
            if layout.step_scores:
                made.append(pl.struct("prm").alias("step_scores"))
            yield frame.with_columns(made)
