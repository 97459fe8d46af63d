"""Recorded chains of revisions: their plan, what every ratio is worth, what chains do, what they cost."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mull.analysis.families import FAMILIES
from mull.analysis.revisions import Revisions, ratios, revisions
from mull.analysis.run import run_study
from mull.drive import Task
from mull.errors import MullError
from mull.problems import Problem
from mull.select import hierarchical, majority
from mull.strategies import Arm
from mull.study import chains, config, folder, models
from mull.study.config import Source, Study
from mull.study.plan import chain_lengths
from mull.tiny.load import checkpoint
from mull.trace import Candidate, Scores, Step, Trace

LIMIT = 16


def study(**changes) -> Study:
    return replace(
        Study(
            "chains",
            Source(split="validation", count=10),
            reviser="tiny",
            revision=str(checkpoint("orm")),
            larger=str(checkpoint("proposer")),
            pool=4,
            chains=4,
        ),
        **changes,
    )


def made_up(problems: int = 12, seed: int = 0) -> Revisions:
    rng = np.random.default_rng(seed)
    rows = []
    for p in range(problems):
        for c, length in enumerate(chain_lengths(LIMIT)):
            for t in range(length):
                answer = None if rng.random() < 0.1 else str(rng.integers(3))
                score = None if rng.random() < 0.1 else float(np.float32(rng.integers(4) / 4))
                rows.append(
                    (f"p{p}", c, t, answer, answer == "1", score, 0.5, 0.25, 9, 20, 3.0, 5.0, 7.0, 11.0)
                )
    names = ["problem", "chain", "position", "answer", "correct", "score", "score_blind", "prm", "tokens"]
    names += ["verifier_context_tokens", "flops", "context_flops", "verifier_flops", "verifier_context_flops"]
    frame = pl.DataFrame(rows, schema=names, orient="row")
    return revisions(frame, [f"p{p}" for p in range(problems)], LIMIT)


@pytest.mark.parametrize("limit", [4, 16, 64, 256])
def test_the_recorded_chains_hold_every_ratio_of_the_paper(limit: int) -> None:
    lengths = chain_lengths(limit)
    assert list(lengths) == sorted(lengths, reverse=True) and lengths[0] == len(lengths) == limit
    for budget in (1 << i for i in range(limit.bit_length())):
        for count, length in ratios(budget, limit):
            assert count * length == budget
            assert sum(each >= length for each in lengths) >= count


def test_ratios_are_the_papers() -> None:
    assert ratios(8, 256) == ((8, 1), (4, 2), (2, 4), (1, 8))
    assert ratios(256, 256) == ((256, 1), (64, 4), (16, 16), (4, 64), (1, 256))


@pytest.mark.parametrize("selector", ["hierarchical", "majority"])
def test_accuracy_is_the_selectors_own_over_disjoint_groups(selector: str) -> None:
    found = made_up()
    select = {"hierarchical": hierarchical, "majority": majority}[selector]
    for count, length in [(1, 1), (4, 1), (1, 4), (2, 2), (4, 4), (1, 16), (16, 1)]:
        fit = [c for c, each in enumerate(chain_lengths(LIMIT)) if each >= length]
        groups = [fit[i : i + count] for i in range(0, len(fit) - count + 1, count)]
        for p in range(found.problems):
            rows = found.frame.filter(pl.col("problem") == f"p{p}", pl.col("position") < length)
            hits = []
            for group in groups:
                candidates = []
                for row in rows.filter(pl.col("chain").is_in(group)).to_dicts():
                    text = f"{row['chain']} {row['position']}"
                    trace = Trace(Problem(f"p{p}", "?"), (Step(text, ()),), "stop", chain=row["chain"])
                    scores = None if row["score"] is None else Scores((row["score"],))
                    candidates.append(Candidate(trace, row["answer"], scores))
                hits.append(select(f"p{p}", candidates).answer == "1")
            assert found.accuracy(count, length, selector)[p] == pytest.approx(np.mean(hits))  # type: ignore[arg-type]


def test_costs_read_the_prompt_once_and_every_later_context_anew() -> None:
    found = made_up()
    one = found.measure(1, 4)
    assert (one.completion_tokens == 36).all() and (one.generations == 4).all()
    assert (one.verifier_tokens == 36 + 4 * 20).all()
    assert (one.flops == 4 * 3 + 4 * 5 + 4 * 7 + 4 * 11).all()
    wide = found.measure(4, 1, "majority")
    assert (wide.verifier_tokens == 0).all() and (wide.flops == 4 * 3 + 5).all()


def test_transitions_and_positions_count_what_is_there() -> None:
    found = made_up()
    lost, won = found.transitions()
    pairs = sum(length - 1 for length in chain_lengths(LIMIT))
    assert (lost[:, 0] + won[:, 0] == pairs).all()
    frame = found.frame.with_columns(next=pl.col("correct").shift(-1).over("problem", "chain")).drop_nulls(
        "next"
    )
    assert lost[:, 1].sum() == frame.filter(pl.col("correct") & ~pl.col("next")).height
    assert won[:, 1].sum() == frame.filter(~pl.col("correct") & pl.col("next")).height
    late = found.frame.filter(pl.col("position") == 9).group_by("problem", maintain_order=True)
    assert found.by_position()[:, 9] == pytest.approx(
        late.agg(pl.col("correct").mean())["correct"].to_numpy()
    )


def test_what_was_not_recorded_is_refused() -> None:
    with pytest.raises(MullError, match="were not recorded"):
        made_up().accuracy(4, 16)
    with pytest.raises(MullError, match="chains is 5"):
        study(chains=5)
    with pytest.raises(MullError, match="need a reviser"):
        study(reviser=None)
    with pytest.raises(MullError, match="needs a reviser"):
        study(reviser=None, chains=0, arms=(Arm("revise", 4),))


def test_attempts_do_not_depend_on_other_problems(tmp_path: Path) -> None:
    asked = study()
    loaded = models.load(asked)
    problems = config.load_problems("tiny", 3, "validation")
    whole = chains.attempts(loaded.fresh(), asked, problems)
    alone = chains.attempts(loaded.fresh(), asked, problems[1:2])
    assert whole.filter(pl.col("problem") == problems[1].id).equals(alone)
    assert whole.height == 3 * sum(chain_lengths(4))


def test_costs_are_what_the_driver_would_have_spent() -> None:
    asked = study()
    loaded = models.load(asked)
    problems = config.load_problems("tiny", 3, "validation")
    frame = chains.attempts(loaded.fresh(), asked, problems)
    found = revisions(frame, [p.id for p in problems], 4)
    measure = found.measure(1, 4)
    arm = Arm("revise", 4, (("chains", 1),))
    results = loaded.fresh().driver(asked).run([Task(p, arm) for p in problems])
    # Other seeds, so only alike; the exact accounting is in the test above.
    live = sum(r.cost.flops + r.cost.verifier_flops for r in results)
    assert measure.flops.sum() == pytest.approx(live, rel=0.35)


def test_a_study_with_revisions_and_a_larger_model(tmp_path: Path) -> None:
    summary = run_study(study(), tmp_path / "out", workers=1)
    recorded = folder.open_folder(tmp_path / "out")
    assert recorded.models["reviser"].startswith("tiny/reviser@")
    assert {unit.kind for unit in recorded.units} == {"pool", "chains", "larger"}
    assert config.read(tmp_path / "out" / "study.toml") == recorded.study
    assert len(summary["revisions"]["pass_at_1"]) == 4
    assert {row["family"] for row in summary["families"]} == {
        "search",
        "revisions",
        "revisions_majority",
        "joint",
    }
    kinds = {(row["family"], row["difficulty"], row["allocating"]) for row in summary["families"]}
    assert kinds == set(product(FAMILIES, ("oracle", "predicted", "charged"), (False, True)))
    for row in summary["families"]:
        if not row["allocating"]:  # a charged policy pays for its probes out of the same budget
            pairs = zip(row["generations"], row["budgets"], strict=True)
            assert all(spent <= budget + 1e-9 for spent, budget in pairs), row
    parameters = summary["proposer"]["parameters"]
    assert summary["larger"]["parameters"] == parameters > 200_000
    assert summary["proposer"]["pretraining_tokens"] > 50_000_000
    assert summary["revisions"]["pretraining_tokens"] == summary["proposer"]["pretraining_tokens"]
    assert summary["revisions"]["finetuning_tokens"] > 10_000_000
    again = run_study(study(), tmp_path / "out", workers=1)
    assert again == summary
