"""What a study is: one frozen dataclass, one TOML file, one content hash.

    name = "mine"
    seed = 0
    temperature = 1.0
    max_tokens = 256                   # a solution
    pool = 256                         # samples a problem, a power of two
    chains = 64                        # revision budgets up to this power of 4; 0: no revisions
    engine = "tiny"                    # or a checkpoint's folder, or a server's address, or a table:
    # engine = { url = "http://localhost:8000/v1", model = "tiny", format = "text" }
    reviser = "tiny"
    larger = "tiny"                    # a model to compare with, decoded greedily
    verifiers = { prm = "tiny", orm = "tiny", revision = "tiny" }
    # or: verifiers = { prm = { path = "checkpoint", adapter = "qwen2.5-math-prm" } }
    problems = { source = "tiny", split = "test", count = 500 }
    # or: problems = { source = "problems.jsonl", count = 200 }, or a data set: { source = "math500" }
    grader = "math"                    # which answers are equal; the set's own, or none, if not given

    [[arms]]
    strategy = "beam"
    params = { width = 4 }
    budgets = [4, 16, 64]

Majority and best-of-N need no arm: they are measured at every power of two up to
``pool``, from the pool; so are revisions, at every ratio up to ``chains``. Paths are
relative to the TOML file; tables are those of :mod:`mull.models.spec`. The module reads,
checks and writes configuration; it loads no model.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

from mull.errors import MullError
from mull.grading import grader
from mull.models import ModelSpec, VerifierSpec, digest_of, simplest, verifier_spec
from mull.models.spec import Place, from_table, is_url
from mull.problems import Problem
from mull.sets import default_grader
from mull.strategies.base import Arm, Value, start
from mull.study.source import Source, load_problems, placed, split_named

__all__ = ["Source", "Study", "content_hash", "load_problems", "read", "to_toml"]
#: Changes when recorded shards of an older mull can no longer be continued.
FORMAT = 1
#: The study's verifiers, and its models beside the engine.
VERIFIERS = ("prm", "orm", "revision")
ROLES = (*VERIFIERS, "reviser", "larger")
#: The study's models that sample.
SAMPLING = ("engine", "reviser", "larger")
#: Strategies measured from the pool, never run live in a study.
POOLED = ("best_of_n", "best_of_n_weighted", "majority")
#: The largest budgets that chains of revisions can be recorded for.
CHAINS = (4, 16, 64, 256)
#: Five bins, halved for cross-validation, with a problem in each half.
FEWEST = 10


@dataclass(frozen=True)
class Study:
    """What is asked: problems x arms, by one model and its verifiers, from one seed.

    ``engine``, ``reviser``, ``larger`` and the verifiers ``prm``, ``orm`` and ``revision`` are
    "tiny", a checkpoint's folder or a table, the first three also a server's address; all but the
    engine may be None. ``pool`` is in samples a
    problem, ``chains`` in attempts a problem, ``max_tokens`` in tokens a solution. ``grader`` says
    which answers are equal (:func:`mull.grading.grader`); None is mull's own normal form.
    """

    name: str
    problems: Source = field(default_factory=Source)
    engine: str | ModelSpec = "tiny"
    prm: str | VerifierSpec | None = "tiny"
    orm: str | VerifierSpec | None = "tiny"
    reviser: str | ModelSpec | None = None
    revision: str | VerifierSpec | None = None
    larger: str | ModelSpec | None = None
    temperature: float = 1.0
    seed: int = 0
    pool: int = 256
    max_tokens: int = 256
    chains: int = 0
    arms: tuple[Arm, ...] = ()
    grader: str | None = None

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise MullError("a study needs a name")
        if self.pool < 4 or self.pool & (self.pool - 1):
            raise MullError(f"pool is {self.pool}; it must be a power of two, and at least 4")
        if not 0 < self.temperature <= 10:
            raise MullError(f"temperature is {self.temperature}; it must be above 0 and at most 10")
        if self.max_tokens < 1:
            raise MullError(f"max_tokens is {self.max_tokens}; it must be at least 1")
        if self.chains and self.chains not in CHAINS:
            listed = ", ".join(map(str, CHAINS))
            raise MullError(f"chains is {self.chains}; it must be 0 or one of {listed}")
        if self.chains and self.reviser is None:
            raise MullError("chains of revisions need a reviser; set reviser")
        if self.seed < 0:
            raise MullError(f"seed is {self.seed}; it must not be negative")
        if self.problems.count is not None and self.problems.count < FEWEST:
            raise MullError(f"{self.problems.count} problems are too few; a study needs at least {FEWEST}")
        for role in SAMPLING:
            if getattr(self, role) is not None:
                object.__setattr__(self, role, simplest(getattr(self, role)))
        grader(self.grader)
        object.__setattr__(self, "arms", tuple(dict.fromkeys(self.arms)))
        for arm in self.arms:
            self._check(arm)

    def _check(self, arm: Arm) -> None:
        import mull.strategies  # noqa: F401  (registers them)
        from mull.strategies.base import find

        start(arm, Problem("none", "none")).close()
        if arm.strategy in POOLED and (arm.budget > self.pool or arm.budget & (arm.budget - 1)):
            raise MullError(f"{arm}: {arm.strategy} comes from the pool, at powers of two up to {self.pool}")
        if "process" in find(arm.strategy).needs and self.prm is None:
            raise MullError(f"{arm} needs a process verifier; set verifiers.prm")
        if find(arm.strategy).reviser and self.reviser is None:
            raise MullError(f"{arm} needs a reviser; set reviser")

    @property
    def live(self) -> tuple[Arm, ...]:
        """The arms that are run, in order: those that the pool cannot answer."""
        return tuple(arm for arm in self.arms if arm.strategy not in POOLED)

    @property
    def named(self) -> dict[str, str | ModelSpec | VerifierSpec]:
        """The study's models by role, the engine as "proposer"; those that it has."""
        found = {"proposer": self.engine, **{role: getattr(self, role) for role in ROLES}}
        return {role: model for role, model in found.items() if model is not None}

    @property
    def outside(self) -> bool:
        """Whether a model is not mull's own engine and nothing else, so that asking it may fail."""
        models = self.named.values()
        return any(isinstance(m, VerifierSpec) or (isinstance(m, ModelSpec) and not m.plain) for m in models)

    @property
    def measurable(self) -> bool:
        """Whether its engine may be asked by a process beside the one that records: none is loaded."""
        engine = self.engine
        return isinstance(engine, str) or (engine.replay is None and (engine.own or engine.served))


