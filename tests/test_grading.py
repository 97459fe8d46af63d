"""Grading: the settings' questions, other graders' own examples. No process is started
without math-verify; what needs it is skipped where it is not installed."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mull.errors import MullError
from mull.grading import PRESETS, MathVerify, Settings, equal, preset
from mull.grading.equal import decided

PAIRS = Path(__file__).parent.parent.parent / "shared" / "data" / "grader_pairs" / "grader_pairs.jsonl"
MATH = PRESETS["math"]
needs_math_verify = pytest.mark.skipif(
    importlib.util.find_spec("math_verify") is None, reason="math-verify is not installed (extra 'math')"
)


@pytest.fixture(scope="module")
def workers() -> Iterator[MathVerify]:
    with MathVerify(1) as found:
        yield found


def pairs() -> list[dict]:
    if not PAIRS.exists():
        pytest.skip(f"{PAIRS} is not there")
    return [json.loads(line) for line in PAIRS.read_text(encoding="utf-8").splitlines()]


SOURCES = {
    "huggingface/Math-Verify": "math-verify",
    "huggingface/open-r1": "math-verify",
    "huggingface/trl": "math-verify",
    "hendrycks/math": "hendrycks",
    "NVIDIA/NeMo-Skills": "nemo-skills",
}


def implied(pair: dict) -> Settings:
    """The settings under which a pair's source asserts it."""
    grader = preset(SOURCES[pair["source"]])
    if "match_types" in pair:
        kinds = {"latex": "latex", "expr": "plain"}
        grader = replace(grader, notations=tuple(kinds[kind] for kind in pair["match_types"]))
    if "precision" in pair:
        grader = replace(grader, decimals=pair["precision"])
    if "allow_set_relation_comp" in pair:
        grader = replace(grader, relations="sets" if pair["allow_set_relation_comp"] else "gold")
    if "strict" in pair:
        grader = replace(grader, variables="named" if pair["strict"] else "renamed")
    return grader


#: Pairs that do not come out as their source asserts, by (gold, predicted), and why. There are none.
EXCEPTIONS: dict[tuple[str, str], str] = {}


@needs_math_verify
def test_other_graders_pairs_agree_under_the_settings_their_source_implies(workers: MathVerify) -> None:
    found = pairs()
    assert len(found) == 308
    wrong = set()
    for pair in found:
        sides = (pair["gold"], pair["pred"])
        for gold, predicted in [sides, sides[::-1]] if pair.get("symmetric") else [sides]:
            if bool(equal(gold, predicted, implied(pair), workers)) != pair["equal"]:
                wrong.add(sides)
    assert wrong == set(EXCEPTIONS)


#: Where the default differs from another grader's example on answers without prose, and why.
DEFAULT_DIFFERS = {
    ("1000.99", "1000,99"): "decimal commas need comma='decimal'",
    ("1,22", "1.22"): "decimal commas need comma='decimal'",
    ("0,111", "0.111"): "decimal commas need comma='decimal'",
    (r"$(\frac{3}{5},\frac{8}{3}]$", "$(0.6,2.6667]$"): "its source rounds to two places",
    ("$(1,3)$", "${1,3}$"): "a set is no tuple; brackets='loose' lets it be",
    (
        r"$x \in [-2,7]$",
        r"$-2 \\le x \\le 7$",
    ): "its source sees the two alike only with the relation as gold",
    (r"$\\boxed{35 cm} ++++++ \\boxed{4}$", "${35 cm,4}$"): "a text with two boxes, not an answer",
    (
        r"\n\n\[ \boxed{p = -1 \text{ and } p = \dfrac{15}{8}} \]",
        r"$p=-1,p=\frac{15}{8}$",
    ): r"a text with literal \n in it, not an answer",
    (
        "$$(3, 3), (1, 1)$$",
        r"$$\boxed{(3, 3)} \text{ for part (a) and } \boxed{(1, 1)}$$",
    ): "a sentence, not an answer",
    ("$f(x)$", "$f(y)$"): "variables='renamed' in its source",
    (
        r"$1 - \frac{1}{\mathrm{e}}$",
        r"$1 + \frac{1}{\mathrm{e}}$",
    ): "a known defect of its source: they differ",
    ("4, 10, -2", "10, 4, -2"): "order='kept' in its source",
    ("4, .1, 2", "0.1, 4, 2"): "order='kept' in its source",
}


