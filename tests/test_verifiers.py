"""Verifiers without a model (likelihood, equations, unit tests), and verifiers of verifiers."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mull.cost import Cost
from mull.drive import Driver, Task
from mull.errors import MullError, settled
from mull.execution import Sandbox
from mull.execution.grader import ProgramGrader
from mull.problems import Problem
from mull.strategies.base import Arm
from mull.trace import Scores, Step, Trace
from mull.verifiers.base import Verdict, Verifier
from mull.verifiers.combine import WAYS, Agreement, Combined, experts
from mull.verifiers.equations import Equations, equations
from mull.verifiers.likelihood import Likelihood, lowest
from mull.verifiers.prm import build
from mull.verifiers.prm.adapter import Unfit, clean, tagged
from mull.verifiers.unit_tests import UnitTests
from scripted import ScriptedEngine, ScriptedVerifier

PROBLEM = Problem("p", "How many?")
CHANCES = st.floats(0, 1, allow_nan=False)


def solution(*steps: str, logprobs: tuple[tuple[float, ...], ...] = ()) -> Trace:
    found = [Step(text, (), logprobs[i] if i < len(logprobs) else ()) for i, text in enumerate(steps)]
    return Trace(PROBLEM, tuple(found), "stop")


def score(verifier: Verifier, *traces: Trace) -> list[Verdict]:
    return asyncio.run(verifier.score(traces))


def values(verdict: Verdict) -> tuple[float, ...]:
    assert verdict.scores is not None, verdict.error
    return verdict.scores.steps


# Likelihood


def test_likelihood_is_the_geometric_mean_chance_of_a_token() -> None:
    trace = solution("a", "b", logprobs=((math.log(0.5),), (math.log(0.125), math.log(0.5))))
    assert values(score(Likelihood(), trace)[0]) == pytest.approx((0.5, (0.5 * 0.125 * 0.5) ** (1 / 3)))
    assert values(score(Likelihood("step"), trace)[0]) == pytest.approx((0.5, (0.125 * 0.5) ** 0.5))
    assert values(score(Likelihood("lowest", 2), trace)[0]) == pytest.approx((0.5, 0.25))


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(-20, 0), min_size=1, max_size=5), min_size=1, max_size=5))
def test_a_longer_trace_keeps_the_values_of_its_steps(logprobs: list[list[float]]) -> None:
    steps = [str(i) for i in range(len(logprobs))]
    given_logprobs = tuple(tuple(each) for each in logprobs)
    for over in ("so far", "step", "lowest"):
        whole = values(score(Likelihood(over, 3), solution(*steps, logprobs=given_logprobs))[0])
        for k in range(1, len(steps) + 1):
            part = values(score(Likelihood(over, 3), solution(*steps[:k], logprobs=given_logprobs[:k]))[0])
            assert part == whole[:k] and all(0 <= v <= 1 for v in part)


@settings(deadline=None)
@given(st.lists(st.floats(-9, 0), min_size=12, max_size=30), st.integers(1, 12))
def test_the_lowest_group_only_falls(logprobs: list[float], group: int) -> None:
    found = [lowest(logprobs[:n], group) for n in range(group, len(logprobs) + 1)]
    assert found == sorted(found, reverse=True)
    assert found[-1] <= math.fsum(logprobs[-group:]) / group


def test_likelihood_without_logprobs_is_unscored() -> None:
    none, half, odd = score(
        Likelihood(),
        solution("a"),
        solution("a", "b", logprobs=((-1.0,),)),
        solution("a", logprobs=((math.nan,),)),
    )
    assert "step 1 has no log-probabilities" in none.error and "step 2" in half.error
    assert odd.scores is None and "is none" in odd.error
    assert score(Likelihood(), Trace(PROBLEM))[0].error == "the trace has no steps"
    with pytest.raises(MullError, match="not 'all'"):
        build({"adapter": "likelihood", "over": "all"})


# Equations


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("She sells 16 - 3 = 13 eggs.", [True]),
        ("That is 9 * $2 = $18, then 2 + 2 = 5.", [True, False]),
        ("13 x 8 / 13 = 8 slices", [True]),
        ("<<5+8=13>>13", [True]),
        ("$\\frac{3}{4} \\times 8 = 6$ and \\frac{\\frac{1}{2}}{2} = 0.25", [True, True]),
        ("2 \\cdot 3 = 6 = 12 \\div 2", [True, True]),
        ("2 * 3 = 6 = 13 / 2", [True, False]),
        ("10 / 3 = 3.33, 10 / 3 = 3.3, 10 / 3 = 3.4", [True, True, False]),
        ("10 / 3 ≈ 3.333", [True]),
        ("1,200 + 34 = 1,234", [True]),
        ("2^10 = 1024 and 2**3 = 9", [True, False]),
        ("(2 + 3) * 4 = 20; -3 + 5 = 2; 2 - -3 = 5", [True, True, True]),
        ("7 − 2 = 5 and 7 – 2 = 4", [True, False]),
        ("13 = 16 - 3", [True]),
        ("1/0 = 5", []),
        ("x = 5, 2x + 3 = 7, x + 3 + 4 = 9, 3 + 4 = y", []),
        ("5 + 3 = 8x, 5 + 3 = 8 + y, f(2) + 1 = 3, a_1 + 2 + 2 = 5", []),
        ("50% = 1 - 0.5 and 100 - 50% = 50", []),
        ("In 2024 = nothing; pages 3-4; 5 = 5", []),
        ("16 eggs - 3 eggs = 13 eggs", []),
        ("2^1000000000 = 3", []),
        ("3 1/2 - 2 = 1 1/2, 3 / 2 = 1 1/2, 1/2 (68) + 10 = 44", []),
        ("$350 000 + $17500 = $367 500 and 400 000 x 3/100 = 12 000", []),
        ("20% of $20 = 0.20 × $20; 3x +4 - 4 = 28 - 4; ¾ x 3/3 = 9/12", []),
        ("Now 2 + 2 = 4\n- 3 + 5 = 2", [True]),
        ("a 2 + 2 = 4; I 2 + 2 = 4; n 2 + 2 = 5", [True, True]),
        ("1 + 1 < 2 + 1 = 3, 4 + 4 = 8!", []),
    ],
)
def test_equations_are_found_and_computed(text: str, expected: list[bool]) -> None:
    assert [each.holds for each in equations(text)] == expected


@settings(deadline=None)
@given(st.integers(-999, 999), st.integers(-999, 999), st.sampled_from("+-*"), st.integers(-3, 3))
def test_an_equation_holds_exactly_when_it_is_right(a: int, b: int, op: str, off: int) -> None:
    right = {"+": a + b, "-": a - b, "*": a * b}[op]
    (found,) = equations(f"So ({a}) {op} ({b}) = {right + off}.")
    assert found.holds == (off == 0)


@settings(deadline=None)
@given(st.text(alphabet="0123456789 +-*/^=().,$%xa{}\\frac\n", max_size=80))
def test_no_text_upsets_the_reader(text: str) -> None:
    equations(text)


def test_steps_are_valued_by_the_share_that_holds() -> None:
    good, bad, none = score(
        Equations(),
        solution("16 - 3 = 13", "So she has them."),
        solution("2 + 2 = 5 and 2 + 1 = 3", "3 * 3 = 9"),
        solution("No numbers here."),
    )
    assert values(good) == (1.0, 1.0) and values(bad) == (0.5, 1.0)
    assert none.scores is None and "no equation" in none.error


def test_equations_of_a_published_set_hold() -> None:
    """GSM8K's own solutions: the few that do not hold are slips of theirs."""
    path = Path(__file__).parent.parent.parent / "shared" / "data" / "gsm8k" / "test.jsonl"
    if not path.exists():
        pytest.skip("the shared data are not here")
    found = [e for line in path.read_text().splitlines() for e in equations(json.loads(line)["answer"])]
    wrong = [(e.left, e.right) for e in found if not e.holds]
    assert len(found) > 4000 and len(wrong) <= 4, wrong


