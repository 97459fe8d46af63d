"""Calibration: isotonic and Platt's fits, curves, and calibrated verifiers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mull.errors import MullError
from mull.problems import Problem
from mull.trace import Scores, Step, Trace
from mull.verifiers.base import Verdict
from mull.verifiers.calibrated import Calibrated
from mull.verifiers.calibration import (
    Calibration,
    calibration_curve,
    expected_error,
    fit,
    isotonic,
    log_odds,
    platt,
    sigmoid,
)
from mull.verifiers.prm import build

SAMPLES = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=40).filter(
    lambda pairs: len({right for _, right in pairs}) == 2
)


def split(pairs: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.array(pairs, float).T
    return x, y


@pytest.mark.parametrize("method", ["isotonic", "platt"])
@settings(deadline=None)
@given(SAMPLES)
def test_the_order_of_scores_is_kept(method, pairs) -> None:
    x, y = split(pairs)
    chances = fit(x, y, method)(np.sort(x))
    assert (np.diff(chances) >= -1e-12).all() and ((chances >= 0) & (chances <= 1)).all()
    between = fit(x, y, method)(np.linspace(0, 1, 101))
    assert (np.diff(between) >= -1e-12).all()


@settings(deadline=None)
@given(SAMPLES)
def test_isotonic_is_the_minimax_solution(pairs) -> None:
    """Its value at a point is the max over starts below of the min over ends above of the mean between."""
    x, y = split(pairs)
    found = fit(x, y)
    known = np.unique(x)
    for point in known:
        best = max(
            min(y[(x >= low) & (x <= high)].mean() for high in known[known >= point])
            for low in known[known <= point]
        )
        assert found(point) == pytest.approx(best, abs=1e-9)


@settings(deadline=None)
@given(SAMPLES)
def test_isotonic_is_right_on_average_at_each_of_its_levels(pairs) -> None:
    x, y = split(pairs)
    chances = fit(x, y)(x)
    for level in np.unique(chances.round(9)):
        assert y[np.isclose(chances, level, atol=1e-8)].mean() == pytest.approx(level, abs=1e-6)


def test_isotonic_by_hand() -> None:
    points = isotonic(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.0, 1.0, 0.0, 1.0]))
    assert points == ((0.1, 0.0), (0.2, 0.5), (0.3, 0.5), (0.4, 1.0))
    found = Calibration("isotonic", points)
    assert found([0.0, 0.15, 0.25, 0.35, 0.9]).tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1])


@settings(max_examples=20, deadline=None)
@given(st.floats(0.2, 3), st.floats(-2, 2), st.integers(0, 2**31))
def test_platt_recovers_known_parameters(slope: float, shift: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    odds = rng.normal(0, 2, 20_000)
    y = (rng.random(len(odds)) < sigmoid(slope * odds + shift)).astype(float)
    chance = sigmoid(slope * odds + shift)
    design = np.stack([odds, np.ones_like(odds)], 1)
    error = np.sqrt(np.diag(np.linalg.inv((design * (chance * (1 - chance))[:, None]).T @ design)))
    found = platt(odds, y)
    assert abs(found[0] - slope) < 6 * error[0] and abs(found[1] - shift) < 6 * error[1]


@settings(deadline=None)
@given(SAMPLES)
def test_platt_is_at_the_minimum(pairs) -> None:
    x, y = split(pairs)
    odds = log_odds(x)
    if np.ptp(odds) < 1e-3:
        return
    good, bad = y.sum(), (1 - y).sum()
    target = np.where(y == 1, (good + 1) / (good + 2), 1 / (bad + 2))
    slope, shift = platt(odds, y)
    gap = sigmoid(slope * odds + shift) - target
    assert abs(gap.sum()) < 1e-4 and abs((gap * odds).sum()) < 1e-3


def test_scores_that_say_the_opposite_are_flattened_and_told() -> None:
    x = np.linspace(0.05, 0.95, 200)
    found = fit(x, x < 0.5, "platt")
    assert found.slope == 0 and found.notes["slope"] < 0 and found([0.1, 0.9]) == pytest.approx([0.5, 0.5])
    assert np.ptp(fit(x, x < 0.5)([0.1, 0.9])) == 0


def test_calibration_mends_what_is_miscalibrated() -> None:
    rng = np.random.default_rng(0)
    chance = rng.random(8000)
    right = rng.random(8000) < chance
    said = chance**3  # in the right order, and far too low
    before = expected_error(calibration_curve(said[4000:], right[4000:]))
    assert before > 0.2
    for method in ("isotonic", "platt"):
        found = fit(said[:4000], right[:4000], method)
        after = expected_error(calibration_curve(found(said[4000:]), right[4000:]))
        assert after < (0.04 if method == "isotonic" else 0.08) < before


def test_a_curve_by_hand() -> None:
    curve = calibration_curve([0.05, 0.1, 0.95, 1.0, np.nan], [0, 1, 1, 1, 0], bins=2)
    assert [(b.samples, round(b.score, 3), b.right) for b in curve] == [(2, 0.075, 0.5), (2, 0.975, 1.0)]
    assert all(b.low <= b.right <= b.high and b.low >= 0 and b.high <= 1 for b in curve)
    assert expected_error(curve) == pytest.approx((0.425 + 0.025) / 2)
    even = calibration_curve([0.1, 0.2, 0.3, 0.4, 0.5], [0, 0, 1, 1, 1], bins=2, even=True)
    assert [b.samples for b in even] == [3, 2]
    assert np.isnan(expected_error([]))


@settings(deadline=None)
@given(SAMPLES, st.integers(1, 12), st.booleans())
def test_every_sample_is_in_one_bin(pairs, bins: int, even: bool) -> None:
    x, y = split(pairs)
    curve = calibration_curve(x, y, bins, even=even)
    assert sum(b.samples for b in curve) == len(x) and len(curve) <= bins
    assert sum(b.samples * b.right for b in curve) == pytest.approx(y.sum())
    assert 0 <= expected_error(curve) <= 1


@pytest.mark.parametrize(
    ("scores", "right", "said"),
    [
        ([0.5, 0.6], [1, 1], "right and samples that are wrong"),
        ([], [], "right and samples that are wrong"),
        ([0.5], [1, 0], "1 scores do not fit 2 labels"),
        ([0.5, 1.5], [1, 0], r"scores in \[0, 1\]"),
        ([0.5, 0.5], [1, 2], "labels that are right or wrong"),
    ],
)
def test_labels_that_do_not_do_are_refused(scores, right, said: str) -> None:
    with pytest.raises(MullError, match=said):
        fit(scores, right)
    with pytest.raises(MullError, match="there is no calibration 'spline'"):
        fit([0.1, 0.2], [0, 1], "spline")


# Saved, and wrapped around a verifier


class Said:
    """A verifier that says the number in a step's text."""

    name = "said"

    async def score(self, traces):
        return [
            Verdict(None, error="no step tag")
            if not trace.steps
            else Verdict(Scores(tuple(float(s.text) for s in trace.steps)))
            for trace in traces
        ]


