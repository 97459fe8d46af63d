"""The small engine and verifier: a job's result is its own, bit for bit, and costs are exact."""

import asyncio
import itertools
from pathlib import Path

import numpy as np
import pytest

import mull.engines.attention as attention
import mull.engines.batch as batch
import mull.engines.starts as starts
import mull.tiny
from checkpoints import checkpoint
from mull.cost import Cost
from mull.engines.base import Continuation, Job
from mull.engines.draw import choose, uniforms
from mull.engines.small import SmallEngine
from mull.errors import MullError
from mull.problems import Problem
from mull.tiny.world import stories
from mull.trace import Step, Trace
from mull.verifiers.small import SmallVerifier
from small_vocabulary import IDS

PROBLEMS = [Problem(f"p{i}", s.prompt) for i, s in enumerate(itertools.islice(stories("validation", 3), 40))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("lm"))


@pytest.fixture
def engine(folder: Path) -> SmallEngine:
    return SmallEngine.load(folder)


def job(
    i: int, *, problem: int | None = None, steps: int | None = None, temperature: float = 1.0, cap: int = 60
) -> Job:
    return Job(
        Trace(PROBLEMS[i % len(PROBLEMS) if problem is None else problem]), steps, temperature, 1000 + i, cap
    )


def opened(engine: SmallEngine, problem: int) -> Trace:
    """A trace of two steps that can go on."""
    done = engine.sample_now([job(i, problem=problem, steps=2) for i in range(40)])
    return next(d.trace for d in done if d.trace.open)


def logprobs(done: Continuation) -> np.ndarray:
    return np.array([x for step in done.trace.steps for x in step.logprobs])


def same(a: Continuation, b: Continuation) -> bool:
    return a.trace == b.trace and np.array_equal(logprobs(a), logprobs(b))


def passes(jobs: list[Job], done: list[Continuation]) -> int:
    """How many tokens sampling must compute: one for every different beginning to draw a token after."""
    begun = set()
    for asked, made in zip(jobs, done, strict=True):
        before = len(asked.trace.tokens)
        alike = asked.trace.problem.prompt, asked.temperature, asked.max_tokens, asked.steps
        begun |= {(*alike, made.trace.tokens[:end]) for end in range(before, len(made.trace.tokens))}
    return len(begun)


@pytest.mark.parametrize(("kv_heads", "sharp"), [(0, 1.0), (1, 1.0), (2, 1.0), (4, 1.0), (1, 300.0)])
def test_a_job_alone_equals_the_job_in_a_shuffled_batch(tmp_path: Path, kv_heads: int, sharp: float):
    shipped = Path(mull.tiny.__file__).parent / "checkpoints" / "proposer"
    folder = checkpoint(tmp_path, kv_heads=kv_heads, sharp=sharp) if kv_heads else shipped
    # Problems with many jobs and problems with one; more jobs than lanes.
    jobs = [
        job(i, problem=i % 7 if i < 200 else None, temperature=(1.0, 0.5, 0.0)[i % 3]) for i in range(300)
    ]
    order = np.random.default_rng(0).permutation(300).tolist()
    together = SmallEngine.load(folder, lanes=48).sample_now([jobs[i] for i in order])
    for at in range(0, 300, 9):
        alone = SmallEngine.load(folder).sample_now([jobs[order[at]]])[0]
        assert same(alone, together[at]), at
        assert len(logprobs(alone)) > 0


def test_sharp_attention_takes_the_careful_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    calls = []
    careful = attention.Attention._shift
    monkeypatch.setattr(attention.Attention, "_shift", lambda self, wild: calls.append(careful(self, wild)))
    done = SmallEngine.load(checkpoint(tmp_path, sharp=300.0)).sample_now([job(0)])
    assert calls and np.isfinite(logprobs(done[0])).all()


def test_copies_of_bases_and_shared_bases_give_the_same(engine: SmallEngine, monkeypatch: pytest.MonkeyPatch):
    jobs = [job(i, problem=i % 9) for i in range(90)]
    results = []
    for shared in (1, 4, 1000):
        monkeypatch.setattr(attention, "SHARED", shared)
        results.append(engine.sample_now(jobs))
    for one, two, three in zip(*results, strict=True):
        assert same(one, two) and same(one, three)


