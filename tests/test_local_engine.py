"""The transformers engine against the built-in engine on the small world's proposer, and on chat models."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mull.cli import main
from mull.cost import Cost
from mull.drive import Driver, Task
from mull.engines.base import Continuation, Job
from mull.engines.prompts import FORMATS, RULES, Format
from mull.engines.small import SmallEngine
from mull.errors import MullError
from mull.problems import Problem
from mull.seeds import seed_for
from mull.strategies.base import Arm
from mull.tiny.load import checkpoint, problems
from mull.trace import Step, Trace
from mull.verifiers.small import SmallVerifier

pytest.importorskip("torch", reason="models in this process need torch (extra 'local')")
pytest.importorskip("transformers", reason="models in this process need transformers (extra 'local')")
import torch

from mull.engines.local import TransformersEngine, checkpoint_size

TEXT = FORMATS["text"]
PROBLEMS = problems(count=8)
SMALL = SmallEngine.load(checkpoint("proposer"))


def engine(**how) -> TransformersEngine:
    return TransformersEngine.load(checkpoint("proposer"), TEXT, device="cpu", **how)


def jobs(count: int, temperature: float, steps: int | None = None, each: int = 1) -> list[Job]:
    return [
        Job(Trace(p), steps, temperature, 1000 * at + i, 200)
        for at, p in enumerate(PROBLEMS[:count])
        for i in range(each)
    ]


def same(one: list[Continuation], other: list[Continuation]) -> int:
    """How many traces are equal, once their log-probabilities are held against each other."""
    equal = 0
    for a, b in zip(one, other, strict=True):
        if a.trace.tokens == b.trace.tokens:
            equal += 1
            assert (a.trace.text, a.trace.finish) == (b.trace.text, b.trace.finish)
            got, wanted = ([x for s in m.trace.steps for x in s.logprobs] for m in (a, b))
            np.testing.assert_allclose(got, wanted, atol=2e-4)
    return equal


def test_greedy_solutions_costs_and_logprobs_are_the_built_in_engine_s():
    wanted = SMALL.fresh().sample_now(jobs(6, 0.0))
    found = engine(batch=5).sample_now(jobs(6, 0.0))
    assert same(found, wanted) == 6
    assert all(
        [s.tokens for s in f.trace.steps] == [s.tokens for s in w.trace.steps]
        for f, w in zip(found, wanted, strict=True)
    )
    assert [f.cost for f in found] == [w.cost for w in wanted]


def test_sampled_solutions_are_the_built_in_engine_s_given_its_seeds():
    wanted = SMALL.fresh().sample_now(jobs(4, 1.0, each=6))
    found = engine(batch=20).sample_now(jobs(4, 1.0, each=6))
    assert same(found, wanted) == 24, "all but what a tie in the last bits may decide"
    assert len({f.trace.text for f in found}) > 8
    # The prompt is paid for once.
    assert sum(f.cost.cached_tokens == 0 for f in found) == 4
    warm = engine().sample_now(jobs(3, 0.5, each=4))
    assert same(warm, SMALL.fresh().sample_now(jobs(3, 0.5, each=4))) >= 11


def test_a_result_does_not_depend_on_batch_mates():
    asked = jobs(4, 1.0, each=3)
    together = engine(batch=16).sample_now(asked)
    apart = engine()
    assert same([apart.sample_now([job])[0] for job in asked], together) >= 11
    assert same(engine(batch=3).sample_now(asked[::-1])[::-1], together) >= 11


def test_step_by_step_is_the_whole_and_prefixes_are_not_computed_again():
    model = engine()
    whole = model.sample_now(jobs(6, 0.0))
    model.computed_tokens = 0
    traces = [Trace(p) for p in PROBLEMS[:6]]
    while any(t.open for t in traces):
        made = model.sample_now([Job(t, 1, 0.0, 0, 200) for t in traces])
        for before, after in zip(traces, made, strict=True):
            if before.open:
                assert len(after.trace.steps) - len(before.steps) == 1
                assert after.cost.cached_tokens == after.cost.prompt_tokens - 1, "the prefix was there"
        traces = [m.trace for m in made]
    assert [t.text for t in traces] == [m.trace.text for m in whole]
    assert [t.tokens for t in traces] == [m.trace.tokens for m in whole]
    assert model.computed_tokens == sum(len(t.tokens) for t in traces)
    # Two steps at once, and a prefix that was forgotten.
    small = engine(cache_bytes=0)
    two = small.sample_now([Job(Trace(p), 2, 0.0, 0, 200) for p in PROBLEMS[:6]])
    assert [m.trace.text for m in two] == ["".join(s.text for s in t.steps[:2]) for t in traces]
    rest = small.sample_now([Job(m.trace, None, 0.0, 0, 200) for m in two])
    assert [m.trace.text for m in rest] == [t.text for t in traces]
    assert rest[0].cost.cached_tokens == 0


def test_prefixes_of_unlike_lengths_that_are_known_in_part_go_in_one_pass():
    model = engine()
    first = model.sample_now([Job(Trace(p), 1, 0.0, 0, 200) for p in PROBLEMS[:3]])
    # A step of another engine's: its text is spelt anew, what was before it is there.
    longer = [m.trace.then((Step("Ann has 5 eggs.\n", ()),), None) for m in first]
    fresh = [Trace(p) for p in PROBLEMS[5:8]]
    asked = [Job(t, None, 0.0, 0, 60) for t in [*longer, *fresh]]
    found = model.sample_now(asked)
    assert same(found, engine().sample_now(asked)) == 6
    assert [m.cost.cached_tokens > 0 for m in found] == [True] * 3 + [False] * 3
    assert same(found, SMALL.fresh().sample_now(asked)) == 6


def test_limits_and_jobs_with_nothing_to_do():
    trace = Trace(PROBLEMS[0])
    head = len(engine().speller.prompt(trace))
    model = engine(max_length=head + 9)
    (cut,) = model.sample_now([Job(trace, None, 0.0, 0, 5)])
    assert cut.trace.finish == "length" and len(cut.trace.tokens) == 5
    (full,) = model.sample_now([Job(trace, None, 0.0, 0, 500)])
    assert full.trace.finish == "length" and full.cost.completion_tokens == 9
    (over,) = engine(max_length=head).sample_now([Job(trace, None, 0.0, 0, 9)])
    assert over.trace.finish == "error" and "context too long" in over.trace.error
    done = Trace(PROBLEMS[0], (Step("Answer: 1", ()),), "stop")
    for job, finish in ((Job(done, None, 1.0, 0, 9), "stop"), (Job(trace, None, -1.0, 0, 9), "error")):
        (found,) = model.sample_now([job])
        assert found.trace.finish == finish and found.cost.completion_tokens == 0


def test_beam_search_gives_what_it_gives_on_the_built_in_engine():
    verifier = SmallVerifier.load(checkpoint("prm"))
    tasks = [Task(p, Arm("beam", 4)) for p in PROBLEMS[:6]]
    answers = [
        [r.selection.answer for r in Driver(each, verifier, seed=3, max_tokens=200).run(tasks)]
        for each in (SMALL.fresh(), engine())
    ]
    assert sum(a == b for a, b in zip(*answers, strict=True)) >= 5


def test_a_call_that_is_cancelled_stops_computing():
    model = engine()

    async def go() -> None:
        call = asyncio.create_task(model.sample(jobs(8, 1.0, each=40)))
        await asyncio.sleep(0.3)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(go())  # waits for the thread
    told: list[int] = []
    asyncio.run(model.sample_telling(jobs(3, 0.0), lambda place, made: told.append(place)))
    assert sorted(told) == [0, 1, 2]


def test_sizes_are_read_off_the_files():
    for name in ("proposer", "larger"):
        assert checkpoint_size(checkpoint(name)) == SmallEngine.load(checkpoint(name)).size
    assert checkpoint_size(Path("/nowhere")) is None


TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role here') }}{% endif %}"
    + TEMPLATE
)


@pytest.fixture(scope="module", params=["qwen2", "llama", "gpt2"])
def chat(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of an architecture, with a byte-level tokenizer and a chat template."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    raw.train_from_iterator(["## Step 1: add\n\n3 + 4 = 7\n\n"] * 4, trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    tokenizer.chat_template = TEMPLATE
    sizes = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id}
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(0)
    if request.param == "gpt2":
        kind, config = (
            transformers.GPT2LMHeadModel,
            transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, **sizes),
        )
    elif request.param == "llama":
        kind, config = (
            transformers.LlamaForCausalLM,
            transformers.LlamaConfig(num_key_value_heads=2, **shape, **sizes),
        )
    else:
        config = transformers.Qwen2Config(num_key_value_heads=2, tie_word_embeddings=True, **shape, **sizes)
        kind = transformers.Qwen2ForCausalLM
    folder = tmp_path_factory.mktemp(request.param)
    model = kind(config)
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, 2]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def reference(folder: Path, messages: list[dict[str, str]], so_far: str, count: int) -> str:
    """The greedy continuation by transformers alone, one token after the other and without a cache."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    ids += tokenizer(so_far, add_special_tokens=False)["input_ids"]
    begin = len(ids)
    with torch.no_grad():
        for _ in range(count):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] in (tokenizer.eos_token_id, 2):
                break
    return tokenizer.decode(ids[begin:], skip_special_tokens=True, clean_up_tokenization_spaces=False)


