"""A replay over arrays is the live run on recorded samples; and what is built on that."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mull.cli import main
from mull.errors import MullError
from mull.pools import Asked, import_pool, read_pool, write_pool
from mull.replay import Recorded, live, replay, rules
from mull.replay.compare import beside, mixed, versus
from mull.replay.controllers import candidates, learned_width_depth
from mull.replay.entries import parse, table
from mull.replay.learn import learned_marginal
from mull.replay.ledger import Ledger, Values, held_out, splits
from mull.replay.recorded import Tally
from mull.strategies import Arm, strategies
from mull.study import bootstrap

BOINF = Path(__file__).parent.parent.parent / "shared" / "data" / "boinf"


def pool_file(path: Path, problems: int = 6, samples: int = 24, seed: int = 0, kinds: int = 5) -> Path:
    """Few different answers and lengths, so that ties abound; with scores and log-probabilities."""
    rng = np.random.default_rng(seed)
    rows = []
    for p in range(problems):
        share = rng.dirichlet(np.full(kinds, 0.8))
        for s in range(samples):
            answer = int(rng.choice(kinds, p=share))
            tokens = int(rng.choice([0, 5, 16, 16, 17, 40, 90]))
            rows.append(
                {
                    "problem": f"q{p}",
                    "sample": s,
                    "answer": None if rng.random() < 0.1 else str(answer),
                    "gold": "0",
                    "tokens": tokens,
                    "logprob": -float(rng.random()) * tokens if tokens else None,
                    "scores": {"orm": float(rng.integers(0, 6)) / 5},
                }
            )
    frame = pl.DataFrame(rows).with_columns(correct=(pl.col("answer") == pl.col("gold")).fill_null(False))
    write_pool(frame, path)
    return path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return Recorded.of(read_pool(pool_file(tmp_path_factory.mktemp("pool") / "pool.parquet")), step=16)


ARMS = [
    Arm(name, budget, tuple(params.items()))
    for name, params in [
        ("majority", {}),
        ("best_of_n", {}),
        ("best_of_n_weighted", {}),
        ("agreement", {}),
        ("shortest_first", {}),
        ("shortest_first", {"k": 3}),
        ("adaptive_consistency", {}),
        ("adaptive_consistency", {"threshold": 0.8, "batch": 3}),
        ("early_stopping", {"window": 3}),
        ("early_stopping", {"window": 1}),
        ("bayes_stop", {}),
        ("bayes_stop", {"threshold": 0.7, "rest": 0.5, "batch": 2}),
        ("confidence_vote", {"warmup": 4}),
        ("confidence_vote", {"consensus": 0.6, "drop": 0.5}),
        ("score_stop", {"price": 0.02}),
        ("score_stop", {"price": 0.001, "least": 4}),
        ("width_depth", {}),
        ("width_depth", {"effort": 1.0, "keep_high": 0.5, "width_high": 5.0}),
        ("marginal", {}),
        ("marginal", {"price": 0.12, "patience": 4}),
        ("marginal", {"cap": 30, "price": 0.02}),
        ("marginal", {"cap": 1, "price": 0.02}),
    ]
    for budget in (1, 7, 16)
]


@pytest.mark.parametrize("arm", ARMS, ids=str)
def test_replay_is_the_live_run(recorded: Recorded, arm: Arm) -> None:
    orders = recorded.orders(5, 16, seed=1)
    here, there = replay(recorded.drawn(orders), arm), live(recorded, arm, orders)
    for field in ("answer", "right", "generations", "tokens"):
        np.testing.assert_array_equal(getattr(here, field), getattr(there, field), err_msg=field)


def test_every_rule_is_a_strategy_and_is_compared() -> None:
    assert set(rules()) <= set(strategies())
    assert {arm.strategy for arm in ARMS} == set(rules())


def test_a_tally_is_a_count_of_the_ballots_so_far() -> None:
    ballots = np.random.default_rng(0).integers(-1, 4, (12, 50)).astype(np.int16)
    found = Tally.of(ballots, 4)
    for column, row in np.ndindex(50, 12):
        votes = Counter(b for b in ballots[: row + 1, column].tolist() if b >= 0)
        ranked = sorted(votes, key=lambda b: (-votes[b], b))
        counts = [votes[b] for b in ranked] + [0, 0]
        assert found.leader[row, column] == (ranked[0] if ranked else -1)
        assert (found.top[row, column], found.second[row, column]) == tuple(counts[:2])


@pytest.mark.parametrize("arm", [a for a in ARMS if a.budget == 16], ids=str)
def test_a_rule_sees_only_what_it_has_paid_for(recorded: Recorded, arm: Arm) -> None:
    drawn = recorded.drawn(recorded.orders(20, 16, seed=2))
    before = replay(drawn, arm)
    unseen = np.arange(16)[:, None] >= before.generations.ravel()
    rng = np.random.default_rng(0)
    other = replace(
        drawn,
        answers=np.where(unseen, rng.integers(0, 2, unseen.shape), drawn.answers).astype(np.int16),
        tokens=np.where(unseen, 7, drawn.tokens),
        scores=np.where(unseen, 1.0, drawn.scores),
        confidence=np.where(unseen, 1 << 19, drawn.confidence),
    )
    after = replay(other, arm)
    for field in ("answer", "generations", "tokens"):
        np.testing.assert_array_equal(getattr(before, field), getattr(after, field))
    assert (before.tokens <= drawn.tokens.sum(axis=0).reshape(before.tokens.shape)).all()


@pytest.mark.parametrize("learner", [learned_marginal(16, 0.05), learned_width_depth(16, 0.01)])
def test_learners_look_at_training_problems_only(recorded: Recorded, learner: object) -> None:
    train = np.arange(6) < 3
    chosen = learner(Ledger(recorded.draw(10, 16, seed=0)), train)  # type: ignore[operator]
    wrong = recorded.right.copy()
    wrong[~train] = ~wrong[~train]
    longer = np.where(train[:, None], recorded.tokens, recorded.tokens * 3)
    other = replace(recorded, right=wrong, tokens=longer)
    assert learner(Ledger(other.draw(10, 16, seed=0)), train) == chosen  # type: ignore[operator]


def test_every_split_measures_every_problem_once(recorded: Recorded) -> None:
    halves = list(splits(7, 5))
    assert len(halves) == 10 and all((a ^ b).all() for a, b in zip(halves[::2], halves[1::2], strict=True))
    ledger = Ledger(recorded.draw(8, 16, seed=0))
    arm = Arm("majority", 16)
    found = held_out(ledger, lambda ledger, train: arm, 3)
    np.testing.assert_allclose(found.values.right, ledger.values(arm).right)
    assert found.chosen == {arm: 6}


def test_controllers_are_the_same_every_time_and_differ() -> None:
    first = candidates(16)
    assert first == candidates(16) and len(set(first)) == len(first)
    assert all(len({arm.params for arm in arms}) == len(arms) for arms in first)


def test_a_line_mixes_neighbours_and_never_reaches_below_its_start() -> None:
    def values(right: float, tokens: float) -> Values:
        return Values(np.full(4, right), np.full(4, tokens), np.full(4, 1.0))

    line = [values(0.5, 10.0), values(0.7, 30.0)]
    half = mixed(line, 20.0)
    assert half is not None and half.right.mean() == pytest.approx(0.6) and half.tokens.mean() == 20
    assert mixed(line, 9.0) is None and mixed(line, 99.0) is line[1]
    shares = bootstrap.weights(4, 50)
    found = beside(
        line, [("a", values(0.65, 20.0)), ("b", values(0.6, 25.0)), ("c", values(0.66, 40.0))], shares
    )
    assert [(b.rule, b.below) for b in found] == [("a", True), ("c", False)]
    assert versus(line[0], line[1], shares).saving.mean == 3


def test_replay_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pool = str(pool_file(tmp_path / "pool.parquet"))
    assert main(["replay", pool, "--json", "--splits", "2", "--draws", "50", "--runs", "5"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {row["strategy"] for row in found["rules"]} >= set(rules())
    for row in found["rules"]:
        assert row["ci95"][0] <= row["accuracy"] <= row["ci95"][1]
        assert 1 <= row["generations"] <= row["budget"] and row["tokens"] > 0
    assert main(["replay", pool, "--rules", "majority@8, early_stopping(window=2)@8", "--draws", "50"]) == 0
    assert "early_stopping(window=2)@8" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("nonsense", "there is no rule 'nonsense'"),
        ("majority(x", "cannot be read"),
        ("majority(k=3)", "has no parameter 'k'"),
        ("early_stopping(window)", "must be name=value"),
        ("majority@99", "needs 99 samples"),
        ("majority@0", "at least 1"),
        ("learned_marginal(cost=0.1)", "takes one parameter"),
        (",", "no rule in"),
    ],
)
def test_replay_command_refuses_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rules: str, said: str
) -> None:
    pool = str(pool_file(tmp_path / "pool.parquet", problems=2))
    assert main(["replay", pool, "--rules", rules]) == 1
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1


def test_rules_are_read_as_written() -> None:
    assert parse("majority@4, early_stopping(window=3),marginal(price=0.1, cap=5)@8", 16) == [
        Arm("majority", 4),
        Arm("early_stopping", 16, (("window", 3),)),
        Arm("marginal", 8, (("price", 0.1), ("cap", 5))),
    ]


def test_pools_without_what_a_rule_needs_say_so(tmp_path: Path) -> None:
    frame = pl.DataFrame({"problem": ["a"] * 3, "answer": ["1", "2", "1"], "correct": [True, False, True]})
    write_pool(frame, tmp_path / "plain.parquet")
    plain = Recorded.of(read_pool(tmp_path / "plain.parquet"))
    drawn = plain.draw(1, 3, seed=0)
    found = table(Ledger(drawn), [Arm("majority", 1)], splits=1, draws=10)
    assert found["mean_tokens"] is None and found["rules"][0]["tokens"] is None
    for name in ("confidence_vote", "score_stop"):
        with pytest.raises(MullError, match="the pool has none"):
            replay(drawn, Arm(name, 3))
    with pytest.raises(MullError, match="cannot be replayed"):
        replay(drawn, Arm("beam", 4))
    with pytest.raises(MullError, match="3 were drawn"):
        replay(drawn, Arm("majority", 4))


@pytest.mark.skipif(not BOINF.is_dir(), reason="no ../shared/data/boinf here")
def test_recorded_reasoning_models_vote_as_documented(tmp_path: Path) -> None:
    source = BOINF / "analysis_gpqa_diamond_gpt-oss-20b.jsonl.gz"
    import_pool(Asked(source), "boinf", tmp_path / "pool.parquet")
    ledger = Ledger(Recorded.of(read_pool(tmp_path / "pool.parquet")).draw(60, 64, seed=0))
    for n, expected in ((1, 0.638), (4, 0.693), (16, 0.714), (64, 0.717)):
        assert ledger.values(Arm("majority", n)).right.mean() == pytest.approx(expected, abs=0.012)
    adaptive = ledger.values(Arm("adaptive_consistency", 64))
    assert adaptive.right.mean() == pytest.approx(0.717, abs=0.012)
    assert adaptive.tokens.mean() < 0.5 * ledger.values(Arm("majority", 64)).tokens.mean()


@pytest.mark.skipif(not BOINF.is_dir(), reason="no ../shared/data/boinf here")
def test_replay_is_the_live_run_on_a_real_pool(tmp_path: Path) -> None:
    source = BOINF / "analysis_aime2025_LIMO-v2.jsonl.gz"
    import_pool(Asked(source), "boinf", tmp_path / "pool.parquet")
    recorded = Recorded.of(read_pool(tmp_path / "pool.parquet"), step=1024)
    orders = recorded.orders(1, 16, seed=3)
    for arm in (
        Arm("marginal", 16, (("cap", 20000),)),
        Arm("width_depth", 16),
        Arm("adaptive_consistency", 16),
    ):
        here, there = replay(recorded.drawn(orders), arm), live(recorded, arm, orders)
        for field in ("answer", "right", "generations", "tokens"):
            np.testing.assert_array_equal(
                getattr(here, field), getattr(there, field), err_msg=f"{arm} {field}"
            )
