"""Reward models in process: every adapter against its card's recipe, on the real architecture in small."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mull.cost import Cost
from mull.drive import Driver, Task
from mull.errors import MullError, settled
from mull.problems import Problem
from mull.strategies.base import Arm
from mull.tiny.load import checkpoint as tiny
from mull.trace import Step, Trace
from mull.verifiers.base import Verdict
from mull.verifiers.prm import ADAPTERS, RewardModel, build
from mull.verifiers.prm.adapter import value
from mull.verifiers.prm.adapters.math_shepherd import numbered
from mull.verifiers.prm.adapters.qwen import SYSTEM
from mull.verifiers.prm.local import LocalModel
from mull.verifiers.prm.tokens import Tokenizer

pytest.importorskip("torch", reason="reward models in process need torch (extra 'local')")
pytest.importorskip("transformers", reason="reward models need transformers (extra 'local')")
import torch

import prm_models as made_of
from scripted import ScriptedEngine

torch.set_num_threads(1)
CLOSE = 2e-5
QUESTION = "Janet has 16 eggs. She eats three. How much does she make at $2 each?"
#: Solutions as steps: plain, one step, unicode, lines within a step, long.
SOLUTIONS = {
    "plain": ["She sells 16 - 3 = 13 eggs.\n\n", "She makes 13 * 2 = 26 dollars.\n\n", "The answer is: 26"],
    "one": ["The answer is \\boxed{26}."],
    "unicode": ["Größe: √2 ≈ 1.414, 😀\n\n", "所以答案是七。\n\n", "это верно ✓"],
    "lines": ["First,\n  then - and +\nlast.\n\n", "Step 7: it is here\na b"],
    "long": [f"Also {k} + 5 = {k + 5}.\n\n" for k in range(12)],
}


def trace(steps: list[str], question: str = QUESTION, *, open_: bool = False) -> Trace:
    finish = None if open_ else "stop"
    return Trace(Problem("p", question), tuple(Step(text, ()) for text in steps), finish)


TRACES = [trace(steps) for steps in SOLUTIONS.values()]


@torch.no_grad()
def qwen_card(made, question, steps, system=SYSTEM):
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": question})
    answer = "<extra_0>".join(step.strip() for step in steps) + "<extra_0>"
    messages.append({"role": "assistant", "content": answer})
    text = made.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False)
    ids = made.tokenizer.encode(text, return_tensors="pt")
    logits = made.head(made.model(ids).last_hidden_state)
    return logits.softmax(-1)[ids == made.tokenizer.encode("<extra_0>")[0]][:, 1].tolist()


def reasonflux_card(made, question, steps):
    return qwen_card(made, question, steps, system="")


@torch.no_grad()
def shepherd_card(made, question, steps):
    candidates = made.tokenizer.encode("+ -")[1:]
    tag = made.tokenizer.encode("ки")[-1]
    lines = []
    for k, step in enumerate(steps, 1):
        step = step.strip()
        lines.append(step if step.startswith("Step ") else f"Step {k}: {step}")
    output = " ки\n".join(lines) + " ки"
    ids = torch.tensor([made.tokenizer.encode(f"{question} {output}")])
    scores = made.model(ids).logits[:, :, candidates].softmax(-1)[:, :, 0]
    return scores[ids == tag].tolist()


@torch.no_grad()
def rlhflow_card(made, question, steps, count=False):
    """One pass a step, and the third output from the end."""
    plus, minus = made.tokenizer.encode("+")[-1], made.tokenizer.encode("-")[-1]
    found, conversation = [], []
    for k, step in enumerate(steps):
        text = step.strip()
        if count and not text.startswith("Step "):
            text = f"Step {k + 1}: {text}"
        conversation.append({"role": "user", "content": f"{question} {text}" if k == 0 else text})
        conversation.append({"role": "assistant", "content": "+"})
        ids = made.tokenizer.apply_chat_template(conversation, return_tensors="pt", return_dict=False)
        found.append(made.model(ids).logits[0, -3, [plus, minus]].softmax(-1)[0].item())
    return found


def rlhflow_mistral_card(made, question, steps):
    return rlhflow_card(made, question, steps, count=True)


def rlhflow_orm_card(made, question, steps):
    return rlhflow_card(made, question, ["".join(steps)])


@torch.no_grad()
def skywork_card(made, question, steps):
    ids = made.tokenizer.encode(made.tokenizer.bos_token + question + "\n")
    newline = made.tokenizer.encode("\n")[-1]
    flags = [0] * len(ids)
    for step in steps:
        for line in step.strip().split("\n"):
            added = [*made.tokenizer.encode(line), newline]
            ids += added
            flags += [0] * len(added)
        flags[-1] = 1
    values = made.head(made.model(torch.tensor([ids])).last_hidden_state).squeeze(-1).sigmoid()
    return values[0, torch.tensor(flags) == 1].tolist()


@torch.no_grad()
def trl_card(made, question, steps):
    ids = made.tokenizer(question, add_special_tokens=False)["input_ids"]
    at = []
    for step in steps:
        ids = ids + made.tokenizer(step.strip(), add_special_tokens=False)["input_ids"]
        ids = ids + made.tokenizer.encode("\n", add_special_tokens=False)
        at.append(len(ids) - 1)
    return made.model(torch.tensor([ids])).logits[0, at].softmax(-1)[:, 1].tolist()


@torch.no_grad()
def sequence_card(made, question, steps):
    chat = [{"role": "user", "content": question}, {"role": "assistant", "content": "".join(steps).strip()}]
    text = made.tokenizer.apply_chat_template(chat, tokenize=False)
    return [made.model(**made.tokenizer(text, return_tensors="pt")).logits[0][0].sigmoid().item()]


@torch.no_grad()
def qwen_rm_card(made, question, steps):
    chat = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
    chat.append({"role": "assistant", "content": "".join(steps).strip()})
    text = made.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=False)
    ids = made.tokenizer.encode(text, return_tensors="pt", add_special_tokens=False)
    return [made.head(made.model(ids).last_hidden_state)[0, -1, 0].sigmoid().item()]


#: Of each adapter: the checkpoint's builder, and the card's recipe.
CASES: dict[str, tuple[Callable, Callable]] = {
    "qwen2.5-math-prm": (made_of.qwen_prm, qwen_card),
    "reasonflux-prm": (made_of.qwen_prm, reasonflux_card),
    "math-shepherd": (made_of.math_shepherd, shepherd_card),
    "rlhflow-prm-deepseek": (made_of.rlhflow, rlhflow_card),
    "rlhflow-prm-mistral": (made_of.rlhflow, rlhflow_mistral_card),
    "skywork-o1-open-prm": (made_of.skywork_prm, skywork_card),
    "trl-prm": (made_of.trl_prm, trl_card),
    "qwen2.5-math-rm": (lambda folder: made_of.qwen_prm(folder, labels=1), qwen_rm_card),
    "rlhflow-orm": (made_of.rlhflow, rlhflow_orm_card),
    "reward-model": (made_of.sequence_rm, sequence_card),
}
PROCESS = [name for name, adapter in ADAPTERS.items() if adapter.kind == "process"]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict:
    found = {}
    for name, (builder, _) in CASES.items():
        folder = tmp_path_factory.mktemp(name)
        found[name] = builder(folder)
    return found


def model(made, adapter: str, **more: object) -> RewardModel:
    found = build({"adapter": adapter, "path": str(made.folder), "device": "cpu", **more})
    assert isinstance(found, RewardModel) and isinstance(found.backend, LocalModel)
    return found


def score(verifier: RewardModel, *traces: Trace) -> list[Verdict]:
    return asyncio.run(verifier.score(traces))


def values(verdict: Verdict) -> list[float]:
    assert verdict.scores is not None, verdict.error
    return list(verdict.scores.steps)


def test_every_adapter_has_a_golden_case() -> None:
    assert CASES.keys() == ADAPTERS.keys()


@pytest.mark.parametrize("adapter", CASES)
def test_scores_equal_the_cards_recipe(checkpoints, adapter: str) -> None:
    made, card = checkpoints[adapter], CASES[adapter][1]
    verifier = model(made, adapter)
    spread = []
    for (name, steps), verdict in zip(SOLUTIONS.items(), score(verifier, *TRACES), strict=True):
        expected = card(made, QUESTION, steps)
        assert values(verdict) == pytest.approx(expected, abs=CLOSE), name
        assert len(expected) == (len(steps) if ADAPTERS[adapter].kind == "process" else 1)
        spread += expected
    assert max(spread) - min(spread) > 0.01  # else nothing is shown


@pytest.mark.parametrize("adapter", CASES)
def test_batch_equals_single(checkpoints, adapter: str) -> None:
    verifier = model(checkpoints[adapter], adapter)
    together = [values(v) for v in score(verifier, *TRACES)]
    alone = [values(score(model(checkpoints[adapter], adapter, batch=1), each)[0]) for each in TRACES]
    for batch in (2, 3):
        pairs = [values(v) for v in score(model(checkpoints[adapter], adapter, batch=batch), *TRACES[::-1])]
        for one, other, third in zip(together, alone, pairs[::-1], strict=True):
            assert one == pytest.approx(other, abs=CLOSE)
            assert one == pytest.approx(third, abs=CLOSE)


@pytest.mark.parametrize("adapter", PROCESS)
@pytest.mark.parametrize("cache_gib", [0, 1])
def test_a_growing_trace_scores_as_the_whole(checkpoints, adapter: str, cache_gib: int) -> None:
    verifier = model(checkpoints[adapter], adapter, cache_gib=cache_gib)
    for steps in SOLUTIONS.values():
        whole = values(score(model(checkpoints[adapter], adapter), trace(steps))[0])
        grown = [trace(steps[:k], open_=True) for k in range(1, len(steps) + 1)]
        for k, each in enumerate(grown, 1):
            assert values(score(verifier, each)[0]) == pytest.approx(whole[:k], abs=CLOSE)


@pytest.mark.parametrize("adapter", PROCESS)
def test_a_growing_trace_is_charged_for_what_is_new(checkpoints, adapter: str) -> None:
    verifier = model(checkpoints[adapter], adapter)
    steps = SOLUTIONS["long"]
    first, second = (score(verifier, trace(steps[:k], open_=True))[0].cost for k in (10, 11))
    assert 0 < second.verifier_tokens < first.verifier_tokens / 3
    assert 0 < second.verifier_flops < first.verifier_flops
    assert verifier.backend.computed_tokens == first.verifier_tokens + second.verifier_tokens
    again = score(verifier, trace(steps[:11], open_=True))[0]
    assert again.cost.verifier_tokens < second.verifier_tokens


@pytest.mark.parametrize("adapter", PROCESS)
def test_branches_of_different_lengths_share_a_batch(checkpoints, adapter: str) -> None:
    """A beam's children, fresh traces and another problem's, some cached: left and right padding at once."""
    verifier = model(checkpoints[adapter], adapter)
    steps = SOLUTIONS["long"]
    score(verifier, trace(steps[:3], open_=True), trace(SOLUTIONS["unicode"][:2], open_=True))
    mixed = [
        trace(steps[:6]),
        trace([*steps[:3], "Another way: 2 + 2 = 5.\n\n"], open_=True),
        trace(SOLUTIONS["unicode"]),
        trace(SOLUTIONS["plain"], "Another problem: 40 / 8 = ?"),
        trace(steps[:3], open_=True),
    ]
    found = score(verifier, *mixed)
    fresh = model(checkpoints[adapter], adapter, cache_gib=0, batch=1)
    for verdict, each in zip(found, mixed, strict=True):
        assert values(verdict) == pytest.approx(values(score(fresh, each)[0]), abs=CLOSE)


def test_a_sliding_window_is_kept_in_batches_and_in_the_cache(tmp_path: Path) -> None:
    made = made_of.math_shepherd(tmp_path, window=16)
    verifier = model(made, "math-shepherd")
    for steps in SOLUTIONS.values():
        score(verifier, trace(steps[:1], open_=True))
    for (name, steps), verdict in zip(SOLUTIONS.items(), score(verifier, *TRACES), strict=True):
        assert values(verdict) == pytest.approx(shepherd_card(made, QUESTION, steps), abs=CLOSE), name


def test_the_cache_forgets_the_oldest(checkpoints) -> None:
    verifier = model(checkpoints["trl-prm"], "trl-prm", cache_gib=0.0001)
    limit = verifier.backend.cache.limit
    for k in range(8):
        score(verifier, trace(SOLUTIONS["plain"], f"Problem {k}: how many eggs?", open_=True))
        assert verifier.backend.cache.bytes <= limit
    assert verifier.backend.cache.bytes > 0


def test_equal_traces_are_run_once_and_the_first_pays(checkpoints) -> None:
    verifier = model(checkpoints["trl-prm"], "trl-prm")
    one, other = score(verifier, TRACES[0], TRACES[0])
    assert values(one) == values(other)
    assert one.cost.verifier_tokens == verifier.backend.computed_tokens > 0 and other.cost == Cost()


def test_calls_at_the_same_time_are_answered_alike(checkpoints) -> None:
    verifier = model(checkpoints["trl-prm"], "trl-prm")

    async def many() -> list[list[Verdict]]:
        return await asyncio.gather(*(verifier.score([each]) for each in TRACES * 3))

    for (verdict,), each in zip(asyncio.run(many()), TRACES * 3, strict=True):
        assert values(verdict) == pytest.approx(values(score(verifier, each)[0]), abs=CLOSE)
    asyncio.run(verifier.score(TRACES))  # and in another event loop


@pytest.mark.parametrize("batching", ["together", "apart"])
@pytest.mark.parametrize("adapter", ["qwen2.5-math-prm", "math-shepherd"])
def test_a_search_is_served_and_its_result_depends_on_no_batch_mates(checkpoints, adapter, batching) -> None:
    problems = [Problem(f"p{i}", f"Problem {i}: how many eggs?", "1") for i in range(4)]
    tasks = [Task(problem, Arm(name, 8)) for problem in problems for name in ("beam", "best_of_n_weighted")]

    def run(tasks: list[Task], verifier: RewardModel) -> list:
        driver = Driver(ScriptedEngine(batching), verifier, seed=3, max_tokens=60)
        return driver.run(tasks)

    verifier = model(checkpoints[adapter], adapter)
    together = run(tasks, verifier)
    assert not any("unscored" in event for result in together for event in result.events)
    spent = sum(result.cost.verifier_tokens for result in together)
    assert spent == verifier.backend.computed_tokens > 0
    for task, result in zip(tasks, together, strict=True):
        (alone,) = run([task], model(checkpoints[adapter], adapter))
        assert alone.selection.answer == result.selection.answer
        for one, other in zip(alone.candidates, result.candidates, strict=True):
            assert one.trace == other.trace
            assert one.scores.steps == pytest.approx(other.scores.steps, abs=CLOSE)


def test_earlier_attempts_are_not_shown(checkpoints) -> None:
    verifier = model(checkpoints["trl-prm"], "trl-prm")
    assert verifier.encode(replace(TRACES[0], earlier=("wrong",))) == verifier.encode(TRACES[0])


@pytest.mark.parametrize("adapter", CASES)
def test_what_does_not_fit_is_said_and_never_cut(checkpoints, adapter: str) -> None:
    verifier = model(checkpoints[adapter], adapter)
    long = trace([f"Also {k} + 5 = {k + 5}.\n\n" for k in range(200)])
    bad, good = score(verifier, long, TRACES[0])
    assert bad.scores is None and "context too long" in bad.error and "512" in bad.error
    assert bad.cost == Cost() and good.scores is not None
    short = model(checkpoints[adapter], adapter, max_tokens=20)
    assert "verifier's 20" in score(short, TRACES[0])[0].error


@pytest.mark.parametrize("adapter", PROCESS)
def test_empty_steps_and_traces_are_unscored(checkpoints, adapter: str) -> None:
    verifier = model(checkpoints[adapter], adapter)
    empty, none, good = score(verifier, trace(["a", " \n\n"]), trace([]), TRACES[1])
    assert (empty.scores, empty.error) == (None, "step 2 is empty")
    assert (none.scores, none.error) == (None, "the trace has no steps")
    assert good.scores is not None


@pytest.mark.parametrize("adapter", ["qwen2.5-math-rm", "rlhflow-orm", "reward-model"])
def test_empty_solutions_are_unscored(checkpoints, adapter: str) -> None:
    empty, fine = score(model(checkpoints[adapter], adapter), trace(["\n"]), trace(["a\n", "\n", "b"]))
    assert (empty.scores, empty.error) == (None, "the solution is empty")
    assert fine.scores is not None


@pytest.mark.parametrize(
    ("adapter", "tag"),
    [("qwen2.5-math-prm", "<extra_0>"), ("reasonflux-prm", "<extra_0>"), ("math-shepherd", "ки")],
)
def test_surplus_step_tags_are_an_error(checkpoints, adapter: str, tag: str) -> None:
    verifier = model(checkpoints[adapter], adapter)
    inside, asked = score(verifier, trace(["one", f"two {tag} three"]), trace(["one"], f"What is {tag} ?"))
    assert inside.scores is None and "too many step tags: 3" in inside.error and "step 2" in inside.error
    assert asked.scores is None and "too many step tags: 2" in asked.error and "the problem" in asked.error


def test_missing_step_tags_are_an_error(checkpoints, tmp_path: Path) -> None:
    """A template that drops what the tag stands in: here the whole solution."""
    shutil.copytree(checkpoints["qwen2.5-math-prm"].folder, tmp_path, dirs_exist_ok=True)
    tokenizer = Tokenizer.load(str(tmp_path))
    verifier = model(checkpoints["qwen2.5-math-prm"], "qwen2.5-math-prm")
    tokenizer.inner.chat_template = "{{ messages[0]['content'] }}{{ messages[1]['content'] }}"
    verifier.tokenizer = tokenizer
    (verdict,) = score(verifier, TRACES[0])
    assert verdict.scores is None and "missing step tags: 0 of '<extra_0>' for 3 steps" in verdict.error


@pytest.mark.parametrize("template", [made_of.NO_SYSTEM, made_of.DROPS_SYSTEM, None])
def test_templates_without_system_role_are_refused(tmp_path: Path, template: str | None) -> None:
    made = made_of.qwen_prm(tmp_path, template=template or made_of.CHATML)
    if template is None:
        (tmp_path / "chat_template.jinja").unlink()
    with pytest.raises(MullError, match="no chat template" if template is None else "no system role"):
        model(made, "qwen2.5-math-prm")
    if template:
        assert score(model(made, "reasonflux-prm"), TRACES[0])[0].scores is not None


@pytest.mark.parametrize(
    ("adapter", "of"),
    [
        ("qwen2.5-math-prm", "math-shepherd"),
        ("qwen2.5-math-prm", "rlhflow-orm"),
        ("math-shepherd", "qwen2.5-math-prm"),
        ("rlhflow-prm-deepseek", "math-shepherd"),
        ("skywork-o1-open-prm", "math-shepherd"),
    ],
)
def test_another_familys_tokenizer_is_refused(checkpoints, adapter: str, of: str) -> None:
    table = {"adapter": adapter, "path": str(checkpoints[adapter].folder)}
    with pytest.raises(MullError, match=f"does not fit adapter '{adapter}'"):
        build({**table, "tokenizer": str(checkpoints[of].folder)})


def test_a_tokenizer_larger_than_the_model_is_a_mismatch(checkpoints, tmp_path: Path) -> None:
    made = checkpoints["trl-prm"]
    made.tokenizer.save_pretrained(tmp_path)
    tokenizer = Tokenizer.load(str(tmp_path))
    tokenizer.inner.add_tokens(["Größe", "verifiably"])
    tokenizer.inner.save_pretrained(tmp_path)
    verifier = model(made, "trl-prm", tokenizer=str(tmp_path))
    with pytest.raises(MullError, match="tokenizer mismatch: token"):
        score(verifier, trace(["verifiably"]))


def test_a_step_that_the_tokenizer_cannot_spell_is_unscored() -> None:
    """Few tokenizers have an unknown token and no bytes to fall back on; the small world's PRM has one."""
    verifier = build({"adapter": "trl-prm", "path": str(tiny("prm")), "device": "cpu"})
    steps = ["Ann: 12 - 2 = 10\n", "so x=7 it is\n"]
    question = "Ann has 12 eggs. How many oranges does Zoë have?\n"
    scored, unscored = score(verifier, trace(steps[:1], question), trace(steps, question))
    assert scored.scores is not None and unscored.scores is None and unscored.cost == Cost()
    assert unscored.error == "step 2 has 'so', which the verifier's vocabulary cannot spell"
    assert verifier.tokenizer.unspelt("Ann: 12 - 2 = x=10") == "x=10" and settled(unscored.error)