def test_a_chat_goes_through_the_model_s_own_template(chat: Path):
    form = replace(FORMATS["chat-steps"], rule=RULES["blank"])
    model = TransformersEngine.load(chat, form, device="cpu", batch=4)
    asked = [Problem(str(i), "What is 3 + 4?" + " Say it." * i) for i in range(5)]
    found = model.sample_now([Job(Trace(p), None, 0.0, 0, 24) for p in asked])
    for problem, made in zip(asked, found, strict=True):
        messages = [{"role": "system", "content": form.system}, {"role": "user", "content": problem.prompt}]
        text = reference(chat, messages, "", 24)
        steps = form.rule.steps(text)
        assert [s.text for s in made.trace.steps] == steps
        assert made.trace.finish in ("length", "stop")
        # One that goes on from a given beginning, white space at its end and all.
        begun = made.trace.__class__(problem, (Step("3 + 4 = 7\n\n", ()),))
        (on,) = model.sample_now([Job(begun, None, 0.0, 0, 12)])
        assert (
            on.trace.text.rstrip()
            == ("3 + 4 = 7\n\n" + reference(chat, messages, "3 + 4 = 7\n\n", 12)).rstrip()
        )
    assert model.size.parameters > 0 and model.name.endswith("by transformers (chat-steps, blank)")


