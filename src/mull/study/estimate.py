"""What a study is going to take, before it starts: requests, tokens, FLOPs, dollars, hours.

Lengths of prompts and solutions are taken from what is recorded already, else from a short measured
sample, else assumed, and it is said which. Every token is counted at the full price: what a prefix
cache may save is not promised. The module starts nothing but the sample that it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from mull.cost import Cost, ModelSize
from mull.engines.small import SmallEngine
from mull.models import ModelSpec, VerifierSpec, checkpoint_of, model_spec, size_of
from mull.problems import Problem
from mull.study import folder
from mull.study.config import SAMPLING, Study, content_hash
from mull.study.folder import Recorded
from mull.study.measured import Sampled
from mull.study.plan import Unit, chain_lengths, plan
from mull.study.pretend import Lengths, PretendEngine, PretendVerifier, asked
from mull.verifiers.small import SmallVerifier

#: Characters of English and of mathematics to a token, and tokens to a step, where nothing is known.
CHARACTERS, STEP = 3.5, 40
_COUNTS = ("requests", "generations", "prompt_tokens", "completion_tokens", "verifier_tokens")


@dataclass(frozen=True)
class Estimate:
    """Rows (one a kind of unit, as plain data) of what is still to be asked, and their sum.

    ``hours`` are at ``throughput`` completion tokens a second (and at the verifier's speed if that was
    measured), None if it is not known; ``problems`` are the study's.
    """

    problems: int
    units: int
    missing: int
    lengths: Lengths
    rows: tuple[dict[str, Any], ...]
    throughput: float | None
    hours: float | None
    how: str

    @property
    def total(self) -> dict[str, Any]:
        """The sum of the rows; None where one of them is not known."""
        names = (*_COUNTS, "flops", "dollars")
        listed = {name: [row[name] for row in self.rows] for name in names}
        return {n: None if any(v is None for v in values) else sum(values) for n, values in listed.items()}

    @property
    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "problems": self.problems,
            "units": {"all": self.units, "missing": self.missing},
            "lengths": vars(self.lengths),
            "rows": list(self.rows),
            "total": self.total,
            "throughput": self.throughput,
            "throughput_how": self.how,
            "hours": self.hours,
        }


def found_in(out: Path, study: Study, problems: Sequence[Problem]) -> tuple[Study, Recorded | None]:
    """The folder's study if it is this one; :class:`MullError` if it is another.

    A model that has no name in the study has that of the record.
    """
    if not (out / "study.toml").exists():
        return study, None
    found = folder.open_folder(out)
    for role in SAMPLING:
        then, now = getattr(found.study, role), getattr(study, role)
        if isinstance(now, ModelSpec) and now.served and now.model is None and isinstance(then, ModelSpec):
            named: dict[str, Any] = {role: replace(now, model=then.model)}
            study = replace(study, **named)
    return study, folder.same(found, content_hash(study, problems))


def estimate(
    study: Study,
    problems: Sequence[Problem],
    recorded: Recorded | None = None,
    sampled: Sampled | None = None,
    throughput: float | None = None,
) -> Estimate:
    """What is left to be asked of a study on these problems, and what it will take."""
    units = plan(study, problems, "") if recorded is None else recorded.units
    lengths = _recorded(recorded) or (sampled.lengths if sampled else _assumed(study, problems))
    left: dict[str, tuple[Unit, float]] = {}
    missing = units if recorded is None else recorded.missing()
    for unit in missing:
        share = 1.0
        if recorded is not None and (kept := recorded.kept(unit)) is not None:
            share = 1 - kept["failed"].null_count() / kept.height
        before = left.get(unit.label, (unit, 0.0))[1]
        left[unit.label] = (unit, before + share * len(unit.problems))
    rows = tuple(_row(study, lengths, unit, count) for unit, count in left.values())
    how = "as given"
    verified = None
    if throughput is None and sampled is not None:
        throughput, how, verified = sampled.throughput, sampled.how, sampled.verified
    elif throughput is None:
        how = "not known: measure it (--measure N) or give it (--throughput)"
    made = Estimate(len(problems), len(units), len(missing), lengths, rows, throughput, None, how)
    if not throughput:
        return made
    seconds = made.total["completion_tokens"] / throughput
    seconds += made.total["verifier_tokens"] / verified if verified else 0.0
    return replace(made, hours=seconds / 3600)


def _recorded(recorded: Recorded | None) -> Lengths | None:
    """Lengths by the pool's samples that are there."""
    if recorded is None:
        return None
    frames = []
    for unit in recorded.units:
        if unit.kind == "pool" and recorded.shard(unit).exists():
            frames.append(recorded.read(unit))
        elif unit.kind == "pool" and (kept := recorded.kept(unit)) is not None:
            frames.append(kept.filter(pl.col("failed").is_null()))
    if not frames or not sum(frame.height for frame in frames):
        return None
    frame = pl.concat(frames)
    steps = frame["steps" if "steps" in frame.columns else "prm"].list.len().mean()
    count, prompt = frame["tokens"].mean(), frame["prompt_tokens"].mean()
    how = f"means of {frame.height} recorded samples"
    return Lengths(_number(prompt), _number(count), _number(steps) or 1.0, how)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _assumed(study: Study, problems: Sequence[Problem]) -> Lengths:
    prompt = sum(len(problem.prompt) for problem in problems) / len(problems) / CHARACTERS
    solution = study.max_tokens / 2
    how = (
        f"assumed: a solution of {solution:.0f} tokens, half of max_tokens; a step of {STEP}; "
        f"a prompt of a token for {CHARACTERS} characters"
    )
    return Lengths(prompt, solution, max(1.0, solution / STEP), how)