def read(path: Path) -> Study:
    """The study in a TOML file; :class:`MullError` names the file and the field at fault."""
    data = read_toml(path)
    data.pop("recorded", None)
    try:
        return from_mapping(data, path.resolve().parent)
    except MullError as error:
        raise MullError(f"{path}: {error}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file's contents, or a one-line :class:`MullError`."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise MullError(f"{path} is not UTF-8 text (byte {error.start}); convert it first") from None
    except OSError as error:
        raise MullError(f"cannot read {path}: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise MullError(f"{path} is not TOML: {error}") from None


def from_mapping(data: Mapping[str, Any], base: Path) -> Study:
    """A study from TOML's tables; relative paths are taken from ``base``."""
    plain = {f.name for f in fields(Study)} - {"problems", *VERIFIERS, "arms"}
    _known(data, plain | {"problems", "verifiers", "arms"}, "a study")
    values: dict[str, Any] = {}
    if "name" not in data:
        raise MullError("a study needs a name")
    values["name"] = _typed(data["name"], str, "name")
    for name in ("seed", "pool", "max_tokens", "chains"):
        if name in data:
            values[name] = _typed(data[name], int, name)
    if "temperature" in data:
        values["temperature"] = float(_typed(data["temperature"], (int, float), "temperature"))
    place = partial(_place, base=base)
    for name in SAMPLING:
        if name in data:
            given = _typed(data[name], (str, dict), name)
            values[name] = place(given) if isinstance(given, str) else from_table(given, name, place)
    if "verifiers" in data:
        table = _typed(data["verifiers"], dict, "verifiers")
        _known(table, set(VERIFIERS), "verifiers")
        for name in VERIFIERS:
            given = table.get(name)
            values[name] = None if given is None else verifier_spec(given, f"verifiers.{name}", place)
    if "problems" in data:
        values["problems"] = _source(_typed(data["problems"], dict, "problems"), place)
        values["grader"] = default_grader(values["problems"].source)
    if "grader" in data:
        given = _typed(data["grader"], str, "grader")
        values["grader"] = None if given == "none" else given
    values["arms"] = tuple(arm for row in _typed(data.get("arms", []), list, "arms") for arm in _arms(row))
    return Study(**values)


def _source(table: Mapping[str, Any], place: Place) -> Source:
    _known(table, {f.name for f in fields(Source)}, "problems")
    text = {
        name: _typed(table[name], str, f"problems.{name}")
        for name in ("source", "split", "prompt", "answer")
        if name in table
    }
    where = placed(text.pop("source", "tiny"), place)
    if where == "tiny":
        split_named(text.get("split", "test"))
    count = table.get("count", 500 if where == "tiny" else None)
    return Source(where, count=None if count is None else _typed(count, int, "problems.count"), **text)


def _arms(row: object) -> list[Arm]:
    table = _typed(row, dict, "an entry of arms")
    _known(table, {"strategy", "params", "budgets"}, "an arm")
    if "strategy" not in table or not table.get("budgets"):
        raise MullError("an arm needs 'strategy' and a list of 'budgets'")
    name = _typed(table["strategy"], str, "arms.strategy")
    given = _typed(table.get("params", {}), dict, "arms.params")
    params = tuple((k, _typed(v, (int, float, str, bool), f"arms.params.{k}")) for k, v in given.items())
    budgets = _typed(table["budgets"], list, "arms.budgets")
    return [Arm(name, _typed(budget, int, "arms.budgets"), params) for budget in budgets]


def _known(table: Mapping[str, Any], names: set[str], what: str) -> None:
    for key in table:
        if key not in names:
            raise MullError(f"{what} has no field {key!r}; known: {', '.join(sorted(names))}")


def _typed(value: Any, kind: type | tuple[type, ...], name: str) -> Any:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join(k.__name__ for k in kinds)
        raise MullError(f"{name} is {value!r}; it must be of type {wanted}")
    return value


def _place(where: str, base: Path) -> str:
    if where == "tiny" or is_url(where):
        return where
    return str((base / Path(where).expanduser()).resolve())


def to_toml(study: Study, recorded: Mapping[str, Value] | None = None) -> str:
    """The study as TOML that :func:`read` gives back; ``recorded`` becomes a table of its own."""
    source = study.problems
    where = vars(source)
    verifiers = {name: getattr(study, name) for name in VERIFIERS}
    names = ("name", "seed", "temperature", "max_tokens", "pool", "chains", "engine", "reviser", "larger")
    lines = [
        f"{name} = {_named(value)}" for name in names if (value := getattr(study, name)) not in (None, 0, "")
    ]
    if study.grader != default_grader(source.source):
        lines.append(f"grader = {_value(study.grader or 'none')}")
    lines += [f"verifiers = {_table(verifiers)}", f"problems = {_table(where)}"]
    grid: dict[tuple[str, tuple[tuple[str, Value], ...]], list[int]] = {}
    for arm in study.arms:
        grid.setdefault((arm.strategy, arm.params), []).append(arm.budget)
    for (name, params), budgets in grid.items():
        lines += ["", "[[arms]]", f"strategy = {_value(name)}", f"params = {_table(dict(params))}"]
        lines.append(f"budgets = [{', '.join(map(str, budgets))}]")
    if recorded:
        lines += ["", "[recorded]", *(f"{key} = {_value(value)}" for key, value in recorded.items())]
    return "\n".join(lines) + "\n"


def _table(values: Mapping[str, Any]) -> str:
    inner = ", ".join(f"{key} = {_named(value)}" for key, value in values.items() if value is not None)
    return f"{{ {inner} }}" if inner else "{}"


def _named(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_named, value))}]"
    table = value.table if isinstance(value, ModelSpec | VerifierSpec) else value
    return _table(table) if isinstance(table, Mapping) else _value(table)