@needs_math_verify
def test_the_default_agrees_on_answers_without_prose_but_for_policy(workers: MathVerify) -> None:
    bare = [pair for pair in pairs() if pair["bare"]]
    wrong = {
        (pair["gold"], pair["pred"])
        for pair in bare
        if bool(equal(pair["gold"], pair["pred"], MATH, workers)) != pair["equal"]
    }
    assert wrong == set(DEFAULT_DIFFERS)


@needs_math_verify
@pytest.mark.parametrize("name", ["math", "prm800k", "hendrycks", "exact", "nemo-skills"])
def test_grading_is_symmetric_and_reflexive(workers: MathVerify, name: str) -> None:
    grader = preset(name)
    for pair in pairs():
        if pair["bare"]:
            gold, predicted = pair["gold"], pair["pred"]
            one, other = equal(gold, predicted, grader, workers), equal(predicted, gold, grader, workers)
            assert bool(one) == bool(other), (gold, predicted)
            assert equal(gold, gold, grader) and equal(predicted, predicted, grader)


NUMBERS = st.one_of(
    st.integers(-2000, 2000).map(str),
    st.decimals(-50, 50, places=3).map(str),
    st.tuples(st.integers(-9, 9), st.integers(1, 9)).map(lambda t: rf"\frac{{{t[0]}}}{{{t[1]}}}"),
    st.tuples(st.integers(-9, 9), st.integers(1, 9)).map(lambda t: f"{t[0]}/{t[1]}"),
    st.integers(0, 99).map(lambda n: rf"{n}\%"),
    st.sampled_from(["x", "A", "yes", r"\text{No}", "10 cm", r"1\frac{1}{2}", "12_5", r"\infty"]),
)
LISTS = st.tuples(
    st.sampled_from([("", ""), ("(", ")"), ("[", ")"), (r"\{", r"\}")]),
    st.lists(NUMBERS, min_size=2, max_size=4),
).map(lambda t: t[0][0] + ", ".join(t[1]) + t[0][1])
GRADERS = st.sampled_from(
    [
        MATH,
        replace(MATH, order="kept", brackets="loose", percent="either", units="kept"),
        replace(MATH, percent="value", decimals=1, integers="literal", fractions="literal", bases="value"),
    ]
)


@settings(deadline=None)
@given(st.one_of(NUMBERS, LISTS), st.one_of(NUMBERS, LISTS), GRADERS)
def test_the_cheap_form_is_symmetric_and_reflexive(a: str, b: str, grader: Settings) -> None:
    one, other = decided(a, b, grader), decided(b, a, grader)
    assert (one and one.equal) == (other and other.equal)
    assert decided(a, a, grader)
    assert decided(a, rf"$\boxed{{{a}}}$.", grader)


@settings(deadline=None)
@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_has_a_form(a: str, b: str) -> None:
    for grader in PRESETS.values():
        verdict = decided(a, b, grader)
        assert verdict is None or isinstance(verdict.equal, bool)
        if a.strip():
            assert decided(a, a, grader)


