"""Training on real models: tiny random checkpoints of real architectures, adapters merged, scores equal.

Needs torch and transformers; what trains adapters needs peft too, and is skipped without it.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'lora'")
transformers = pytest.importorskip("transformers", reason="training needs the extra 'lora'")
pytest.importorskip("rapidfuzz", reason="training needs the extra 'lora'")

from lora_models import llama, qwen  # noqa: E402
from mull.cli.main import main  # noqa: E402
from mull.engines.base import Continuation, Job  # noqa: E402
from mull.engines.prompts import FORMATS  # noqa: E402
from mull.errors import MullError  # noqa: E402
from mull.pools import files  # noqa: E402
from mull.pools.schema import Info, Layout, to_frame  # noqa: E402
from mull.problems import Problem  # noqa: E402
from mull.trace import Step, Trace  # noqa: E402
from mull.train.adapting import Tuning, base, tune  # noqa: E402
from mull.train.encoding import Encoding, sequences, spelt  # noqa: E402
from mull.train.real import DATA  # noqa: E402
from mull.train.rollouts import Labelling, label, label_chunk  # noqa: E402
from mull.verifiers.prm import build  # noqa: E402
from mull.verifiers.prm.adapters import adapter_named  # noqa: E402
from mull.verifiers.prm.tokens import Tokenizer  # noqa: E402
from scripted import ScriptedEngine  # noqa: E402

MODELS = pytest.mark.parametrize("make", [qwen, llama], ids=["qwen2", "llama"])
LAYOUT = Layout(optional=("steps", "step_labels"))


def has_peft() -> bool:
    try:
        import peft  # noqa: F401
    except ImportError:
        return False
    return True


needs_peft = pytest.mark.skipif(not has_peft(), reason="adapters need peft (extra 'lora')")
RANKS = pytest.mark.parametrize("rank", [pytest.param(4, marks=needs_peft), 0], ids=["lora", "all weights"])


def quiet(_: str) -> None: ...


def pool(folder: Path, problems: int = 12) -> Path:
    """Solutions of two steps, right where they say 13: what is to be learnt is easily seen."""
    rows = []
    for n in range(problems):
        for sample in range(6):
            first, last = sample % 2 == 0, sample % 3 == 0
            steps = ["16 - 3 = 13\n\n" if first else "16 - 3 = 5\n\n", "26" if last else "7"]
            rows.append(
                {
                    "problem": f"p{n}",
                    "sample": sample,
                    "prompt": f"Janet has {n} eggs. How much does she make?",
                    "text": "".join(steps),
                    "steps": steps,
                    "step_labels": [0.75 if first else 0.0, 1.0 if last else 0.0],
                    "answer": steps[-1],
                    "correct": last,
                    "finish": "stop",
                }
            )
    files.write([to_frame(rows, LAYOUT)], folder / "pool.parquet", LAYOUT, Info("made up", "steps"))
    return folder / "pool.parquet"


def trained(kind, folder: Path, make, rank: int, epochs: float = 12.0, **more) -> tuple[Path, list[dict]]:
    start = make(folder / "base")
    form = FORMATS["chat"] if kind == "reviser" else None
    how = Encoding(kind, Tokenizer.load(str(start)), form=form, **more)
    rate = 1e-2 if rank else 3e-3
    tuning = Tuning(str(start), rank=rank, alpha=16, lr=rate, epochs=epochs, batch_tokens=1024, device="cpu")
    out = tune(pool(folder), how, tuning, folder / "out", quiet)
    log = json.loads((folder / "out" / "training.json").read_text())["log"]
    return out, log


TRACE = Trace(
    Problem("q", "Janet has 40 eggs. How much does she make?"),
    (Step("16 - 3 = 13\n\n", ()), Step("26", ())),
    "stop",
)


@MODELS
@RANKS
def test_a_prm_learns_and_its_scores_are_its_own(make, rank: int, tmp_path: Path) -> None:
    out, log = trained("prm", tmp_path, make, rank)
    assert log[-1]["loss"] < log[0]["loss"] - 0.05 and min(row["bce"] for row in log) < 0.45
    model = transformers.AutoModelForTokenClassification.from_pretrained(out)
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    # TRL's convention, in a straight line.
    ids = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
    ids += tokenizer.encode(TRACE.problem.prompt, add_special_tokens=False)
    places = []
    for step in TRACE.steps:
        ids += tokenizer.encode(step.text.strip(), add_special_tokens=False)
        ids += tokenizer.encode("\n", add_special_tokens=False)
        places.append(len(ids) - 1)
    with torch.no_grad():
        chances = model(torch.tensor([ids])).logits[0, places].softmax(-1)[:, 1]
    verifier = build({"adapter": "trl-prm", "path": str(out), "device": "cpu"})
    (verdict,) = asyncio.run(verifier.score([TRACE]))
    assert verdict.scores is not None
    assert verdict.scores.steps == pytest.approx(chances.tolist(), abs=1e-5)
    wrong = replace(TRACE, steps=(Step("16 - 3 = 5\n\n", ()), Step("7", ())))
    (other,) = asyncio.run(verifier.score([wrong]))
    assert other.scores is not None and other.scores.last < verdict.scores.last
    assert model.config.id2label == {0: "bad", 1: "good"}


@MODELS
@RANKS
def test_an_orm_learns_and_its_scores_are_its_own(make, rank: int, tmp_path: Path) -> None:
    out, log = trained("orm", tmp_path, make, rank)
    assert min(row["bce"] for row in log) < 0.3 and log[-1]["auroc"] == 1.0
    model = transformers.AutoModelForSequenceClassification.from_pretrained(out)
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    messages = [
        {"role": "user", "content": TRACE.problem.prompt},
        {"role": "assistant", "content": TRACE.text},
    ]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    ids = tokenizer.encode(text, add_special_tokens=False)
    with torch.no_grad():
        chance = torch.sigmoid(model(torch.tensor([ids])).logits[0, 0])
    verifier = build({"adapter": "reward-model", "path": str(out), "device": "cpu"})
    (verdict,) = asyncio.run(verifier.score([TRACE]))
    assert verdict.scores is not None and verdict.scores.last == pytest.approx(float(chance), abs=1e-5)
    assert verdict.scores.last > 0.5


@MODELS
@RANKS
def test_a_reviser_learns_its_targets(make, rank: int, tmp_path: Path) -> None:
    out, log = trained("reviser", tmp_path, make, rank)
    assert log[-1]["validation"] < 0.75 * log[0]["validation"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    prompt = FORMATS["chat"].prompt(Trace(TRACE.problem, earlier=("16 - 3 = 5\n\n7",)))
    messages = [{"role": m.role, "content": m.content} for m in prompt.messages]
    before = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    head = tokenizer.encode(before, add_special_tokens=False)
    ids = head + tokenizer.encode(TRACE.text, add_special_tokens=False) + [tokenizer.eos_token_id]
    labels = [-100] * len(head) + ids[len(head) :]
    losses = []
    for folder in (tmp_path / "base", out):
        model = transformers.AutoModelForCausalLM.from_pretrained(folder)
        with torch.no_grad():
            losses.append(float(model(torch.tensor([ids]), labels=torch.tensor([labels])).loss))
    assert losses[1] < 0.75 * losses[0]


def test_a_reviser_of_mulls_own_kind_runs_in_mulls_own_engine(tmp_path: Path) -> None:
    """So a study may name it: reviser = "out/checkpoint"."""
    from mull import models
    from mull.engines.small import SmallEngine
    from mull.tiny.load import checkpoint

    start, form = checkpoint("proposer"), FORMATS["text"]
    question = "Ann has 12 eggs. Ann has 5 more than Ben. How many eggs does Ben have?\n"
    right, wrong = "Ben: 12 - 5 = 7\nAnswer: 7", "Ben: 12 + 5 = 17\nAnswer: 17"
    rows = [
        {"problem": f"p{n}", "sample": i, "prompt": question, "text": text, "correct": text == right}
        | {"answer": text.rpartition(" ")[2], "finish": "stop"}
        for n in range(4)
        for i, text in enumerate((right, wrong))
    ]
    files.write([to_frame(rows, Layout())], tmp_path / "pool.parquet", Layout(), Info())
    tokenizer = Tokenizer.load(str(start))
    how = Encoding("reviser", tokenizer, form=form)
    tuning = Tuning(str(start), rank=0, lr=1e-3, epochs=6, device="cpu")
    out = tune(tmp_path / "pool.parquet", how, tuning, tmp_path / "out", quiet)
    engine = models.engine(str(out), "reviser")
    assert isinstance(engine, SmallEngine)
    trace = Trace(Problem("p", question), earlier=(wrong,))
    made = spelt(tokenizer, form, trace, right)
    head = engine.words.head(trace)[1]
    assert tuple(made.tokens[: len(head)]) == head  # it is shown here what it was trained on
    (found,) = engine.sample_now([Job(trace, None, 0.0, 1, 60)])
    assert (found.trace.text, found.trace.finish) == (right, "stop")


@needs_peft
@pytest.mark.parametrize("kind", ["prm", "reviser"])
def test_the_adapter_merges(kind, tmp_path: Path) -> None:
    import peft

    out, _ = trained(kind, tmp_path, qwen, 4, epochs=2.0)
    tuning = Tuning(str(tmp_path / "base"), rank=4)
    apart = peft.PeftModel.from_pretrained(base(kind, tuning, None), str(tmp_path / "out" / "adapter"))
    classes = {
        "prm": transformers.AutoModelForTokenClassification,
        "reviser": transformers.AutoModelForCausalLM,
    }
    merged = classes[kind].from_pretrained(out)
    ids = torch.tensor([[5, 9, 200, 17, 33]])
    with torch.no_grad():
        assert torch.allclose(apart.eval()(ids).logits, merged(ids).logits, atol=1e-5)
    assert not any("lora" in name for name in merged.state_dict())


@needs_peft
def test_an_interrupted_training_ends_at_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mull.train import adapting

    whole, _ = trained("prm", tmp_path / "whole", qwen, 4, epochs=3.0)
    saves = []

    def save(model, folder: Path) -> None:
        saves.append(folder)
        if len(saves) == 2:
            raise KeyboardInterrupt
        kept(model, folder)

    kept = adapting._save
    monkeypatch.setattr(adapting, "_save", save)
    with pytest.raises(KeyboardInterrupt):
        trained("prm", tmp_path / "cut", qwen, 4, epochs=3.0)
    monkeypatch.setattr(adapting, "_save", kept)
    cut, _ = trained("prm", tmp_path / "cut", qwen, 4, epochs=3.0)
    one, other = ((out / "model.safetensors").read_bytes() for out in (whole, cut))
    assert one == other


def test_other_settings_in_the_same_folder_are_refused(tmp_path: Path) -> None:
    trained("prm", tmp_path, qwen, 0, epochs=0.5)
    with pytest.raises(MullError, match="other settings or data"):
        trained("prm", tmp_path, qwen, 0, epochs=0.6)


# --- sequences ---


def test_targets_stand_at_the_adapters_places(tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(str(llama(tmp_path / "base")))
    data = pool(tmp_path)
    for hard in (False, True):
        found = sequences(data, Encoding("prm", tokenizer, hard=hard))
        assert (len(found.training), len(found.held)) == (66, 6)
        steps = ["16 - 3 = 13\n\n", "26"]
        encoded = adapter_named("trl-prm").encode(
            tokenizer, "Janet has 0 eggs. How much does she make?", steps
        )
        (mine,) = [e for e in (*found.training, *found.held) if tuple(e.tokens) == encoded.ids]
        targets = {i: t for i, t in enumerate(mine.targets) if t == t}
        assert targets == dict(zip(encoded.places, (1.0, 1.0) if hard else (0.75, 1.0), strict=True))


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(str(qwen(tmp_path / "base")))
    found = sequences(pool(tmp_path), Encoding("prm", tokenizer, limit=30))
    assert sum(found.left_out.values()) + len(found.training) + len(found.held) == 72
    assert set(found.left_out) == {"longer than 30 tokens"}
    with pytest.raises(MullError, match=r"0 problems to train a prm on.*72 rows are longer than 3 tokens"):
        sequences(pool(tmp_path), Encoding("prm", tokenizer, limit=3))
    frame = to_frame([{"problem": "p", "sample": 0}], Layout())
    files.write([frame], tmp_path / "bare.parquet", Layout(), Info())
    with pytest.raises(MullError, match="has no column 'steps'"):
        sequences(tmp_path / "bare.parquet", Encoding("prm", tokenizer))


@MODELS
def test_a_revisers_loss_is_on_the_target_and_its_end(make, tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(str(make(tmp_path / "base")))
    trace = Trace(Problem("p", "How?"), earlier=("wrong",))
    for form in (FORMATS["chat"], replace(FORMATS["text"], close=tokenizer.inner.eos_token)):
        made = spelt(tokenizer, form, trace, "right 7")
        wanted = [i for i, t in enumerate(made.targets) if t == t]
        ids = [int(made.targets[i]) for i in wanted]
        assert ids == list(made.tokens[wanted[0] + 1 :]) and wanted == list(range(wanted[0], wanted[-1] + 1))
        assert tokenizer.inner.decode(ids) == "right 7" + tokenizer.inner.eos_token
        shown = tokenizer.inner.decode(made.tokens[: wanted[0] + 1])
        assert "wrong" in shown and "right 7" not in shown


def test_published_step_labels_are_data_too(tmp_path: Path) -> None:
    """Math-Shepherd's records, imported, train a PRM."""
    record = {
        "input": "How many? Step 1: one ки\nStep 2: The answer is: 2 ки",
        "label": "How many? Step 1: one +\nStep 2: The answer is: 2 -",
        "task": "GSM8K",
    }
    lines = [
        record | {k: record[k].replace("many", f"many {n}") for k in ("input", "label")} for n in range(3)
    ]
    file = tmp_path / "shepherd.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = tmp_path / "shepherd.parquet"
    assert main(["pool", "import", str(file), "--format", "math_shepherd", "--out", str(out)]) == 0
    tokenizer = Tokenizer.load(str(qwen(tmp_path / "base")))
    found = sequences(out, Encoding("prm", tokenizer))
    assert (len(found.training), len(found.held)) == (2, 1)
    assert [t for t in found.held[0].targets if t == t] == [1.0, 0.0]