# Unit tests


def program_problem(**meta: str) -> Problem:
    return Problem("inc", 'def inc(x):\n    """One more."""\n', None, {"entry_point": "inc", **meta})


@pytest.fixture(scope="module")
def grader():
    try:
        Sandbox().close()
    except MullError as error:
        pytest.skip(f"no sandbox here: {error}")
    found = ProgramGrader()
    yield found
    found.close()


def test_programs_are_valued_by_the_public_tests_that_they_pass(grader: ProgramGrader) -> None:
    problem = program_problem(tests='["assert inc(1) == 2", "assert inc(0) == 1", "assert inc(-1) == 0"]')
    texts = ["    return x + 1\n", "    return 2 * x if x else 1\n", "    return (\n", " \n"]
    traces = [Trace(problem, (Step(text, ()),), "stop") for text in texts]
    right, half, broken, empty = score(UnitTests(grader), *traces)
    assert values(right) == (1.0,) and values(half) == pytest.approx((2 / 3,)) and values(broken) == (0.0,)
    assert empty.error == "the solution is empty"
    (untested,) = score(UnitTests(grader), Trace(program_problem(), (Step(texts[0], ()),), "stop"))
    assert untested.scores is None and "no public tests" in untested.error


def test_official_tests_are_never_run(grader: ProgramGrader) -> None:
    problem = replace(program_problem(tests='["assert inc(1) == 2"]'), gold="assert inc(1) == 3")
    (verdict,) = score(UnitTests(grader), Trace(problem, (Step("    return x + 1\n", ()),), "stop"))
    assert values(verdict) == (1.0,)