def test_sampled_steps_have_the_ids_that_spell_them(chat: Path):
    """A random model writes half characters and tokens that straddle step ends; step texts stay true."""
    form = Format("letters", chat=True, rule=replace(RULES["newline"], ends=("e", "\n")), stops=("zz",))
    model = TransformersEngine.load(chat, form, device="cpu")
    wanted = [
        Job(Trace(Problem("a", "Hello")), steps, 1.3, seed, 40) for seed in range(12) for steps in (2, None)
    ]
    for job, made in zip(wanted, model.sample_now(wanted), strict=True):
        steps = made.trace.steps
        assert "zz" not in made.trace.text
        assert form.rule.steps(made.trace.text) == [s.text for s in steps]
        for step in steps:
            assert len(step.tokens) == len(step.logprobs)
        if made.trace.finish is None:
            assert len(steps) == job.steps
        else:
            assert made.cost.completion_tokens == 40 or made.trace.finish == "stop"


def test_templates_that_are_missing_or_refuse_are_told_in_a_line(chat: Path):
    model = TransformersEngine.load(chat, FORMATS["chat-steps"], device="cpu")
    job = Job(Trace(PROBLEMS[0]), None, 0.0, 0, 4)
    model.speller._tokenizer.chat_template = NO_SYSTEM
    with pytest.raises(MullError, match="refuses the messages: no system role here; set system"):
        model.sample_now([job])
    model.speller._tokenizer.chat_template = None
    with pytest.raises(MullError, match="no chat template"):
        model.sample_now([job])
    with pytest.raises(MullError, match="cannot load"):
        TransformersEngine.load(chat, TEXT, device="nonsense")
    with pytest.raises(MullError, match="there is no dtype 'int3'"):
        TransformersEngine.load(chat, TEXT, device="cpu", dtype="int3")


