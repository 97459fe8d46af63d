"""Answers recorded and given again: the record's files, engines, verifiers, the command line and studies."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mull import models
from mull.cli import main
from mull.cost import Cost, ModelSize
from mull.engines.base import Continuation, Job
from mull.engines.record import Record, key_of
from mull.engines.recorded import RecordedEngine
from mull.engines.small import SmallEngine
from mull.errors import MullError
from mull.models import ModelSpec, VerifierSpec
from mull.models.spec import from_table
from mull.problems import Problem
from mull.tiny.load import checkpoint, problems
from mull.trace import Scores, Step, Trace
from mull.verifiers.base import Verdict
from mull.verifiers.recorded import RecordedVerifier

JOB = Job(Trace(Problem("p", "What is 2 + 3?\n")), None, 1.0, 7, 50)


class Counting:
    """An engine that counts what it is asked, and fails where the seed is 13."""

    name, size, batching = "counting", ModelSize(10, 2), "apart"

    def __init__(self) -> None:
        self.seen: list[Job] = []

    async def sample(self, jobs: Sequence[Job]) -> list[Continuation]:
        self.seen += jobs
        made = []
        for job in jobs:
            step = Step(f"It is {len(self.seen)} é\ud83d\n", (1, 2), (-0.1, -1 / 3))
            trace = job.trace.then((step,), "stop")
            if job.seed == 13:
                trace = job.trace.then((), "error", "gone")
            made.append(
                Continuation(trace, Cost(requests=1, prompt_tokens=9, completion_tokens=2, flops=0.1))
            )
        return made


class Scoring:
    """A verifier that counts, and gives no score to an empty solution."""

    name, kind, seen = "scoring", "process", 0

    async def score(self, traces: Sequence[Trace]) -> list[Verdict]:
        self.seen += len(traces)
        cost = Cost(verifier_tokens=5, verifier_flops=2.5)
        return [
            Verdict(Scores(tuple(0.1 * i for i in range(1, len(t.steps) + 1))), cost)
            if t.steps
            else Verdict(None)
            for t in traces
        ]


def sample(engine: RecordedEngine, *jobs: Job) -> list[Continuation]:
    return asyncio.run(engine.sample(jobs))


def reopened(folder: Path) -> Record:
    return Record(folder)


def test_an_answer_is_asked_for_once_and_comes_back_as_it_was(tmp_path: Path):
    inner = Counting()
    engine = RecordedEngine(Record(tmp_path), "m", inner)
    first, twin = sample(
        engine, JOB, replace(JOB, trace=Trace(Problem("other id", JOB.trace.problem.prompt)))
    )
    assert (
        len(inner.seen) == 1 and twin.trace.text == first.trace.text and twin.trace.problem.id == "other id"
    )
    (again,) = sample(engine, JOB)
    assert len(inner.seen) == 1 and again == replace(first, replayed=True) and not first.replayed
    assert (engine.asked, engine.replayed) == (1, 2)
    alone = RecordedEngine(reopened(tmp_path), "m")
    assert sample(alone, JOB) == [again]
    assert (alone.name, alone.size, alone.batching) == ("counting", ModelSize(10, 2), "apart")
    line = next(iter(tmp_path.glob("*.jsonl"))).read_text().splitlines()[1]
    assert json.loads(line)["request"]["prompt"] == JOB.trace.problem.prompt


def test_everything_that_an_answer_may_depend_on_is_in_the_key(tmp_path: Path):
    inner = Counting()
    engine = RecordedEngine(Record(tmp_path), "m", inner)
    trace = JOB.trace
    begun = trace.then((Step("a", (1,), (-0.5,)),), None)
    others = [
        replace(JOB, steps=1),
        replace(JOB, seed=8),
        replace(JOB, temperature=0.5),
        replace(JOB, max_tokens=51),
        replace(JOB, trace=Trace(Problem("p", "What is 2 + 4?\n"))),
        replace(JOB, trace=replace(trace, earlier=("Answer: 4",))),
        replace(JOB, trace=begun),
        replace(JOB, trace=trace.then((Step("a", (3,)),), None)),
    ]
    sample(engine, JOB, *others)
    assert len(inner.seen) == 9
    # Neither the log-probabilities of the prefix nor a chain's number make a difference to what comes.
    sample(
        engine,
        replace(JOB, trace=trace.then((Step("a", (1,)),), None)),
        replace(JOB, trace=replace(trace, chain=3)),
    )
    assert len(inner.seen) == 9
    sample(RecordedEngine(reopened(tmp_path), "another model", inner), JOB)
    assert len(inner.seen) == 10


def test_failures_that_may_not_last_are_never_recorded(tmp_path: Path):
    inner = Counting()
    engine = RecordedEngine(Record(tmp_path), "m", inner)
    for _ in range(2):
        (found,) = sample(engine, replace(JOB, seed=13))
        assert found.trace.finish == "error" and not found.replayed
    assert len(inner.seen) == 2 and not list(tmp_path.iterdir())
    verifier = RecordedVerifier(Record(tmp_path), "v", Scoring())
    for _ in range(2):
        (verdict,) = asyncio.run(verifier.score([JOB.trace]))
        assert verdict.scores is None
    assert verifier.asked == 2 and verifier.replayed == 0


def test_a_context_that_is_too_long_is_given_again_without_an_engine(tmp_path: Path):
    class Short(Counting):
        """An engine of a short context."""

        async def sample(self, jobs: Sequence[Job]) -> list[Continuation]:
            self.seen += jobs
            why = "context too long: 60 tokens do not fit the model's 40"
            return [Continuation(job.trace.then((), "error", why), Cost(requests=1)) for job in jobs]

    class Blind(Scoring):
        """A verifier that can read nothing."""

        async def score(self, traces: Sequence[Trace]) -> list[Verdict]:
            self.seen += len(traces)
            return [Verdict(None, Cost(), "context too long: 60 tokens") for _ in traces]

    inner, reader = Short(), Blind()
    engine = RecordedEngine(Record(tmp_path), "m", inner)
    verifier = RecordedVerifier(Record(tmp_path), "v", reader)
    for _ in range(2):  # asked each time
        (found,) = sample(engine, JOB)
        (unscored,) = asyncio.run(verifier.score([JOB.trace]))
    assert len(inner.seen) == reader.seen == 2 and found.trace.finish == "error" and not found.replayed
    alone = RecordedEngine(reopened(tmp_path), "m")
    assert sample(alone, JOB) == [replace(found, replayed=True)] and alone.name == "counting"
    blind = RecordedVerifier(reopened(tmp_path), "v")
    assert asyncio.run(blind.score([JOB.trace])) == [replace(unscored, replayed=True)]
    with pytest.raises(MullError, match="no answer to"):
        sample(alone, replace(JOB, seed=8))
    # An answer that comes later, of a longer context, is what is given from then on.
    (better,) = sample(RecordedEngine(reopened(tmp_path), "m", Counting()), JOB)
    assert better.trace.finish == "stop"
    assert sample(RecordedEngine(reopened(tmp_path), "m"), JOB) == [replace(better, replayed=True)]


def test_a_miss_without_an_engine_names_the_request(tmp_path: Path):
    with pytest.raises(MullError, match="holds nothing of this model"):
        RecordedEngine(Record(tmp_path), "m")
    sample(RecordedEngine(Record(tmp_path), "m", Counting()), JOB)
    alone = RecordedEngine(reopened(tmp_path), "m")
    wanted = (
        r"no answer to 'What is 2 \+ 3\?' \(1 step, temperature 1, seed 7, at most 50 tokens; key \w{32}\)"
    )
    with pytest.raises(MullError, match=wanted):
        sample(alone, replace(JOB, steps=1))


def test_verdicts_are_recorded_too(tmp_path: Path):
    inner = Scoring()
    trace = JOB.trace.then((Step("2 + 3 = 5\n", ()), Step("Answer: 5", ())), "stop")
    verifier = RecordedVerifier(Record(tmp_path), "v", inner)
    first, twin = asyncio.run(verifier.score([trace, trace]))
    assert first == twin and inner.seen == 1
    alone = RecordedVerifier(reopened(tmp_path), "v")
    (again,) = asyncio.run(alone.score([trace]))
    assert again == replace(first, replayed=True)
    assert (alone.name, alone.kind) == ("scoring", "process")
    with pytest.raises(MullError, match="has no scores of scoring for a solution of 'What is 2"):
        asyncio.run(alone.score([replace(trace, finish="length")]))


def test_half_a_line_at_the_end_is_passed_over_and_other_damage_is_an_error(tmp_path: Path):
    sample(RecordedEngine(Record(tmp_path), "m", Counting()), JOB, replace(JOB, seed=8))
    (file,) = tmp_path.glob("*.jsonl")
    whole = file.read_bytes()
    for cut in (1, 40, 200):
        file.write_bytes(whole[:-cut])
        assert len(Record(tmp_path)) == 2
    engine = RecordedEngine(Record(tmp_path), "m", inner := Counting())
    sample(engine, JOB, replace(JOB, seed=8))
    assert len(inner.seen) == 1 and len(list(tmp_path.glob("*.jsonl"))) == 2
    for at in (3, 20, 48, 60, len(whole) // 2):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(MullError, match=r"jsonl, line \d: the recorded answer is damaged"):
            Record(tmp_path)
    file.write_bytes(whole)
    opened = Record(tmp_path)
    file.write_bytes(whole.replace(b"is 2", b"is 7"))
    with pytest.raises(MullError, match="has been changed since"):
        sample(RecordedEngine(opened, "m"), JOB)


def test_several_may_write_and_the_first_answer_stays(tmp_path: Path):
    one, other = Record(tmp_path), Record(tmp_path)
    key = key_of({"a": 1})
    assert one.put(key, {"n": 1}) and not one.put(key, {"n": 2})
    assert other.put(key, {"n": 3}) and other.put(key_of({"a": 2}), {"n": 4})
    assert Record(tmp_path).get(key) == {**(one.get(key) or {})}
    assert len(Record(tmp_path)) == 2
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(MullError, match="cannot write the record"):
        Record(blocked / "folder").put(key, {})


KILLED = """
import sys
from mull.engines.record import Record, key_of
record = Record(sys.argv[1])
for i in range(10**9):
    record.put(key_of({"i": i}), {"i": i, "text": "x" * 500})
    print(i, flush=True)