@pytest.mark.parametrize(
    ("gold", "predicted", "question"),
    [
        ("1, 2", "2, 1", {"order": ("free", "kept")}),
        ("(1, 2)", "1, 2", {"brackets": ("loose", "kinds")}),
        (r"\{1, 2\}", "1, 2", {"brackets": ("kinds", "literal")}),
        ("10", r"10\%", {"percent": ("ignored", "value")}),
        ("0.1", "10%", {"percent": ("value", "ignored")}),
        ("0.1", "10%", {"percent": ("either", "kept")}),
        ("1/3", "0.333333", {"relative": (5e-6, 0.0)}),
        ("2.67", "8/3", {"decimals": (2, None)}),
        ("10", r"10\text{ cm}^2", {"units": ("ignored", "kept")}),
        ("10", r"\$10", {"units": ("ignored", "kept")}),
        ("1/2", r"\frac{2}{4}", {"fractions": ("value", "literal")}),
        ("4", "2^2", {"integers": ("value", "literal")}),
        ("3/2", r"1\frac{1}{2}", {"mixed": ("mixed", "product")}),
        ("204_5", "204", {"bases": ("digits", "value")}),
        ("1.22", "1,22", {"comma": ("decimal", "thousands")}),
        ("Even", r"\text{even}", {"case": ("folded", "kept")}),
        ("5", "x = 5", {"assignments": ("unwrapped", "kept")}),
        ("(2, 3]", r"2 < x \le 3", {"relations": ("sets", "kept")}),
        ("x", "y", {"variables": ("renamed", "named")}),
    ],
)
def test_every_question_is_a_setting(gold: str, predicted: str, question: dict) -> None:
    [(name, (yes, no))] = question.items()
    form = replace(MATH, reach="form")
    assert equal(gold, predicted, replace(form, **{name: yes}))
    assert not equal(gold, predicted, replace(form, **{name: no}))


@pytest.mark.parametrize(
    "same",
    [
        [
            "1000",
            "1,000",
            "1 000",
            r"1{,}000",
            r"1,\!000",
            "1000.0",
            "+1000",
            r"10^3",
            r"1\times 10^{3}",
            "1e3",
        ],
        [
            "0.5",
            ".5",
            "1/2",
            r"\frac12",
            r"\dfrac{1}{2}",
            r"\tfrac 1 2",
            "$1/2$",
            r"x = \frac{1}{2}",
            "½",
            "50e-2",
        ],
        ["-3/4", r"-\frac{3}{4}", r"\frac{-3}{4}", "-0.75", "−0.75", r"\left(-\frac{3}{4}\right)", "- 3/4"],
        ["90", r"90^\circ", r"90^{\circ}", "90°", "90 degrees", r"90\text{ degrees}"],
        [
            r"1\pm\sqrt{2}",
            r"1+\sqrt2, 1-\sqrt2",
            r"x=1-\sqrt{2} \text{ or } x=1+\sqrt{2}",
            r"\{1\pm\sqrt 2\}",
        ],
        ["(3, 4]", r"\left(3,4\right]", r"x\in(3,4]", r"3<x\leq 4", r"4\ge x>3"],
        ["(1, 2)", r"(x, y) = (1, 2)", "x=1, y=2"],
        ["x=1, y=2", "y = 2, x = 1"],
        ["x=1, y=2", "2, 1"],
        ["C", "(C)", r"\text{C}", r"\textbf{(C)}", r"\mathrm{C}"],
        [r"2x+1", "1+2x", r"y = 2x + 1", r"1+2\cdot x"],
        ["12", "12th", r"12^{\text{th}}", "12^{th}", "12th grade"],
        [r"\frac{1}{3}", r"\frac{1}{3}\approx 0.333"],
    ],
)
def test_spellings_of_one_answer_have_one_form(same: list[str]) -> None:
    grader = replace(MATH, reach="form")
    assert all(equal(a, b, grader) for a in same for b in same)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("0.0000672", "0.0000673"),
        ("1000000", "1000001"),
        ("1, 2", "12"),
        ("1,234", "1, 234"),
        ("(1, 2)", "[1, 2]"),
        ("x=1, y=2", "x=2, y=1"),
        ("52_8", "52_7"),
        ("x > 3", "x < 3"),
        ("5", "-5"),
        ("A", "a"),
        ("7 = 11a+c", "11a+c"),
        ("1, 1, 2", "1, 3, 2"),
        (r"\infty", "5"),
    ],
)
def test_the_form_keeps_different_answers_apart(a: str, b: str) -> None:
    assert not equal(a, b, replace(MATH, reach="form"))


