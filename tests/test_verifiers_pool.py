"""Calibration on labelled pools: folds by problem, curves, and a pool recorded by others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mull.calibrate import calibrate
from mull.errors import MullError
from mull.pools import Asked, Info, import_pool, read_pool
from mull.pools.data import PoolData
from mull.pools.schema import Layout
from mull.verifiers.calibration import Calibration, calibration_curve, expected_error

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"


def pool(folder: Path, problems: int = 200, samples: int = 8, seed: int = 0) -> PoolData:
    """Scores that are the cube of the chance, some missing, some samples unjudged, and step scores."""
    rng = np.random.default_rng(seed)
    chance = rng.beta(1, 1, (problems, samples))
    right = rng.random(chance.shape) < chance
    rows = []
    for p in range(problems):
        for s in range(samples):
            said = float(chance[p, s] ** 3)
            rows.append(
                {
                    "problem": f"p{p:03}",
                    "sample": s,
                    "answer": str(int(right[p, s])),
                    "correct": None if (p + s) % 29 == 0 else bool(right[p, s]),
                    "scores": {"orm": None if (p * s) % 31 == 7 else said},
                    "step_scores": {"prm": [1.0, said]},
                }
            )
    frame = pl.DataFrame(rows, schema_overrides={"scores": pl.Struct({"orm": pl.Float64})})
    layout = Layout(scores=("orm",), step_scores=("prm",))
    for name, kind in layout.schema.items():
        if name not in frame.columns:
            frame = frame.with_columns(pl.lit(None, kind).alias(name))
    frame = frame.select(pl.col(name).cast(kind) for name, kind in layout.schema.items())
    path = folder / "pool.parquet"
    frame.write_parquet(path, metadata=Info("made up", "samples", {"orm": "unit"}).to_metadata())
    return read_pool(path)


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_calibration_helps_on_problems_it_has_not_seen(tmp_path: Path, method) -> None:
    found = calibrate(pool(tmp_path), "orm", method, name="my verifier")
    assert found.errors[0] > 0.15 and found.errors[1] < 0.06
    assert found.brier[1] < found.brier[0] - 0.03
    assert found.calibration.verifier == "my verifier" and 1400 < found.calibration.samples < 1600
    assert sum(b.samples for b in found.after) == found.calibration.samples
    found.calibration.save(tmp_path / "c.json")
    assert Calibration.load(tmp_path / "c.json") == found.calibration
    told = json.loads(json.dumps(found.to_dict()))
    assert told["ece"]["after"] == found.errors[1] and told["after"][0].keys() >= {"score", "right", "low"}


def test_step_scores_are_aggregated_first(tmp_path: Path) -> None:
    made = pool(tmp_path)
    last, least = (calibrate(made, "prm", aggregation=how) for how in ("last", "min"))
    assert last.calibration == least.calibration  # the first step's value is 1 throughout
    assert calibrate(made, "prm", aggregation="mean").calibration != last.calibration


def test_a_problem_never_calibrates_itself(tmp_path: Path) -> None:
    """Labels that the scores know nothing of: isotonic fits them in the sample, and out of fold does not."""
    made = pool(tmp_path, problems=40, samples=4)
    rng = np.random.default_rng(1)
    scores = rng.random(made.correct.shape).astype(np.float32)
    noise = made.with_scores(noise=scores)
    found = calibrate(noise, "noise")
    used = noise.judged
    inside = found.calibration(scores[used].astype(float))
    own = np.mean((inside - noise.correct[used]) ** 2)
    assert own < found.brier[1] - 0.01


def test_what_cannot_be_fitted_is_refused(tmp_path: Path) -> None:
    made = pool(tmp_path, problems=20)
    with pytest.raises(MullError, match="no scores 'judge'; it has: orm, prm"):
        calibrate(made, "judge")
    with pytest.raises(MullError, match="folds must be from 2 to the number of problems"):
        calibrate(made, "orm", folds=21)


def test_a_recorded_pool(tmp_path: Path) -> None:
    """Qwen2.5-Math-RM's logits on 100 problems: near calibrated as they are, and no less so after."""
    folder = SHARED / "qwen25math_rm8"
    if not folder.exists():
        pytest.skip("the shared data are not here")
    import_pool(Asked(folder), "qwen25math_rm8", tmp_path / "pool.parquet")
    made = read_pool(tmp_path / "pool.parquet")
    (name,) = made.scores
    for method in ("isotonic", "platt"):
        found = calibrate(made, name, method)
        print(method, "ECE", found.errors, "Brier", found.brier)
        assert found.errors[0] == pytest.approx(0.0385, abs=1e-4) and found.errors[1] < 0.06
        assert found.brier[1] < found.brier[0] + 0.01
        chances = found.calibration(made.scores[name][made.judged])
        inside = expected_error(calibration_curve(chances, made.correct[made.judged]))
        assert inside < (1e-9 if method == "isotonic" else 0.05)
