"""The small engine and verifier against transformers, on the same checkpoints."""

import itertools
from pathlib import Path

import numpy as np
import pytest

import mull.tiny
from checkpoints import checkpoint
from mull.engines.base import Job
from mull.engines.small import SmallEngine
from mull.problems import Problem
from mull.tiny.world import stories
from mull.trace import Trace
from mull.verifiers.small import SmallVerifier

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SHIPPED = Path(mull.tiny.__file__).parent / "checkpoints"
PROBLEMS = [Problem(f"p{i}", s.prompt) for i, s in enumerate(itertools.islice(stories("validation", 3), 12))]


@pytest.fixture(params=["random", "grouped", "apart", "shipped"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "shipped":
        return SHIPPED / "proposer"
    return checkpoint(tmp_path, kv_heads={"random": 1, "grouped": 2, "apart": 4}[request.param])


def reference(name: str, folder: Path):
    torch.set_num_threads(1)
    return getattr(transformers, name).from_pretrained(folder, dtype=torch.float32).eval()


@torch.no_grad()
def test_logprobs_of_sampled_traces(folder: Path):
    engine, model = SmallEngine.load(folder), reference("LlamaForCausalLM", folder)
    assert engine.size.parameters == sum(p.numel() for p in model.parameters())
    traces = [d.trace for d in engine.sample_now([Job(Trace(p), None, 1.0, 5, 80) for p in PROBLEMS])]
    for trace in traces:
        prompt = engine.words.prompt(trace.problem.prompt)
        ids = torch.tensor([[*prompt, *trace.tokens]])
        expected = model(ids).logits[0].log_softmax(-1)[len(prompt) - 1 : -1]
        expected = expected[torch.arange(len(trace.tokens)), list(trace.tokens)].numpy()
        assert np.abs(expected - [x for s in trace.steps for x in s.logprobs]).max() < 1e-4


@torch.no_grad()
def test_greedy_solutions_are_identical(folder: Path):
    engine, model = SmallEngine.load(folder), reference("LlamaForCausalLM", folder)
    for done in engine.sample_now([Job(Trace(p), None, 0.0, 0, 40) for p in PROBLEMS]):
        prompt = engine.words.prompt(done.trace.problem.prompt)
        out = model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=40)
        assert tuple(out[0, len(prompt) :].tolist()) == done.trace.tokens


@torch.no_grad()
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_sampled_frequencies(folder: Path, temperature: float):
    engine, model = SmallEngine.load(folder), reference("LlamaForCausalLM", folder)
    prompt = engine.words.prompt(PROBLEMS[0].prompt)
    done = engine.sample_now([Job(Trace(PROBLEMS[0]), None, temperature, seed, 2) for seed in range(4000)])
    first = np.array([d.trace.tokens[0] for d in done])
    token = np.bincount(first).argmax()  # and the second token, after the likeliest first
    second = [d.trace.tokens[1] for d in done if d.trace.tokens[0] == token and len(d.trace.tokens) > 1]
    for ids, drawn in ((prompt, first), ((*prompt, int(token)), np.array(second))):
        p = (model(torch.tensor([ids])).logits[0, -1] / temperature).softmax(-1).double().numpy()
        expected, observed = p * len(drawn), np.bincount(drawn, minlength=len(p))
        common = expected >= 5  # the rest is one class
        expected = np.append(expected[common], expected[~common].sum())
        observed = np.append(observed[common], observed[~common].sum())
        statistic = ((observed - expected) ** 2 / np.maximum(expected, 1e-9)).sum()
        degrees = max(len(expected) - 1, 1)
        assert statistic < degrees + 4 * np.sqrt(2 * degrees) + 8


@torch.no_grad()
@pytest.mark.parametrize("shipped", [False, True], ids=["random", "shipped"])
@pytest.mark.parametrize(
    ("kind", "name"), [("prm", "LlamaForTokenClassification"), ("orm", "LlamaForSequenceClassification")]
)
def test_verifier_values(tmp_path: Path, kind: str, name: str, shipped: bool):
    engine = SmallEngine.load(SHIPPED / "proposer" if shipped else checkpoint(tmp_path / "lm"))
    folder = SHIPPED / kind if shipped else checkpoint(tmp_path / kind, kind, seed=2)
    verifier, model = SmallVerifier.load(folder), reference(name, folder)
    traces = [d.trace for d in engine.sample_now([Job(Trace(p), None, 1.0, 5, 80) for p in PROBLEMS])]
    for trace, verdict in zip(traces, verifier.score_now(traces), strict=True):
        prompt = engine.words.prompt(trace.problem.prompt)
        logits = model(torch.tensor([[*prompt, *trace.tokens]])).logits[0]
        if kind == "prm":
            logits = logits[len(prompt) + np.cumsum([len(s.tokens) for s in trace.steps]) - 1, 0]
        assert verdict.scores is not None
        assert np.abs(logits.sigmoid().numpy().ravel() - verdict.scores.steps).max() < 1e-4