def test_a_checkpoint_without_the_head_is_refused(checkpoints) -> None:
    folder = checkpoints["rlhflow-orm"].folder
    with pytest.raises(MullError, match="no reward head"):
        build({"adapter": "trl-prm", "path": str(folder)})
    with pytest.raises(MullError, match=r"lacks|cannot load"):
        build(
            {"adapter": "rlhflow-orm", "path": str(checkpoints["trl-prm"].folder), "tokenizer": str(folder)}
        )


def test_a_checkpoint_with_weights_missing_is_refused(checkpoints, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(checkpoints["qwen2.5-math-prm"].folder, tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.layers.1.self_attn.q_proj.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(MullError, match="lacks 1 of its model's weights"):
        build({"adapter": "qwen2.5-math-prm", "path": str(tmp_path)})


def test_a_sharded_checkpoint_reads_the_same(checkpoints, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    made = checkpoints["qwen2.5-math-prm"]
    shutil.copytree(made.folder, tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    names = sorted(weights)
    places = {}
    for shard in (0, 1):
        file = f"model-0000{shard + 1}-of-00002.safetensors"
        save_file(
            {name: weights[name] for name in names[shard::2]}, tmp_path / file, metadata={"format": "pt"}
        )
        places |= dict.fromkeys(names[shard::2], file)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    found = build({"adapter": "qwen2.5-math-prm", "path": str(tmp_path)})
    assert score(found, TRACES[0])[0] == score(model(made, "qwen2.5-math-prm"), TRACES[0])[0]


def test_outputs_that_are_no_numbers_are_unscored(checkpoints) -> None:
    verifier = model(checkpoints["trl-prm"], "trl-prm")
    ((weight, bias),) = verifier.backend.layers
    verifier.backend.layers = [(weight * float("nan"), bias)]
    (verdict,) = score(verifier, TRACES[0])
    assert (verdict.scores, verdict.error) == (None, "the model's output is not a number")


@pytest.mark.parametrize("adapter", ["qwen2.5-math-prm", "math-shepherd"])
def test_half_precision_is_near(checkpoints, adapter: str) -> None:
    verifier = model(checkpoints[adapter], adapter, dtype="bfloat16")
    assert next(verifier.backend.model.parameters()).dtype == torch.bfloat16
    expected = CASES[adapter][1](checkpoints[adapter], QUESTION, SOLUTIONS["plain"])
    assert values(score(verifier, TRACES[0])[0]) == pytest.approx(expected, abs=0.15)


def test_sizes_and_names(checkpoints) -> None:
    made = checkpoints["trl-prm"]
    verifier = model(made, "trl-prm")
    parameters = (
        sum(p.numel() for p in made.model.parameters()) - made.model.model.embed_tokens.weight.numel()
    )
    assert verifier.size.parameters == parameters - 2  # the head's biases
    assert verifier.size.attention == 2 * 2 * 32
    assert verifier.name == f"{made.folder.name} (trl-prm)" and verifier.kind == "process"


def test_steps_are_numbered_where_they_are_not() -> None:
    steps = ["a", "Step 2: b", "## Step 3: c", "Step four", "Step 9 : d"]
    assert numbered(steps) == ["Step 1: a", "Step 2: b", "Step 3: c", "Step 4: Step four", "Step 9 : d"]


@torch.no_grad()
@pytest.mark.parametrize("shown", ["chat", "text"])
def test_self_certainty_is_the_papers_formula(checkpoints, shown: str) -> None:
    made = checkpoints["rlhflow-orm"]
    verifier = build({"adapter": "self-certainty", "path": str(made.folder), "device": "cpu", "shown": shown})
    for steps, verdict in zip(SOLUTIONS.values(), asyncio.run(verifier.score(TRACES)), strict=True):
        if shown == "chat":
            chat = [{"role": "user", "content": QUESTION}]
            text = made.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            head = made.tokenizer.encode(text, add_special_tokens=False)
        else:
            head = made.tokenizer.encode(QUESTION)
        ids = made.tokenizer.encode("".join(steps), add_special_tokens=False)
        chances = made.model(torch.tensor([head + ids])).logits[0, len(head) - 1 : -1].softmax(-1)
        size = chances.shape[-1]
        expected = -(size * chances).log().sum() / (len(ids) * size)
        assert values(verdict)[-1] == pytest.approx(1 - math.exp(-expected), abs=1e-5)
        assert len(values(verdict)) == len(steps) and all(0 <= v < 1 for v in values(verdict))
        assert verdict.cost.verifier_tokens == len(head) + len(ids)
        (part,) = asyncio.run(verifier.score([trace(steps[:1])]))
        assert values(part)[0] == pytest.approx(values(verdict)[0], abs=1e-5)
    long, none = asyncio.run(verifier.score([trace(["Also 5 + 5 = 10.\n\n"] * 99), trace([])]))
    assert "context too long" in long.error and none.error == "the trace has no text"


def test_values_of_rows() -> None:
    assert value((0.0,)) == 0.5 and value((-1000.0,)) == 0.0 and value((1000.0,)) == 1.0
    assert value((1.0, 3.0)) == pytest.approx(value((2.0,)))
    with pytest.raises(ValueError, match="3 outputs"):
        value((1.0, 2.0, 3.0))