def _value(value: Value) -> str:
    return json.dumps(value)  # TOML's basic strings, numbers and booleans are JSON's


def checkpoints(study: Study) -> dict[str, Path]:
    """The folders of the study's models by role; those that it has, and that mull runs itself."""
    from mull.models import checkpoint_of

    found = {}
    for role, named in study.named.items():
        own = named.path if isinstance(named, ModelSpec) and named.own else None
        path = named if isinstance(named, str) else own
        if path is not None:
            found[role] = checkpoint_of(path, role)  # type: ignore[arg-type]
    return found


def content_hash(study: Study, problems: Sequence[Problem]) -> str:
    """What was asked, as 16 hex digits: settings, problems and the models' files or served names.

    Neither the study's name nor any path or address counts, so a study can be moved, and so can
    a server. The arms' order does not count either. A server's model must have its name by now.
    """
    digest = hashlib.blake2b(digest_size=8)
    settings: list[float | str] = [FORMAT, study.temperature, study.seed, study.pool, study.max_tokens]
    settings += [study.chains] if study.chains else []
    settings += [study.grader] if study.grader else []
    digest.update(json.dumps([settings, sorted(map(str, study.live))]).encode())
    for problem in problems:
        digest.update(json.dumps([problem.id, problem.prompt, problem.gold]).encode())
    for role, named in study.named.items():
        digest.update(digest_of(named, role, role))  # type: ignore[arg-type]
    return digest.hexdigest()