# --- labels by rollouts ---

PROBLEMS = tuple(Problem(f"p{n}", f"{n}?", "1") for n in range(6))


def labelling(engine, **more) -> Labelling:
    return Labelling(PROBLEMS, engine, samples=3, rollouts=4, max_tokens=60, chunk=2, **more)


def test_labels_are_shares_of_right_rollouts(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    said: list[str] = []
    label(labelling(engine), tmp_path / "labels.parquet", said.append)
    frame = pl.read_parquet(tmp_path / "labels.parquet")
    assert frame.height == 18 and frame["problem"].n_unique() == 6
    jobs = [job for call in engine.calls for job in call]
    rolled = [job for job in jobs if job.trace.steps]
    assert len({job.seed for job in jobs}) == len(jobs)
    assert len(rolled) == 4 * (frame["steps"].list.len().sum() - 18)
    for row in frame.iter_rows(named=True):
        assert len(row["steps"]) == len(row["step_labels"])
        assert row["step_labels"][-1] == float(row["correct"]) == float(row["answer"] == "1")
        assert all(value * 4 == int(value * 4) for value in row["step_labels"])
        assert "".join(row["steps"]) == row["text"]
    again = ScriptedEngine()
    found, _ = asyncio.run(label_chunk(labelling(again), PROBLEMS[3:4]))
    mine = frame.filter(pl.col("problem") == "p3")["step_labels"].to_list()
    assert [row["step_labels"] for row in found["p3"].rows] == mine  # whatever the chunk
    assert "6 of 6 problems" in said[-1]


class Breaking(ScriptedEngine):
    """An engine that fails at one problem, and is killed at another."""

    async def sample(self, jobs: list[Job]) -> list[Continuation]:
        if any(job.trace.problem.id == "p4" for job in jobs):
            raise KeyboardInterrupt
        return await super().sample(jobs)


def test_labelling_goes_on_and_asks_again_for_what_failed(tmp_path: Path) -> None:
    out = tmp_path / "labels.parquet"
    with pytest.raises(KeyboardInterrupt):
        label(labelling(Breaking()), out, quiet)
    with (tmp_path / "labels.journal").open("a") as file:
        file.write('{"problem": "p4", "ro')  # cut off while it was written
    engine = ScriptedEngine(fails=lambda job: "error" if job.trace.problem.id == "p5" else None)
    with pytest.raises(MullError, match=r"1 of 6 problems could not be labelled.*scripted failure"):
        label(labelling(engine), out, quiet)
    assert {job.trace.problem.id for call in engine.calls for job in call} == {"p4", "p5"}
    last = ScriptedEngine()
    label(labelling(last), out, quiet)
    assert {job.trace.problem.id for call in last.calls for job in call} == {"p5"}
    whole = tmp_path / "whole.parquet"
    label(labelling(ScriptedEngine()), whole, quiet)
    assert out.read_bytes() == whole.read_bytes()
    label(labelling(ScriptedEngine(), seed=1), out, quiet)  # it is there: nothing is done


def test_another_labelling_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "labels.parquet"
    with pytest.raises(KeyboardInterrupt):
        label(labelling(Breaking()), out, quiet)
    with pytest.raises(MullError, match="holds another labelling"):
        label(labelling(ScriptedEngine(), seed=1), out, quiet)


def test_nothing_to_learn_from_is_said(tmp_path: Path) -> None:
    mute = ScriptedEngine(fails=lambda job: "length" if not job.trace.steps else None)
    with pytest.raises(MullError, match="none of 18 sampled solutions has an answer"):
        label(labelling(mute), tmp_path / "labels.parquet", quiet)
    with pytest.raises(MullError, match="no gold answer"):
        Labelling((Problem("p", "?"),), mute)


# --- the command ---


@pytest.mark.parametrize(
    ("kind", "more", "used"),
    [
        ("prm", ["--samples", "1", "--rollouts", "1"], 'adapter = "trl-prm"'),
        ("orm", ["--samples", "3"], 'adapter = "reward-model"'),
        ("reviser", ["--samples", "8"], 'format = "text"'),
    ],
)
@RANKS
def test_the_command_from_samples_to_a_checkpoint(
    kind: str, more: list[str], used: str, rank: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, start = tmp_path / "out", qwen(tmp_path / "base")
    command = [
        *("train", kind, "--engine", "tiny", "--problems", "tiny", "--count", "6", *more),
        *("--base", str(start), "--rank", str(rank), "--batch-tokens", "2048", "--out", str(out)),
    ]
    assert main(command) == 0
    first = (out / "checkpoint" / "model.safetensors").read_bytes()
    shown = capsys.readouterr()
    assert used in shown.out and str(out / "checkpoint") in shown.out
    assert pl.read_parquet(out / DATA[kind])["problem"].n_unique() == 6
    assert main(command) == 0  # nothing is left to do
    assert (out / "checkpoint" / "model.safetensors").read_bytes() == first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--problems", "tiny"], "--base"),
        (["--base", "x"], "--problems and --engine, or data of your own with --data"),
        (["--base", "x", "--data", "y", "--problems", "tiny"], "takes the place of"),
        (["--base", "nowhere/at/all", "--data", "y"], "tokenizer at nowhere/at/all"),
    ],
)
def test_mistakes_are_one_line(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "prm", *options, "--out", str(tmp_path)]) == 1
    shown = capsys.readouterr().err.strip()
    assert message in shown and "\n" not in shown


def test_without_peft_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real = builtins.__import__

    def without(name: str, *args, **kwargs):
        if name == "peft":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MullError, match=r"mull\[lora\]"):
        trained("prm", tmp_path, qwen, 4)