# Combinations


class Fixed:
    """Says what it is told to."""

    def __init__(self, *said: tuple[float, ...] | str, name: str = "fixed", tokens: int = 1) -> None:
        self.said, self.name, self.cost = said, name, Cost(verifier_tokens=tokens)

    async def score(self, traces):
        return [
            Verdict(None, self.cost, each) if isinstance(each, str) else Verdict(Scores(each), self.cost)
            for each in self.said
        ]


TRACE = solution("a", "b")


@pytest.mark.parametrize(
    ("how", "expected"),
    [("mean", (0.5, 0.35)), ("min", (0.2, 0.2)), ("product", (0.16, 0.1)), ("experts", (0.5, 0.2))],
)
def test_combinations(how: str, expected: tuple[float, ...]) -> None:
    (verdict,) = score(Combined([Fixed((0.8, 0.5)), Fixed((0.2, 0.2), tokens=3)], how), TRACE)
    assert values(verdict) == pytest.approx(expected) and verdict.cost == Cost(verifier_tokens=4)


def test_a_value_of_the_whole_stands_beside_every_step() -> None:
    (verdict,) = score(Combined([Fixed((0.8, 0.4)), Fixed((0.5,))], "product"), TRACE)
    assert values(verdict) == pytest.approx((0.4, 0.2))


@settings(deadline=None)
@given(st.sampled_from(sorted(WAYS)), st.lists(CHANCES, min_size=1, max_size=4), st.randoms())
def test_combinations_stay_in_range_and_ignore_order(how: str, chances: list[float], random) -> None:
    found = WAYS[how](chances)
    assert 0 <= found <= 1
    shuffled = random.sample(chances, len(chances))
    assert WAYS[how](shuffled) == pytest.approx(found, abs=1e-9)
    assert WAYS[how](chances[:1]) == pytest.approx(chances[0], abs=1e-12)


@settings(deadline=None)
@given(st.lists(CHANCES, min_size=2, max_size=4), st.integers(0, 3), CHANCES)
def test_combinations_rise_with_each_value(chances: list[float], place: int, new: float) -> None:
    place %= len(chances)
    higher = [max(new, v) if i == place else v for i, v in enumerate(chances)]
    for how in ("mean", "min", "product"):
        assert WAYS[how](higher) >= WAYS[how](chances) - 1e-12


def test_experts_that_are_unsure_change_nothing() -> None:
    assert experts([0.9, 0.5, 0.5]) == pytest.approx(0.9)
    assert experts([0.9, 0.9]) == pytest.approx(81 / 82)
    assert (experts([0.0, 1.0]), experts([0.0, 0.3]), experts([1.0, 0.3])) == (0.5, 0.0, 1.0)


def test_a_missing_value_is_missing_in_the_combination() -> None:
    unscored, lengths, outside = score(
        Combined(
            [Fixed("no step tag", (0.1, 0.2, 0.3), (1.5, 0.5), name="a"), Fixed((1.0,), (0.1, 0.2), (1.0,))]
        ),
        TRACE,
        TRACE,
        TRACE,
    )
    assert (unscored.scores, unscored.error) == (None, "a: no step tag")
    assert unscored.cost == Cost(verifier_tokens=2)
    assert "different numbers of values: 3, 2" in lengths.error and "1.5 is not in [0, 1]" in outside.error


def test_unknown_ways_and_empty_combinations_are_refused() -> None:
    with pytest.raises(MullError, match="mean, min, product, experts"):
        Combined([Fixed((1.0,))], "sum")
    with pytest.raises(MullError, match="no verifiers"):
        Combined([])


def test_agreement_is_the_share_with_the_same_answer() -> None:
    other = Problem("q", "Another?")
    traces = [solution(f"Answer: {n}") for n in (3, 3.0, "+3", 4)] + [solution("nothing")]
    traces.append(Trace(other, (Step("Answer: 4", ()),), "stop"))
    verdicts = score(Agreement(), *traces)
    assert [v.scores and v.scores.steps[0] for v in verdicts] == [0.6, 0.6, 0.6, 0.2, None, 1.0]
    merged = Agreement(same=lambda answers, trace: [a and "one" for a in answers])
    assert [v.scores and v.scores.steps[0] for v in score(merged, *traces)[:5]] == [0.8] * 4 + [None]