def test_lanes_admissions_and_passes_change_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch):
    # Problems with many jobs and with one, caps of all kinds: lanes end and begin at all depths.
    jobs = [job(i, problem=i % 5 if i < 120 else None, cap=5 + 7 * i % 60) for i in range(180)]
    results = []
    for lanes, refill, rows, band in ((96, 4, 768, 256), (7, 100, 1, 0), (40, 1, 100, 10**9)):
        monkeypatch.setattr(batch, "REFILL", refill)
        monkeypatch.setattr(starts, "PREFILL_ROWS", rows)
        monkeypatch.setattr(attention, "BAND", band)
        monkeypatch.setattr(attention, "CHUNK", 1 << rows % 17)
        engine = SmallEngine.load(folder, lanes=lanes)
        results.append(engine.sample_now(jobs))
        prompts = sum(len(engine.words.prompt(p)) - 1 for p in {j.trace.problem.prompt for j in jobs})
        sampled = sum(done.cost.completion_tokens for done in results[-1])
        assert engine.computed_tokens == passes(jobs, results[-1]) + prompts < sampled + prompts
    for one, two, three in zip(*results, strict=True):
        assert same(one, two) and same(one, three)


def test_a_long_prompt_alone_equals_it_among_others():
    # Beyond 448 positions the matrix library adds a product up in pieces, or not, as its other sizes are.
    shipped = Path(mull.tiny.__file__).parent / "checkpoints" / "proposer"
    long = [Problem(f"long {i}", " ".join(p.prompt for p in PROBLEMS[i : i + 12])) for i in range(2)]
    together = SmallEngine.load(shipped)
    assert min(len(together.words.prompt(p.prompt)) for p in long) > 460
    jobs = [Job(Trace(long[i % 2]), None, 1.0, i, 12) for i in range(40)]
    results = together.sample_now(jobs)
    for at in (0, 1, 38):
        assert same(SmallEngine.load(shipped).sample_now([jobs[at]])[0], results[at])


def by_steps(engine: SmallEngine, trace: Trace, cap: int = 60) -> list[Continuation]:
    done: list[Continuation] = []
    while trace.open and len(trace.tokens) < cap:
        done += engine.sample_now([Job(trace, 1, 0.0, 0, cap - len(trace.tokens))])
        trace = done[-1].trace
    return done


@pytest.mark.parametrize("cache_bytes", [1 << 28, 0])
def test_step_by_step_equals_uninterrupted_cached_or_not(folder: Path, cache_bytes: int):
    whole = SmallEngine.load(folder)
    pieces = SmallEngine.load(folder, cache_bytes=cache_bytes)
    for problem in PROBLEMS[:12]:
        (once,) = whole.sample_now([Job(Trace(problem), None, 0.0, 0, 60)])
        bits = by_steps(pieces, Trace(problem))
        assert bits[-1].trace.steps == once.trace.steps
        if len(once.trace.tokens) < 60:  # at the cap the last step may have ended, too
            assert bits[-1].trace.finish == once.trace.finish
        sampled = sum(done.cost.completion_tokens for done in bits)
        assert sampled == once.cost.completion_tokens == len(once.trace.tokens)
        if cache_bytes:
            assert sum(done.cost.flops for done in bits) == pytest.approx(once.cost.flops)
    if cache_bytes:
        assert pieces.computed_tokens == whole.computed_tokens
    else:
        assert pieces.computed_tokens > whole.computed_tokens and len(pieces.prefixes) == 0


def test_a_small_cache_changes_only_what_is_computed(folder: Path):
    large, small = SmallEngine.load(folder), SmallEngine.load(folder, cache_bytes=120_000, lanes=16)
    results = []
    for engine in (large, small):
        traces = [Trace(PROBLEMS[i % 6]) for i in range(60)]
        for round_ in range(3):
            jobs = [Job(t, 1, 1.0, 100 * round_ + i, 40) for i, t in enumerate(traces)]
            traces = [done.trace for done in engine.sample_now(jobs)]
        results.append(traces)
        assert engine.prefixes.bytes <= engine.prefixes.limit
    assert results[0] == results[1]
    assert small.computed_tokens > large.computed_tokens