@pytest.mark.parametrize(
    ("gold", "predicted", "right"),
    [
        ("1/2", "2/4", False),  # unreduced
        (r"\frac{1}{2}", "1/2", True),
        ("0.5", "1/2", True),
        ("4", "2^2", False),  # exactly one integer
        ("4", r"\frac{8}{2}", False),
        ("4", "4.0", True),
        ("1,000", "1000", True),
        ("10", r"10\%", True),
        ("10", r"10\text{ cm}", True),
        ("(1,2)", "[1,2]", False),
        ("(1,2)", "(1, 2.0)", True),
        ("(1,2)", "(1,2,3)", False),
        ("1,2", "2,1", False),
        ("x=5", "5", True),  # at most two characters before the sign
        (r"\text{Even}", "even", True),
        ("1/3", "0.333333333", False),
        ("a+b+c", "c+b+a", False),  # more than two letters are not compared symbolically
        ("3 million", r"3\times10^6", True),
    ],
)
def test_the_papers_grader(gold: str, predicted: str, right: bool) -> None:
    verdict = decided(gold, predicted, preset("prm800k"))
    assert verdict is not None and verdict.equal is right


@needs_math_verify
@pytest.mark.parametrize(
    ("gold", "predicted", "name", "right"),
    [
        (r"\sqrt{12}", r"2\sqrt{3}", "prm800k", True),
        ("x^2+2x+1", "(x+1)^2", "prm800k", True),
        (r"\frac{1-k^2}{2k^2}", r"\frac{1}{2}", "prm800k", False),
        ("a+b+c", "c+b+a", "math", True),
        ("x^2+2x+1", "(x+1)^2", "math", True),
        (r"(\sqrt{8}, \frac{1}{2})", r"(2\sqrt{2}, 0.5)", "math", True),
        (r"\sqrt{8}, \sqrt{27}", r"3\sqrt{3}, 2\sqrt{2}", "math", True),
        ("2x - y + 3 = 0", "y = 2x + 3", "math", True),
        (r"\frac{20000}{\pi}", "6366.1977", "math", True),
        (r"\frac{20000}{\pi}", "6366", "math", False),
        ("x + 1", "y + 1", "math", False),
        ("sqrt(3)/2", r"\frac{\sqrt{3}}{2}", "math", True),
    ],
)
def test_math_verify_decides_the_rest(
    workers: MathVerify, gold: str, predicted: str, name: str, right: bool
) -> None:
    assert bool(equal(gold, predicted, preset(name), workers)) is right


def test_no_answer_is_equal_to_nothing() -> None:
    for grader in PRESETS.values():
        for nothing in (None, "", " \n"):
            assert equal("5", nothing, grader).by == "no answer"
        assert not equal("", "", grader)


def test_long_answers_are_compared_as_text() -> None:
    long = "x + " * 400 + "1"
    assert equal(long, long.replace(" ", "  "))
    assert equal(long, long.replace(" ", "")).by == "too long"
    assert not equal(long, long.replace(" ", ""))


def test_the_cheap_form_works_without_the_extra_and_the_rest_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    assert equal("1/2", "0.5") and not equal("1", "2")
    with pytest.raises(MullError, match=r"pip install 'mull\[math\]'"):
        equal(r"\sqrt{8}", r"2\sqrt{2}", workers=MathVerify(1))
    assert equal(r"\sqrt{8}", r"2\sqrt{2}", replace(MATH, missing="form")).by == "form"


def test_grading_imports_no_algebra() -> None:
    code = (
        "import sys, mull.grading; sys.exit(any(m in sys.modules for m in ('sympy', 'math_verify', 'numpy')))"
    )
    source = Path(__file__).parent.parent / "src"
    env = {**os.environ, "PYTHONPATH": str(source)}
    assert subprocess.run([sys.executable, "-c", code], env=env, timeout=120).returncode == 0


@pytest.mark.parametrize("name", ["order", "percent", "reach", "notations"])
def test_a_value_that_no_question_knows_is_an_error(name: str) -> None:
    wrong = ("html",) if name == "notations" else "maybe"
    with pytest.raises(MullError, match=name):
        Settings(**{name: wrong})
    with pytest.raises(MullError, match="known: math, prm800k"):
        preset("nobody")