def trace(*steps: float) -> Trace:
    return Trace(Problem("p", "?"), tuple(Step(str(x), ()) for x in steps), "stop")


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_a_saved_calibration_is_the_same(tmp_path: Path, method) -> None:
    found = fit([0.1, 0.4, 0.5, 0.9], [0, 1, 0, 1], method, verifier="said")
    found.save(tmp_path / "c.json")
    again = Calibration.load(tmp_path / "c.json")
    assert again == found and again.samples == 4
    x = np.linspace(0, 1, 11)
    assert (again(x) == found(x)).all()
    verdicts = asyncio.run(Calibrated(Said(), again).score([trace(0.1, 0.9), trace(), trace(0.5, 1.5)]))
    assert verdicts[0].scores == Scores(tuple(found([0.1, 0.9]).tolist()))
    assert (verdicts[1].scores, verdicts[1].error) == (None, "no step tag")
    assert verdicts[2].scores is None and "1.5" in verdicts[2].error
    assert Calibrated(Said(), again).name == f"said, {method}"


def test_a_calibration_of_another_verifier_is_refused() -> None:
    with pytest.raises(MullError, match="fitted for verifier 'other', not for 'said'"):
        Calibrated(Said(), fit([0.1, 0.9], [0, 1], verifier="other"))


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        "[]",
        "{}",
        json.dumps({"mull_calibration": 1, "method": "isotonic", "points": []}),
        json.dumps({"mull_calibration": 1, "method": "isotonic", "points": [[0.1, 0.9], [0.2, 0.1]]}),
        json.dumps({"mull_calibration": 1, "method": "platt", "points": [], "slope": -1.0}),
        json.dumps({"mull_calibration": 1, "method": "isotonic", "points": [[0, 0]], "more": 1}),
    ],
)
def test_files_that_are_no_calibration_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(MullError, match="is no calibration of mull's"):
        Calibration.load(tmp_path / "c.json")


def test_other_versions_are_refused(tmp_path: Path) -> None:
    found = fit([0.1, 0.9], [0, 1])
    found.save(tmp_path / "c.json")
    text = (tmp_path / "c.json").read_text().replace('"mull_calibration": 1', '"mull_calibration": 2')
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(MullError, match="of version 2; this mull reads 1"):
        Calibration.load(tmp_path / "c.json")


def test_a_table_names_a_calibration(tmp_path: Path) -> None:
    fit([0.0, 1.0, 1.0], [0, 0, 1], verifier="equations").save(tmp_path / "c.json")
    found = build({"adapter": "equations", "calibration": str(tmp_path / "c.json")})
    verdicts = asyncio.run(found.score([Trace(Problem("p", "?"), (Step("1 + 1 = 2", ()),), "stop")]))
    assert verdicts[0].scores == Scores((0.5,))