def _row(study: Study, lengths: Lengths, unit: Unit, problems: float) -> dict[str, Any]:
    """What one kind of unit takes on so many problems."""
    by = {"chains": study.reviser, "larger": study.larger}.get(unit.kind) or study.engine
    engine = PretendEngine(lengths, _size(by), not model_spec(by).served)  # here a prompt is read once
    need = study.prm or study.orm
    verifier = PretendVerifier(lengths, _read_size(need), not isinstance(need, VerifierSpec))
    if unit.arm is not None:
        cost = asked(unit.arm, engine, verifier, study.max_tokens)
        cost = replace(cost, generations=unit.arm.budget)
        cost = replace(cost, verifier_tokens=0, verifier_flops=0.0) if _rule(need) else cost
    elif unit.kind == "larger":
        cost = _solutions(engine, 1)
    elif unit.kind == "chains":
        cost = Cost()
        for length in chain_lengths(study.chains):
            for position in range(length):
                longer = replace(lengths, prompt=lengths.prompt + min(position, 4) * lengths.solution)
                cost += _solutions(replace(engine, lengths=longer), 1)
        cost += _readings(lengths, cost.generations, study.revision, study.prm)
    else:
        cost = _solutions(engine, study.pool) + _readings(lengths, study.pool, study.prm, study.orm)
    row: dict[str, Any] = {"what": unit.label, "problems": round(problems, 2)}
    row |= {name: round(getattr(cost, name) * problems) for name in _COUNTS}
    sized = engine.size.parameters and (verifier.size.parameters or not cost.verifier_tokens)
    row["flops"] = cost.total_flops * problems if sized else None
    row["dollars"] = _dollars(study, by, row)
    return row


def _solutions(engine: PretendEngine, count: int) -> Cost:
    """The cost of ``count`` whole solutions of one problem; mull's own engine reads the prompt once."""
    prompt, tokens = round(engine.lengths.prompt), sum(engine.lengths.step)
    reads = 1 if engine.own else count
    flops = 0.0
    if engine.size.parameters:
        flops = count * engine.size.flops(tokens, prompt) + reads * engine.size.flops(prompt, 0)
    return Cost(count, count, reads * prompt, 0, count * tokens, flops=flops)


def _readings(lengths: Lengths, count: int, *verifiers: str | VerifierSpec | None) -> Cost:
    """The cost of scoring ``count`` whole solutions of one problem."""
    prompt, tokens, cost = round(lengths.prompt), sum(lengths.step), Cost()
    for named in verifiers:
        if named is not None and not _rule(named):
            reads, size = count if isinstance(named, VerifierSpec) else 1, _read_size(named)
            flops = 0.0
            if size.parameters:
                flops = count * size.flops(tokens, prompt) + reads * size.flops(prompt, 0)
            cost += Cost(verifier_tokens=count * tokens + reads * prompt, verifier_flops=flops)
    return cost


def _size(named: str | ModelSpec) -> ModelSize:
    spec = model_spec(named)
    if not spec.own:
        return size_of(spec, "proposer") or ModelSize(0)
    return _loaded(SmallEngine.load, checkpoint_of(str(spec.path), "proposer"))


def _read_size(named: str | VerifierSpec | None) -> ModelSize:
    if isinstance(named, str):
        return _loaded(SmallVerifier.load, checkpoint_of(named, "prm"))
    given = {} if named is None else named.table
    return ModelSize(int(given.get("parameters", 0)), int(given.get("attention", 0)))


def _rule(named: str | VerifierSpec | None) -> bool:
    """Whether a verifier is a rule: no model reads anything."""
    return isinstance(named, VerifierSpec) and not {"url", "path", "of"} & named.table.keys()


_SIZES: dict[Path, ModelSize] = {}


def _loaded(load: Callable[[Path], SmallEngine | SmallVerifier], where: Path) -> ModelSize:
    """A checkpoint's size; each is read once."""
    if where not in _SIZES:
        _SIZES[where] = load(where).size
    return _SIZES[where]


def _dollars(study: Study, by: str | ModelSpec, row: dict[str, Any]) -> float | None:
    """What a row costs at the given prices; mull's own models are free, None where a price is missing."""
    spec = model_spec(by)
    bill = spec.dollars(row["prompt_tokens"], 0, row["completion_tokens"]) if spec.served else 0.0
    read = max((v.price or 0.0 for v in (study.prm, study.orm) if isinstance(v, VerifierSpec)), default=0.0)
    return None if bill is None else bill + row["verifier_tokens"] * read / 1e6
