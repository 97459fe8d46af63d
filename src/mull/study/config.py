"""What a study is: one frozen dataclass, one TOML file, one content hash.

    name = "mine"
    seed = 0
    temperature = 1.0
    max_tokens = 256                   # a solution
    pool = 256                         # samples a problem, a power of two
    chains = 64                        # revision budgets up to this power of 4; 0: no revisions
    engine = "tiny"                    # or a checkpoint's folder
    reviser = "tiny"
    larger = "tiny"                    # a model to compare with, decoded greedily
    verifiers = { prm = "tiny", orm = "tiny", revision = "tiny" }
    problems = { source = "tiny", split = "test", count = 500 }
    # or: problems = { source = "problems.jsonl", count = 200 }

    [[arms]]
    strategy = "beam"
    params = { width = 4 }
    budgets = [4, 16, 64]

Majority and best-of-N need no arm: they are measured at every power of two up to
``pool``, from the pool; so are revisions, at every ratio up to ``chains``. Paths are
relative to the TOML file. The module reads, checks and writes configuration; it loads no model.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import Any, get_args

from mull.errors import MullError
from mull.problems import Problem, load_jsonl, validate
from mull.strategies.base import Arm, Value, start
from mull.tiny.world import Split

#: Changes when recorded shards of an older mull can no longer be continued.
FORMAT = 1
#: The study's verifiers, and its models beside the engine.
VERIFIERS = ("prm", "orm", "revision")
ROLES = (*VERIFIERS, "reviser", "larger")
#: Strategies measured from the pool, never run live in a study.
POOLED = ("best_of_n", "best_of_n_weighted", "majority")
#: The largest budgets that chains of revisions can be recorded for.
CHAINS = (4, 16, 64, 256)
#: Five bins, halved for cross-validation, with a problem in each half.
FEWEST = 10


@dataclass(frozen=True)
class Source:
    """Where problems come from: "tiny" and its split, or the path of a JSONL file; the first ``count``."""

    source: str = "tiny"
    split: Split = "test"
    count: int | None = 500


@dataclass(frozen=True)
class Study:
    """What is asked: problems x arms, by one model and its verifiers, from one seed.

    ``engine``, ``reviser``, ``larger`` and the verifiers ``prm``, ``orm`` and ``revision`` are
    "tiny" or a checkpoint's folder; all but the engine may be None. ``pool`` is in samples a
    problem, ``chains`` in attempts a problem, ``max_tokens`` in tokens a solution.
    """

    name: str
    problems: Source = field(default_factory=Source)
    engine: str = "tiny"
    prm: str | None = "tiny"
    orm: str | None = "tiny"
    reviser: str | None = None
    revision: str | None = None
    larger: str | None = None
    temperature: float = 1.0
    seed: int = 0
    pool: int = 256
    max_tokens: int = 256
    chains: int = 0
    arms: tuple[Arm, ...] = ()

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


def load_problems(
    source: str | Path = "tiny", count: int | None = None, split: Split = "test"
) -> tuple[Problem, ...]:
    """The first ``count`` problems of the small world ("tiny", 500 if None), or of a JSONL file."""
    if str(source) == "tiny":
        from mull.tiny.load import problems

        return problems(split, 500 if count is None else count)
    found = load_jsonl(Path(source))
    return validate(islice(found, count))


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
    for name in ("name", "engine", "reviser", "larger"):
        if name in data:
            values[name] = _typed(data[name], str, name)
    if "name" not in values:
        raise MullError("a study needs a name")
    for name in ("seed", "pool", "max_tokens", "chains"):
        if name in data:
            values[name] = _typed(data[name], int, name)
    if "temperature" in data:
        values["temperature"] = float(_typed(data["temperature"], (int, float), "temperature"))
    for name in ("engine", "reviser", "larger"):
        if name in values:
            values[name] = _place(values[name], base)
    if "verifiers" in data:
        table = _typed(data["verifiers"], dict, "verifiers")
        _known(table, set(VERIFIERS), "verifiers")
        for name in VERIFIERS:
            values[name] = (
                _place(_typed(table[name], str, f"verifiers.{name}"), base) if name in table else None
            )
    if "problems" in data:
        values["problems"] = _source(_typed(data["problems"], dict, "problems"), base)
    values["arms"] = tuple(arm for row in _typed(data.get("arms", []), list, "arms") for arm in _arms(row))
    return Study(**values)


def _source(table: Mapping[str, Any], base: Path) -> Source:
    _known(table, {"source", "split", "count"}, "problems")
    where = _place(_typed(table.get("source", "tiny"), str, "problems.source"), base)
    split = table.get("split", "test")
    if split not in get_args(Split):
        raise MullError(f"problems.split is {split!r}; it must be one of {', '.join(get_args(Split))}")
    count = table.get("count", 500 if where == "tiny" else None)
    return Source(where, split, None if count is None else _typed(count, int, "problems.count"))


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
    return where if where == "tiny" else str((base / Path(where).expanduser()).resolve())


def to_toml(study: Study, recorded: Mapping[str, Value] | None = None) -> str:
    """The study as TOML that :func:`read` gives back; ``recorded`` becomes a table of its own."""
    source = study.problems
    where = {"source": source.source, "split": source.split, "count": source.count}
    verifiers = {name: getattr(study, name) for name in VERIFIERS}
    names = ("name", "seed", "temperature", "max_tokens", "pool", "chains", "engine", "reviser", "larger")
    lines = [
        f"{name} = {_value(value)}" for name in names if (value := getattr(study, name)) not in (None, 0, "")
    ]
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


def _table(values: Mapping[str, Value | None]) -> str:
    inner = ", ".join(f"{key} = {_value(value)}" for key, value in values.items() if value is not None)
    return f"{{ {inner} }}" if inner else "{}"


def _value(value: Value) -> str:
    return json.dumps(value)  # TOML's basic strings, numbers and booleans are JSON's


def checkpoints(study: Study) -> dict[str, Path]:
    """The folders of the study's models by role; those that it has."""
    from mull.tiny.load import checkpoint

    named = {"proposer": study.engine, **{role: getattr(study, role) for role in ROLES}}
    return {
        role: checkpoint(role) if where == "tiny" else Path(where)  # type: ignore[arg-type]
        for role, where in named.items()
        if where is not None
    }


def content_hash(study: Study, problems: Sequence[Problem]) -> str:
    """What was asked, as 16 hex digits: settings, problems and the models' files.

    Neither the study's name nor any path counts, so a study can be moved. The arms'
    order does not count either.
    """
    digest = hashlib.blake2b(digest_size=8)
    settings: list[float] = [FORMAT, study.temperature, study.seed, study.pool, study.max_tokens]
    settings += [study.chains] if study.chains else []
    digest.update(json.dumps([settings, sorted(map(str, study.live))]).encode())
    for problem in problems:
        digest.update(json.dumps([problem.id, problem.prompt, problem.gold]).encode())
    for role, folder in checkpoints(study).items():
        files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.json")])
        if not files:
            raise MullError(f"no checkpoint for the {role} in {folder}")
        for file in files:
            digest.update(f"{role}/{file.name}".encode())
            digest.update(hashlib.blake2b(file.read_bytes()).digest())
    return digest.hexdigest()