def test_agreement_times_tests_picks_as_codet_does() -> None:
    """Three programs that agree on a wrong answer lose to two that pass all tests."""
    traces = [solution(f"Answer: {n}") for n in (1, 1, 1, 2, 2)]
    tests = Fixed((0.25,), (0.25,), (0.25,), (1.0,), (1.0,))
    found = [values(v)[0] for v in score(Combined([Agreement(), tests], "product"), *traces)]
    assert found == pytest.approx([0.15] * 3 + [0.4] * 2)


def test_combinations_serve_a_search() -> None:
    both = Combined([ScriptedVerifier(), ScriptedVerifier(lambda trace, made_up: 1 - made_up)], "mean")
    driver = Driver(ScriptedEngine(), both, seed=1, max_tokens=60)
    (result,) = driver.run([Task(Problem("p", "?", "1"), Arm("beam", 8))])
    assert {v for c in result.candidates if c.scores for v in c.scores.steps} == {0.5}
    assert result.cost.verifier_tokens > 0 and not any("unscored" in event for event in result.events)


# Tables


def test_a_table_names_a_combination() -> None:
    found = build(
        {"adapter": "min", "of": [{"adapter": "equations"}, {"adapter": "likelihood", "over": "step"}]}
    )
    assert found.name == "min of equations, likelihood (step)"
    (verdict,) = score(found, solution("2 + 2 = 4", "1 + 1 = 3", logprobs=((-1.0,), (-0.5,))))
    assert values(verdict) == pytest.approx((math.exp(-1), 0.0))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, "'adapter' is missing"),
        (
            {"adapter": "gut-feeling"},
            "there is no adapter 'gut-feeling'; there are qwen2.5-math-prm, .*equations",
        ),
        ({"adapter": 3}, "'adapter' must be a text"),
        ({"adapter": "equations", "path": "x"}, "unknown field 'path'"),
        ({"adapter": "qwen2.5-math-prm"}, "either 'path' .* or 'url'"),
        ({"adapter": "qwen2.5-math-prm", "path": "a", "url": "b"}, "either 'path' .* or 'url'"),
        ({"adapter": "qwen2.5-math-prm", "url": "http://localhost:1"}, "'tokenizer' is missing"),
        ({"adapter": "mean"}, "'of' is missing"),
        ({"adapter": "mean", "of": []}, "'of' must be a list of verifiers' tables"),
        ({"adapter": "mean", "of": [{"adapter": "nothing"}]}, "there is no adapter 'nothing'"),
        ({"adapter": "judge", "url": "http://localhost:1", "model": "m", "samples": 0}, "'samples' must be"),
        ({"adapter": "judge", "url": "http://localhost:1"}, "'model' is missing"),
        ({"adapter": "protocol", "url": "localhost"}, "no address of a server"),
        ({"adapter": "protocol", "url": "http://localhost", "timeout": -1}, "'timeout' must be a positive"),
        (
            {"adapter": "protocol", "url": "http://localhost", "key_env": "NO_SUCH_KEY"},
            "NO_SUCH_KEY is not set",
        ),
        ({"adapter": "equations", "calibration": "/nowhere.json"}, "cannot read /nowhere.json"),
    ],
)
def test_tables_that_are_wrong_are_refused_in_one_line(table: dict[str, object], said: str) -> None:
    with pytest.raises(MullError, match=said) as caught:
        build(table)
    assert "\n" not in str(caught.value)


def test_what_a_verifier_cannot_judge_is_settled() -> None:
    """It would be so again: a study does not ask for ever."""
    problem = Problem("p", "What is 2 + 2?", "4")
    wordy = Trace(problem, (Step("It is four.\n", ()),), "stop")
    hollow = Trace(problem, (Step("  \n", ()),), "stop")
    asked = [
        (Equations(), wordy),
        (Agreement(), wordy),
        (Likelihood(), wordy),
        (Likelihood(), Trace(problem)),
    ]
    for verifier, trace in asked:
        (verdict,) = asyncio.run(verifier.score([trace]))
        assert verdict.scores is None and settled(verdict.error), verdict.error
    with pytest.raises(Unfit) as empty:
        clean([step.text for step in hollow.steps])
    with pytest.raises(Unfit) as tags:
        tagged((1, 9, 9), 9, "?", ["a"], "<extra_0>")
    assert settled(str(empty.value)) and settled(str(tags.value))
    for passing in (
        "no answer within 3 s",
        "the server's answer is empty",
        "cannot connect",
        "empty completion",
    ):
        assert not settled(passing)