def test_a_beam_computes_what_differs_and_each_prompt_once(engine: SmallEngine):
    traces, computed, sampled = [Trace(p) for p in PROBLEMS[:4] for _ in range(64)], 0, 0
    for round_ in range(4):
        jobs = [Job(t, 1, 1.0, round_ * 1000 + i, 50) for i, t in enumerate(traces)]
        done = engine.sample_now(jobs)
        computed += passes(jobs, done)
        sampled += sum(d.cost.completion_tokens for d in done)
        still = [d.trace for d in done if d.trace.open]
        traces = [still[i % (len(still) // 2)] for i in range(256)]  # prune half, fork the others
    prompts = sum(len(engine.words.prompt(p.prompt)) - 1 for p in PROBLEMS[:4])
    assert engine.computed_tokens == computed + prompts < sampled + prompts


@pytest.mark.parametrize("lanes", [1, 3, 200])
def test_alike_jobs_share_what_they_draw_alike_and_are_charged_in_full(folder: Path, lanes: int):
    engine = SmallEngine.load(folder, lanes=lanes)
    # Seeds that come twice never part; other limits, steps or temperatures are lanes of their own.
    jobs = [
        Job(Trace(PROBLEMS[0]), (None, 2)[i % 2], (1.0, 0.3)[i % 3 == 0], i % 25, (40, 7)[i % 5 == 0])
        for i in range(150)
    ]
    done = engine.sample_now(jobs)
    prompt = len(engine.words.prompt(PROBLEMS[0].prompt))
    assert engine.computed_tokens == passes(jobs, done) + prompt - 1
    for at in range(0, 150, 7):
        (alone,) = SmallEngine.load(folder).sample_now([jobs[at]])
        assert same(alone, done[at]) and alone.cost.completion_tokens == done[at].cost.completion_tokens
    charged = sum((d.cost for d in done), Cost())
    assert charged.cached_tokens == charged.prompt_tokens - 150 - (prompt - 1)
    assert charged.flops == pytest.approx(
        engine.size.flops(prompt - 1, 0)
        + sum(engine.size.flops(d.cost.completion_tokens, prompt - 1) for d in done)
    )


def test_costs_bill_the_prefix_and_tell_what_was_cached(engine: SmallEngine):
    first, second = engine.sample_now([job(0, problem=0, steps=1), job(1, problem=0, steps=1)])
    prompt = len(engine.words.prompt(PROBLEMS[0].prompt))
    assert {first.cost.prompt_tokens, second.cost.prompt_tokens} == {prompt}
    assert sorted([first.cost.cached_tokens, second.cost.cached_tokens]) == [0, prompt - 1]
    assert first.cost.requests == 1 and first.cost.generations == 0
    start = opened(engine, 0)
    again = engine.sample_now([Job(start, 1, 1.0, 5, 60)])[0].cost
    known = prompt + len(start.tokens)
    assert (again.prompt_tokens, again.cached_tokens) == (known, known - 1)
    assert again.flops == engine.size.flops(again.completion_tokens, known - 1)


def test_a_trace_of_unknown_origin_is_prefilled(folder: Path, engine: SmallEngine):
    start = opened(engine, 3)
    fresh = SmallEngine.load(folder)
    one, two = fresh.sample_now([Job(start, 1, 0.0, 0, 30)] * 2)
    (known,) = engine.sample_now([Job(start, 1, 0.0, 0, 30)])
    assert same(one, two) and same(one, known)
    prefix = len(fresh.words.prompt(start.problem.prompt)) + len(start.tokens)
    assert fresh.computed_tokens == one.cost.completion_tokens + prefix - 1
    told = Trace(PROBLEMS[3], (Step("Ann: 3 + 4 = 7\n", ()),))
    spelt = Trace(PROBLEMS[3], (Step("Ann: 3 + 4 = 7\n", tuple(fresh.words.steps(told)[0])),))
    one, two = fresh.sample_now([Job(told, 1, 0.0, 0, 30), Job(spelt, 1, 0.0, 0, 30)])
    assert one.trace.steps[1:] == two.trace.steps[1:] and one.trace.finish != "error"


def test_caps_and_steps(engine: SmallEngine):
    capped, stepped, ended = engine.sample_now([job(0, cap=5), job(1, steps=2, cap=200), job(2, cap=180)])
    assert capped.trace.finish == "length" and len(capped.trace.tokens) == 5
    assert sum(len(s.tokens) for s in capped.trace.steps) == capped.cost.completion_tokens == 5
    assert stepped.trace.finish in (None, "stop") and len(stepped.trace.steps) <= 2
    for done in (capped, stepped, ended):
        for step in done.trace.steps:
            assert len(step.tokens) == len(step.logprobs) and all(x <= 0 for x in step.logprobs)
            assert step.text == engine.words.text(step.tokens)
        for step in done.trace.steps[:-1]:
            assert step.text.endswith("\n") and "\n" not in step.text[:-1]
    assert engine.sample_now([job(0, cap=0)])[0].trace.finish == "length"
    assert engine.sample_now([job(0, steps=0)])[0].trace == Trace(PROBLEMS[0])
    assert engine.sample_now([]) == []


def test_the_end_token_ends_the_last_step_and_has_no_text(engine: SmallEngine):
    finished = [d.trace for d in engine.sample_now([job(i, cap=200) for i in range(100)]) if d.trace.complete]
    assert finished
    for trace in finished:
        assert trace.tokens[-1] in engine.words.eos and "</s>" not in trace.text
    closed = engine.sample_now([Job(finished[0], None, 1.0, 0, 10)])[0]
    assert closed == Continuation(finished[0], Cost())


def test_bad_jobs_fail_alone(engine: SmallEngine):
    long = Trace(Problem("long", "Ann has 3 apples. " * 80))
    unknown = Trace(Problem("unknown", "Zoë owns 3 llamas.\n"))
    empty = Trace(Problem("empty", ""))
    jobs = [Job(t, None, 1.0, 7, 20) for t in (empty, Trace(PROBLEMS[0]), long, unknown)]
    results = engine.sample_now(jobs)
    assert [d.trace.finish == "error" for d in results] == [True, False, True, False]
    assert "empty" in results[0].trace.error and "256 positions" in results[2].trace.error
    assert same(results[1], engine.sample_now([jobs[1]])[0])


def test_the_context_limit_ends_a_trace_by_length(engine: SmallEngine):
    prompt = "Ann has 3 apples. " * 41
    room = 256 - len(engine.words.prompt(prompt))
    assert 0 < room < 20
    done = engine.sample_now([Job(Trace(Problem("long", prompt)), None, 0.0, 7, 500)])[0]
    assert done.trace.finish in ("length", "stop") and len(done.trace.tokens) <= room


def test_nan_in_one_lane_is_an_error_there_only(engine: SmallEngine):
    # A word that no other prompt has gets a broken embedding.
    word = IDS["▁shells"]
    jobs = [Job(Trace(Problem(f"q{i}", f"Ann has {i} pens.\n")), None, 1.0, i, 30) for i in range(5)]
    expected = engine.sample_now(jobs)
    engine.model.embedding[word] = np.nan
    broken = Job(Trace(Problem("b", "Ann has 3 shells.\n")), None, 1.0, 3, 30)
    results = engine.sample_now([*jobs[:2], broken, *jobs[2:]])
    assert results[2].trace.finish == "error" and "not a number" in results[2].trace.error
    assert all(same(a, b) for a, b in zip(expected, results[:2] + results[3:], strict=True))


def test_draws_follow_the_distribution_and_the_seed():
    seeds = np.arange(20_000, dtype=np.uint64)
    numbers = uniforms(seeds, np.zeros(20_000, np.uint64))
    assert numbers.min() >= 0 and numbers.max() < 1
    assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 0.03
    logits = np.broadcast_to(np.log(np.array([1, 2, 3, 4], np.float32)), (20_000, 4))
    for temperature, shares in ((1.0, [0.1, 0.2, 0.3, 0.4]), (0.5, [1 / 30, 4 / 30, 9 / 30, 16 / 30])):
        chosen, logprob, good = choose(logits, np.full(20_000, temperature), numbers)
        observed, expected = np.bincount(chosen, minlength=4), 20_000 * np.array(shares)
        assert ((observed - expected) ** 2 / expected).sum() < 16.3  # chi-square, 3 degrees, p = 0.001
        assert np.allclose(logprob, np.log([0.1, 0.2, 0.3, 0.4])[chosen], atol=1e-6) and good.all()


def test_not_a_language_model_is_refused(tmp_path: Path, folder: Path):
    with pytest.raises(MullError, match="cannot sample"):
        SmallEngine.load(checkpoint(tmp_path / "prm", "prm"))
    with pytest.raises(MullError, match="not a LlamaForTokenClassification"):
        SmallVerifier.load(folder)
    with pytest.raises(MullError, match="not a checkpoint folder"):
        SmallEngine.load(tmp_path / "nowhere")


@pytest.mark.parametrize("kind", ["prm", "orm"])
def test_scores_alone_in_a_batch_and_step_by_step_are_equal(tmp_path: Path, engine: SmallEngine, kind: str):
    checkpoint(tmp_path, kind, seed=1)
    traces = [d.trace for d in engine.sample_now([job(i, problem=i % 5, cap=80) for i in range(60)])]
    batch = SmallVerifier.load(tmp_path)
    verdicts = asyncio.run(batch.score(traces))
    assert batch.kind == {"prm": "process", "orm": "outcome"}[kind]
    prompts = sum(len(batch.words.prompt(p.prompt)) for p in PROBLEMS[:5])
    solutions = {(t.problem.prompt, tuple(step.tokens for step in t.steps)) for t in traces}
    # Charged is every solution in full, computed every beginning once.
    charged = sum(len(step) for _, steps in solutions for step in steps)
    begun = {(prompt, steps[: n + 1]) for prompt, steps in solutions for n in range(len(steps))}
    computed = sum(len(steps[-1]) for _, steps in begun)
    assert sum(v.cost.verifier_tokens for v in verdicts) == prompts + charged
    assert batch.computed_tokens == prompts + computed < prompts + charged
    for trace, verdict in list(zip(traces, verdicts, strict=True))[::7]:
        assert verdict.scores is not None and all(0 <= x <= 1 for x in verdict.scores.steps)
        assert len(verdict.scores.steps) == (len(trace.steps) if kind == "prm" else 1)
        alone, growing = SmallVerifier.load(tmp_path), SmallVerifier.load(tmp_path)
        assert alone.score_now([trace])[0].scores == verdict.scores
        for steps in range(1, len(trace.steps) + 1):
            end = trace.finish if steps == len(trace.steps) else None
            (last,) = growing.score_now([Trace(trace.problem, trace.steps[:steps], end)])
        assert last.scores == verdict.scores
        assert growing.computed_tokens == alone.computed_tokens
    again = batch.score_now(traces)
    assert [v.scores for v in again] == [v.scores for v in verdicts]
    assert sum((v.cost for v in again), Cost()) == Cost()


def test_the_same_tokens_cut_elsewhere_are_other_steps(tmp_path: Path, engine: SmallEngine):
    checkpoint(tmp_path, "prm", seed=1)
    made = engine.sample_now([job(i, problem=i % 3, cap=80) for i in range(30)])
    fine = next(c.trace for c in made if c.trace.complete and len(c.trace.steps) > 2)
    first, second, *rest = fine.steps
    joined = Step(first.text + second.text, first.tokens + second.tokens)
    coarse = Trace(fine.problem, (joined, *rest), fine.finish)
    alone = [SmallVerifier.load(tmp_path).score_now([trace])[0].scores for trace in (fine, coarse)]
    assert alone[0] is not None and alone[1] is not None
    assert alone[1].steps == pytest.approx(alone[0].steps[1:], abs=1e-6)
    verifier = SmallVerifier.load(tmp_path)
    together = verifier.score_now([fine, coarse])
    assert [v.scores for v in together] == [v.scores for v in verifier.score_now([fine, coarse])] == alone


def test_what_cannot_be_scored_is_said(tmp_path: Path, engine: SmallEngine):
    verifier = SmallVerifier.load(checkpoint(tmp_path, "prm", seed=1))
    good = engine.sample_now([job(0, steps=1)])[0].trace
    bare = Trace(PROBLEMS[1])
    hollow = Trace(PROBLEMS[2], (Step("", ()),))
    verdicts = verifier.score_now([bare, good, hollow])
    assert [v.scores is None for v in verdicts] == [True, False, True]
    assert "no steps" in verdicts[0].error and "step 1 has no tokens" in verdicts[2].error
    verifier.model.embedding[:] = np.nan
    other = engine.sample_now([job(1, steps=1)])[0].trace
    (verdict,) = verifier.score_now([other])
    assert verdict.scores is None and "not a number" in verdict.error


def test_steps_of_another_model_that_cannot_be_spelt_are_unscored(tmp_path: Path, engine: SmallEngine):
    verifier = SmallVerifier.load(checkpoint(tmp_path, "prm", seed=1))
    zoe = Problem("z", "Zoë has 12 oranges. How many oranges does Zoë have?\n")
    known, foreign = Step("Ann: 12 - 2 = 10\n", ()), Step("so x=7 and so on\n", (4, 4, 4))
    traces = [
        Trace(PROBLEMS[0], (known, foreign)),
        Trace(PROBLEMS[0], (known,)),
        Trace(zoe, (known,)),
        Trace(PROBLEMS[0], (Step("Ann:\t12\n", ()),)),
    ]
    unscored, scored, asked, tabbed = verifier.score_now(traces)
    assert unscored.scores is None and unscored.cost == Cost() and verifier.words.unknown == IDS["<unk>"]
    assert unscored.error.startswith("step 2 has 'so', which the verifier's vocabulary cannot spell")
    assert "step 1 has 'Ann:'" in tabbed.error  # a colon alone is no piece
    assert scored.scores is not None and asked.scores is not None, "a prompt may have unknown words"
    assert verifier.words.unspelt("so x=7,\tso 12-2\n") == ("so", "x=7,", "\t", "12-2")
    assert verifier.words.unspelt(PROBLEMS[0].prompt + known.text) == verifier.words.unspelt("") == ()
    # What the model itself sampled is its own, were it the unknown token.
    own = Trace(PROBLEMS[0], (Step("Ann\n", (IDS["Ann"], IDS["<unk>"], IDS["\n"])),))
    assert verifier.score_now([own])[0].scores is not None