"""


def test_killing_loses_nothing_that_was_answered(tmp_path: Path):
    source = KILLED.replace("Record(sys", "Record(__import__('pathlib').Path(sys")
    source = source.replace("sys.argv[1])", "sys.argv[1]))")
    process = subprocess.Popen(
        [sys.executable, "-c", source, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    told = [int(process.stdout.readline()) for _ in range(50)]
    os.kill(process.pid, signal.SIGKILL)
    told += [int(line) for line in process.stdout if line.endswith("\n")]
    process.wait()
    record = Record(tmp_path)
    assert all((record.get(key_of({"i": i})) or {})["i"] == i for i in told) and len(record) <= len(told) + 1


def test_the_small_engine_with_a_record_gives_what_it_gives_without(tmp_path: Path):
    wanted = [Job(Trace(p), None, 1.0, i, 100) for i, p in enumerate(problems(count=3))]
    plain = SmallEngine.load(checkpoint("proposer")).sample_now(wanted)
    named = ModelSpec(path="tiny", record=str(tmp_path))
    recorded = models.engine(named)
    assert isinstance(recorded, RecordedEngine)
    assert sample(recorded, *wanted) == plain
    again = models.engine(ModelSpec(path="tiny", replay=str(tmp_path)))
    assert sample(again, *wanted) == [replace(made, replayed=True) for made in plain]  # type: ignore[arg-type]
    assert again.name == SmallEngine.load(checkpoint("proposer")).name
    # Another checkpoint is another model.
    with pytest.raises(MullError, match="holds nothing of this model"):
        models.engine(ModelSpec(path=str(checkpoint("reviser")), replay=str(tmp_path)))


def test_names_in_tables(tmp_path: Path):
    def place(where: str) -> str:
        return str(tmp_path / where)

    found = from_table({"url": "http://x/v1", "model": "m", "record": "answers"}, "engine", place)
    assert found.record == str(tmp_path / "answers") and found.table["record"] == found.record
    assert not found.plain and found.served
    for table, why in (
        ({"path": "a", "record": "b", "replay": "c"}, "give one of them"),
        ({"path": "a", "format": "chat"}, "for a server or a backend"),
        ({"path": "a", "backend": "jax"}, "no backend 'jax'; there are transformers, vllm"),
        ({"path": "a", "device": "cpu"}, "'device' is for a checkpoint with backend = transformers"),
        (
            {"path": "a", "backend": "vllm", "batch": 3},
            "'batch' is for a checkpoint with backend = transformers",
        ),
        ({"path": "a", "backend": "transformers", "timeout": 3.0}, "'timeout' is for a server"),
        ({"url": "http://x", "backend": "vllm"}, "'backend' runs a checkpoint"),
        ({"path": "a", "backend": "transformers", "format": "nope"}, "no prompt format 'nope'"),
    ):
        with pytest.raises(MullError, match=why):
            from_table(table, "engine")
    with pytest.raises(MullError, match="needs the model's name"):
        models.engine(ModelSpec(url="http://x/v1", replay=str(tmp_path)))
    rule = VerifierSpec((("adapter", "equations"), ("record", str(tmp_path))))
    trace = JOB.trace.then((Step("2 + 3 = 5\n", ()),), None)
    (verdict,) = asyncio.run(models.verifier(rule).score([trace]))
    replayed = models.verifier(VerifierSpec((("adapter", "equations"), ("replay", str(tmp_path)))))
    assert asyncio.run(replayed.score([trace])) == [replace(verdict, replayed=True)]
    agreeing = VerifierSpec((("adapter", "agreement"), ("record", str(tmp_path))))
    with pytest.raises(MullError, match="agreement depends on the other solutions"):
        models.verifier(agreeing)


def test_backends_are_told_apart_by_files_and_by_how_they_are_asked(tmp_path: Path):
    def digest(**table: object) -> bytes:
        return models.digest_of(from_table(table, "engine"), "proposer", "engine")

    base = {"path": "tiny", "backend": "transformers"}
    assert digest(**base) == digest(**base, device="cuda", batch=3, record="x")
    different = [digest(**base), digest(path="tiny"), digest(path="tiny", backend="vllm")]
    different += [
        digest(**base, format="chat"),
        digest(**base, dtype="bfloat16"),
        digest(**base, max_length=9),
    ]
    different += [digest(path=str(checkpoint("reviser")), backend="transformers")]
    assert len(set(different)) == len(different)
    assert digest(path="no/where", backend="vllm") != digest(path="no/where2", backend="vllm")


def test_ask_with_a_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    asked = [
        "ask",
        problems(count=1)[0].prompt,
        "--budget",
        "4",
        "--strategy",
        "majority",
        "--engine",
        "tiny",
    ]
    folder = str(tmp_path / "answers")
    assert main([*asked, "--record", folder]) == 0
    first = capsys.readouterr().out
    assert "record" not in first
    assert main([*asked, "--replay", folder]) == 0
    second = capsys.readouterr().out
    assert f"note: 4 answers came from the record in {folder}" in second
    assert second.startswith(first.rstrip())
    assert main([*asked, "--seed", "5", "--replay", folder]) == 1
    assert "has no answer to" in capsys.readouterr().err
    table = f'{{ path = "tiny", replay = "{folder}" }}'
    asked[asked.index("tiny")] = table
    assert main(asked) == 0
    assert capsys.readouterr().out == second
