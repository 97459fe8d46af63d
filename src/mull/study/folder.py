"""A study's folder as a whole: made, recognised, continued, read.

    study.toml         what was asked, and the hash of it
    problems.parquet   the problems
    shards/*.parquet   the pool and the arms, a shard a unit; NAME.failed.parquet while some of it failed
    summary.json, policy.json, trees.json, report.html

Nothing of another study is ever overwritten.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from mull.errors import MullError
from mull.models import model_spec
from mull.problems import Problem
from mull.study import config, store
from mull.study.config import Study
from mull.study.plan import Unit, plan


@dataclass(frozen=True)
class Recorded:
    """A study that has a folder: what was asked, by which models, and its units.

    ``models`` are the models' names by role, but for the engine's; ``facts`` are the ``parameters``,
    ``pretraining_tokens`` and ``finetuning_tokens`` of those that sample, where they are known.
    """

    path: Path
    study: Study
    hash: str
    engine: str
    models: Mapping[str, str]
    facts: Mapping[str, Mapping[str, int]]
    problems: tuple[Problem, ...]
    units: tuple[Unit, ...]

    @property
    def prm(self) -> str | None:
        """The PRM's name."""
        return self.models.get("prm")

    @property
    def orm(self) -> str | None:
        """The ORM's name."""
        return self.models.get("orm")

    def shard(self, unit: Unit) -> Path:
        """Where a unit's shard is or will be."""
        return self.path / "shards" / unit.file

    def missing(self) -> tuple[Unit, ...]:
        """The units that are still to be computed."""
        return tuple(unit for unit in self.units if not self.shard(unit).exists())

    def kept(self, unit: Unit) -> pl.DataFrame | None:
        """What there is of a unit of which something failed, None if there is nothing."""
        path = self.path / "shards" / unit.failed
        if self.shard(unit).exists() or not path.exists():
            return None
        return store.read(path, unit.key, store.schema(unit.kind, self.study.outside))

    def read(self, unit: Unit) -> pl.DataFrame:
        """A unit's frame, checked."""
        frame = store.read(self.shard(unit), unit.key, store.schema(unit.kind, self.study.outside))
        rows = len(unit.problems) * (1 if unit.kind == "arm" else unit.generations)
        if frame.height != rows:
            wrong = f"{self.shard(unit)} has {frame.height} rows, not {rows}"
            raise MullError(f"{wrong}; delete it and run the same command again")
        return frame


def begin(
    path: Path, study: Study, names: Mapping[str, str | int], problems: Sequence[Problem], key: str
) -> Recorded:
    """Make the folder, or recognise it as this very study's; anything else is refused."""
    settings = path / "study.toml"
    if settings.exists():
        if not (path / "problems.parquet").exists():
            if _hash(settings) != key:
                raise MullError(f"{path} holds another study; choose another --out")
            _write_problems(path, problems)
        return _moved(same(open_folder(path), key), study)
    try:
        left = [p for p in path.iterdir() if not p.name.endswith(".tmp") and p.name != "problems.parquet"]
    except FileNotFoundError:
        left = []
    except OSError as error:
        raise MullError(f"cannot use {path}: {error.strerror}") from None
    if left:
        raise MullError(f"{path} is not empty and holds no study; choose another --out")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MullError(f"cannot make {path}: {error.strerror}") from None
    _write_problems(path, problems)
    store.write_text(
        settings, config.to_toml(study, {"hash": key, **names})
    )  # last: it makes the folder a study
    return open_folder(path)


def _hash(settings: Path) -> object:
    recorded = config.read_toml(settings).get("recorded")
    return recorded.get("hash") if isinstance(recorded, Mapping) else None


def _write_problems(path: Path, problems: Sequence[Problem]) -> None:
    rows = [
        {"problem": p.id, "prompt": p.prompt, "gold": p.gold, "meta": json.dumps(dict(p.meta))}
        for p in problems
    ]
    store.write(path / "problems.parquet", pl.DataFrame(rows, schema=store.PROBLEMS), "problems")


def same(found: Recorded, key: str) -> Recorded:
    """The folder's study, if it is the one with this hash; else :class:`MullError`."""
    if found.hash != key:
        raise MullError(
            f"{found.path} holds another study ({found.study.name!r}, {found.hash}; this is {key}); "
            "choose another --out"
        )
    return found


def _moved(found: Recorded, study: Study) -> Recorded:
    """The folder's study with the addresses, limits and prices of now, where it is of models outside."""
    if not study.outside:
        return found
    for role in config.SAMPLING:
        then, now = getattr(found.study, role), getattr(study, role)
        if then is not None and model_spec(then).size != model_spec(now).size:
            raise MullError(
                f"{found.path} was recorded with other parameters, layers or heads of the {role}, and its "
                "FLOPs are by them; leave them as they were, or choose another --out"
            )
    text = config.to_toml(study, config.read_toml(found.path / "study.toml")["recorded"])
    if text != (found.path / "study.toml").read_text(encoding="utf-8"):
        store.write_text(found.path / "study.toml", text)
    return open_folder(found.path)


def open_folder(path: Path) -> Recorded:
    """A study's folder; :class:`MullError` if it is none, or damaged."""
    settings = path / "study.toml"
    if not settings.exists():
        raise MullError(
            f"{path} holds no study (there is no {settings}); run 'mull study --out {path}' first"
        )
    table = config.read_toml(settings).get("recorded", {})
    if not isinstance(table, dict) or not {"hash", "engine"} <= table.keys():
        raise MullError(
            f"{settings} is not what mull wrote (its [recorded] table is gone); choose another --out"
        )
    study, found, key = config.read(settings), problems(path), str(table["hash"])
    names = {name: str(table[name]) for name in config.ROLES if name in table}
    units = plan(study, found, key)
    facts = {role: _facts(table, role) for role in config.SAMPLING}
    return Recorded(path, study, key, str(table["engine"]), names, facts, found, units)


def problems(path: Path) -> tuple[Problem, ...]:
    """The problems that a folder's study is about."""
    frame = store.read(path / "problems.parquet", "problems", store.PROBLEMS)
    return tuple(
        Problem(r["problem"], r["prompt"], r["gold"], json.loads(r["meta"])) for r in frame.to_dicts()
    )


def _facts(table: Mapping[str, Any], role: str) -> dict[str, int]:
    known = ("parameters", "pretraining_tokens", "finetuning_tokens")
    return {fact: int(table[f"{role}_{fact}"]) for fact in known if f"{role}_{fact}" in table}


def parse(text: str) -> Study:
    """A study from TOML with absolute paths."""
    return config.from_mapping(tomllib.loads(text), Path())