def test_a_model_that_gives_no_numbers_is_a_failure(chat: Path):
    model = TransformersEngine.load(chat, FORMATS["chat"], device="cpu")
    with torch.no_grad():
        model.model.get_input_embeddings().weight.fill_(float("nan"))
    (found,) = model.sample_now([Job(Trace(PROBLEMS[0]), None, 1.0, 0, 4)])
    assert found.trace.finish == "error" and "not a number" in found.trace.error
    assert found.cost != Cost()


def test_a_backend_is_named_in_a_study_estimated_and_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = checkpoint("proposer")
    text = f"""
name = "local"
pool = 4
max_tokens = 100
engine = {{ path = "{folder}", backend = "transformers", device = "cpu", record = "answers" }}
verifiers = {{ prm = "tiny" }}
problems = {{ source = "tiny", count = 10 }}
"""
    (tmp_path / "local.toml").write_text(text)
    command = ["study", str(tmp_path / "local.toml"), "--out", str(tmp_path / "out")]
    assert main([*command, "--dry-run", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["total"]["flops"] > 0, "the size is read off the files"
    assert main([*command, "--measure", "4"]) == 1
    assert "would be loaded twice" in capsys.readouterr().err
    assert main([*command, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["study"]["engine"] == "proposer by transformers (text, newline)"
    assert summary["usage"]["requests"] == 40 and "incomplete" not in summary
    frame = pl.read_parquet(tmp_path / "out" / "shards" / "*.parquet")
    wanted = SMALL.fresh().sample_now(
        [
            Job(Trace(p), None, 1.0, seed_for(0, p.id, Arm("single", 1), 0, i), 100)
            for p in problems(count=10)
            for i in range(4)
        ]
    )
    texts = {(row["problem"], row["sample"]): row["text"] for row in frame.to_dicts()}
    pairs = [(made.trace.problem.id, i % 4, made.trace.text) for i, made in enumerate(wanted)]
    assert sum(texts[name, i] == text for name, i, text in pairs) >= 39
    # Without the engine, from the record.
    (tmp_path / "local.toml").write_text(text.replace("record =", "replay ="))
    again = ["study", str(tmp_path / "local.toml"), "--out", str(tmp_path / "again"), "--json"]
    assert main(again) == 0
    assert json.loads(capsys.readouterr().out)["usage"]["replayed"]["requests"] == 40


def test_a_study_with_a_live_arm_is_the_built_in_engine_s(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The same samples, searches and accuracies, but for what a tie in the last bits may decide."""
    specs = {
        "local": f'{{ path = "{checkpoint("proposer")}", backend = "transformers", device = "cpu" }}',
        "built-in": '"tiny"',
    }
    found, samples, searches = {}, {}, {}
    for name, spec in specs.items():
        (tmp_path / f"{name}.toml").write_text(
            f'name = "same"\nseed = 5\npool = 4\nmax_tokens = 120\nengine = {spec}\n'
            'verifiers = { prm = "tiny" }\nproblems = { source = "tiny", count = 10 }\n'
            '[[arms]]\nstrategy = "beam"\nbudgets = [4]\n'
        )
        out = tmp_path / name
        assert main(["study", str(tmp_path / f"{name}.toml"), "--out", str(out), "--json"]) == 0
        found[name] = json.loads(capsys.readouterr().out)
        samples[name], searches[name] = (
            pl.read_parquet(out / "shards" / f"{kind}-*.parquet").sort("problem") for kind in ("pool", "beam")
        )
    text = ("problem", "sample", "text", "answer", "correct", "finish", "tokens")
    one, other = (samples[name].select(text).rows() for name in specs)
    assert len(one) == 40 and sum(a == b for a, b in zip(one, other, strict=True)) >= 39
    # What is cached is not compared: this engine still has the pool's prompts when it searches.
    free = ("cached_tokens", "flops", "failed")
    one, other = (searches[name].drop(free, strict=False).rows() for name in specs)
    assert len(one) == 10 and sum(a == b for a, b in zip(one, other, strict=True)) >= 9
    arms = [
        {(a["strategy"], str(a["params"]), a["budget"]): a["accuracy"] for a in found[name]["arms"]}
        for name in specs
    ]
    assert arms[0] == pytest.approx(arms[1], abs=1 / 10) and ("beam", "{}", 4) in arms[0]
    assert "incomplete" not in found["local"] and found["local"]["usage"]["requests"] > 40
