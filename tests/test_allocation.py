"""Allocation across problems: exact tables, a greedy rule near the optimum, plans that keep their budgets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mull.allocation import Model, Stream, fit, greedy_plan, live, replayed, stream_plan
from mull.allocation import lengths as length_module
from mull.allocation.exact import Shared, Votes, index
from mull.allocation.greedy import greedy
from mull.allocation.index import indices
from mull.allocation.paths import Paths
from mull.allocation.protocol import Plan, Report, Sampled
from mull.allocation.streams import learned_prices, streamed
from mull.allocation.tables import mixed, states, tables
from mull.allocation.text import TOKENS
from mull.allocation.types import SPREADS, counted, grid
from mull.allocation.types import fit as fit_prior
from mull.drive import Driver
from mull.engines.small import SmallEngine
from mull.errors import MullError
from mull.pools import Recording, read_pool, record, write_pool
from mull.problems import Problem
from mull.replay import Recorded
from mull.study.pools import Floats
from mull.tiny.load import checkpoint
from mull.tiny.load import problems as small_problems
from scripted import ScriptedEngine

MOST = 16


def pool_file(path: Path, problems: int = 12, samples: int = 20, seed: int = 0) -> Path:
    """Easy, hard and hopeless problems; some samples without an answer, some of no length."""
    rng = np.random.default_rng(seed)
    rows = []
    for p in range(problems):
        share = 0.6 * rng.dirichlet(np.full(4, 0.7)) + np.array([0.4, 0.0, 0.0, 0.0])
        size = int(rng.choice([20, 60, 200]))
        for s in range(samples):
            answer = int(rng.choice(4, p=share))
            blank = rng.random() < 0.08
            rows.append(
                {
                    "problem": f"q{p}",
                    "sample": s,
                    "answer": None if blank else str(answer),
                    "correct": not blank and answer == 0,
                    "gold": "0",
                    "tokens": int(rng.integers(0, size)),
                    "prompt": f"What is {p} times {size}?",
                }
            )
    write_pool(pl.DataFrame(rows), path)
    return path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return Recorded.of(read_pool(pool_file(tmp_path_factory.mktemp("pool") / "pool.parquet")))


@pytest.fixture(scope="module")
def model(recorded: Recorded) -> Model:
    return fit(recorded, np.arange(12) < 6, most=MOST, limit=0)


@pytest.fixture(scope="module", params=[0, 1, 2])
def lifted(model: Model, request: pytest.FixtureRequest) -> Model:
    return replace(model, slope=-2.0).lifted(request.param)


# --- the tables are exact


@pytest.mark.parametrize("seed", range(3))
def test_tables_are_the_enumeration_of_all_votes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shares = grid()
    weights = np.zeros(len(shares))
    picked = rng.choice(len(shares), 6, replace=False)
    weights[picked] = rng.dirichlet(np.ones(6))
    chain = Votes(tuple((float(weights[i]), *map(float, shares[i])) for i in picked))
    found = tables(MOST)
    right, up, beside = mixed(found, weights[None])
    here: dict[tuple[int, ...], float] = {(): 1.0}
    for n in range(1, 7):
        after: dict[tuple[int, ...], float] = {}
        for state, chance in here.items():
            for part, to in chain.moves(state):
                after[to] = after.get(to, 0.0) + chance * part
        here = after
        cells: dict[int, Floats] = {}
        for state, chance in here.items():
            top, second = (*state, 0)[:2]
            sums = cells.setdefault(
                int(found.states.of(np.array(n), np.array(top), np.array(second))), np.zeros(4)
            )
            sums[:2] += chance, chance * chain.value(state)
            for part, to in chain.moves(state):
                if to[0] > top:
                    sums[2] += chance * part
                elif (*to, 0)[1] > second:
                    sums[3] += chance * part
        assert sum(s[0] for s in cells.values()) == pytest.approx(1.0)
        for cell, sums in cells.items():
            expected = sums[1:] / sums[0]
            np.testing.assert_allclose([right[0, cell], up[0, cell], beside[0, cell]], expected, atol=1e-5)


def test_states_number_every_possible_vote_once() -> None:
    known = states(9)
    votes = {tuple(v) for v in known.votes.tolist()}
    assert len(votes) == len(known.votes)
    assert all(top >= second and top + second <= n and (top or not n) for n, top, second in votes)
    n, top, second = known.votes.T
    np.testing.assert_array_equal(known.of(n, top, second), np.arange(len(n)))


def test_an_index_is_that_of_the_exact_chain_where_the_chain_has_no_more_to_tell() -> None:
    """With two answers in all, (n, top, second) is the whole state, so both look at the same problem."""
    place = int(np.argmax(SPREADS[:, 0]))  # nearly all wrong answers are the same one
    shares = grid().reshape(-1, len(SPREADS), 4)[:, place]
    weights = np.zeros((len(shares), len(SPREADS)))
    weights[[5, 9], place] = 0.4, 0.6
    few = 7
    found = indices(tables(few), weights.ravel()[None])
    chain = Votes(((0.4, *map(float, shares[5])), (0.6, *map(float, shares[9]))))
    for state in [(), (1,), (2, 1), (2, 2), (3, 2)]:
        n, (top, second) = sum(state), (*state, 0, 0)[:2]
        cell = int(found.states.of(np.array(n), np.array(top), np.array(second)))
        expected = index(chain, state, few - n)
        assert found.index[0, cell] == pytest.approx(expected, rel=0.05, abs=2e-4)


# --- the greedy rule against the optimum


class Line:
    """A problem whose chance of a right answer after n samples is known beforehand."""

    start = 0

    def __init__(self, values: list[float]) -> None:
        self.values = values

    def value(self, state: int) -> float:
        return self.values[min(state, len(self.values) - 1)]

    def moves(self, state: int) -> list[tuple[float, int]]:
        return [(1.0, state + 1)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=5), min_size=2, max_size=4),
    st.integers(0, 8),
)
def test_where_gains_are_concave_greedy_is_optimal(gains: list[list[int]], budget: int) -> None:
    lines = [Line([float(v) / 100 for v in np.cumsum([0, *sorted(row, reverse=True)])]) for row in gains]
    shared = Shared(lines, [1] * len(lines), [1.0] * len(lines))
    assert shared.greedy(budget) == pytest.approx(shared.optimum(budget), abs=1e-12)


def test_look_ahead_sees_over_a_threshold() -> None:
    step, slope = Line([0.0, 0.0, 0.0, 0.9]), Line([0.0, 0.1, 0.2, 0.3])
    assert index(step, 0, 3) == pytest.approx(0.3) and index(slope, 0, 3) == pytest.approx(0.1)
    shared = Shared([step, slope], [1, 1], [1.0, 1.0])
    assert shared.greedy(3) == shared.optimum(3) == pytest.approx(0.9)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6))
def test_greedy_loses_little_against_the_optimum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    chains = []
    for _ in range(int(rng.integers(2, 4))):
        rows = [(float(w), *map(float, rng.dirichlet([1.2, 0.8, 0.5, 0.3]))) for w in rng.dirichlet([1, 1])]
        chains.append(Votes(tuple(rows)))  # type: ignore[arg-type]
    costs = [int(c) for c in rng.integers(1, 4, len(chains))]
    weights = [float(w) for w in rng.choice([1.0, 1.0, 3.0], len(chains))]
    shared = Shared(chains, costs, weights)
    budget = 10 if len(chains) == 2 else 7
    best, reached = shared.optimum(budget), shared.greedy(budget)
    print(f"{len(chains)} problems, budget {budget}: optimum {best:.4f}, greedy {reached:.4f}")
    assert reached <= best + 1e-9
    assert reached >= 0.9 * best


# --- more votes can make it worse


@pytest.mark.parametrize("share", [5, 4, 3])  # log-odds of a right answer -0.9, -1.5, -2.25
def test_a_majority_that_goes_wrong_is_not_paid_for(share: int) -> None:
    """One wrong answer is given more often than the right one: every further vote makes the majority
    worse."""
    place = int(np.argmax(SPREADS[:, 0]))
    weights = np.zeros(len(grid()))
    weights[share * len(SPREADS) + place] = 1.0
    found = indices(tables(MOST), weights[None])
    first = found.states.place[1, 1, 0]
    ahead = [float(found.ahead(k)[0, first]) for k in range(0, 15, 2)]
    assert ahead == sorted(ahead, reverse=True) and ahead[-1] < ahead[0]
    n, top, second = found.states.votes.T
    lone = (n >= 1) & (top > second) & (n < MOST)  # not a tie: there the leader is drawn by lot
    assert (found.index[0, lone & (top - second == 1) & (n == 1)] <= 0).all()
    assert found.index[0, 0] > 0  # the first sample is worth its price all the same


def test_no_index_is_above_0_where_no_number_of_votes_helps(model: Model) -> None:
    found = model.indices
    helps = np.zeros(found.right.shape, bool)
    for more in range(1, MOST + 1):
        helps |= np.nan_to_num(found.ahead(more), nan=-1.0) > found.right
    assert (found.index[~helps] <= 0).all() and (~helps).any() and helps.any()


# --- one protocol: live, replayed, and all runs at once


def played(plan: Plan, recorded: Recorded, orders: np.ndarray) -> Report:
    return replayed(plan, recorded, orders)


@pytest.mark.parametrize("budget", [1, 50, 400, 1500, 10**6])
def test_the_sorted_greedy_is_the_plan(recorded: Recorded, lifted: Model, budget: int) -> None:
    orders = recorded.orders(3, MOST, seed=1)
    paths = Paths.of(recorded.drawn(orders), 0, MOST)
    found = greedy(lifted.worth(paths.seen.at(slice(0, MOST))), paths.tokens, [budget])
    for run, order in enumerate(orders):
        report = played(greedy_plan(lifted, recorded.names, budget, longest=10**6), recorded, order)
        assert [g.tokens for g in report] == found.tokens[0, run].tolist()
        assert [g.samples for g in report] == found.begun[0, run].tolist()
        for row, given_ in enumerate(report):
            leader = int(paths.leader[found.whole[0, run, row], run, row])
            assert given_.answer == (recorded.texts[row][leader] if leader >= 0 else None)
        assert sum(g.tokens for g in report) <= budget


@pytest.mark.parametrize("limit", [0, 30])
def test_a_limit_on_solutions_is_the_same_in_both(recorded: Recorded, model: Model, limit: int) -> None:
    limited = replace(model, limit=limit)
    orders = recorded.orders(2, MOST, seed=3)
    paths = Paths.of(recorded.drawn(orders), limit, MOST)
    found = greedy(limited.worth(paths.seen.at(slice(0, MOST))), paths.tokens, [600])
    for run, order in enumerate(orders):
        report = played(greedy_plan(limited, recorded.names, 600, longest=10**6), recorded, order)
        assert [g.tokens for g in report] == found.tokens[0, run].tolist()


@pytest.mark.parametrize("budget", [12, 13, 400, 1500])
def test_reading_the_texts_is_charged(recorded: Recorded, model: Model, budget: int) -> None:
    mean = np.linspace(2.0, 6.0, 12)
    hinted = replace(model, slope=-2.0)
    orders = recorded.orders(2, MOST, seed=4)
    paths = Paths.of(recorded.drawn(orders), 0, MOST)
    worths = hinted.worth(paths.seen.at(slice(0, MOST)), mean)
    found = greedy(worths, paths.tokens, [budget - 12 * TOKENS])
    for run, order in enumerate(orders):
        plan = greedy_plan(hinted, recorded.names, budget, longest=10**6, mean=mean)
        report = played(plan, recorded, order)
        assert [g.tokens for g in report] == (found.tokens[0, run] + TOKENS).tolist()
        assert sum(g.tokens for g in report) <= budget
        few = stream_plan(hinted, recorded.names, Stream(budget / 12, 1e-9, 12), longest=10**6, mean=mean)
        spent = [g.tokens for g in played(few, recorded, order)]
        assert sum(spent) <= budget and spent[0] >= TOKENS


@pytest.mark.parametrize("count", [None, 12, 20])
def test_the_stream_over_arrays_is_the_plan(recorded: Recorded, lifted: Model, count: int | None) -> None:
    orders = recorded.orders(3, MOST, seed=2)
    paths = Paths.of(recorded.drawn(orders), 0, MOST)
    worths = lifted.worth(paths.seen.at(slice(0, MOST)))
    stream = Stream(110.0, learned_prices(worths, paths.tokens, [110.0])[0], count, credit=150.0, rate=0.2)
    found = streamed(worths, paths.tokens, np.arange(12), stream)
    for run, order in enumerate(orders):
        report = played(stream_plan(lifted, recorded.names, stream, longest=10**6), recorded, order)
        assert [g.tokens for g in report] == found.tokens[run].tolist()
        spent = np.cumsum([g.tokens for g in report])
        if count is None:
            assert (spent <= 150 + 110 * np.arange(1, 13)).all()
        else:
            assert spent[-1] <= 110 * count


def test_a_learned_price_spends_the_average(recorded: Recorded, model: Model) -> None:
    paths = Paths.of(recorded.draw(50, MOST, seed=8), 0, MOST)
    worths = model.worth(paths.seen.at(slice(0, MOST)))
    averages = [80.0, 150.0, 250.0]
    prices = learned_prices(worths, paths.tokens, averages)
    assert prices == sorted(prices, reverse=True)
    for average, price in zip(averages, prices, strict=True):
        spent = []
        for least in (price * (1 + 1e-12), price):
            on = np.logical_and.accumulate((worths >= least) & (worths > 0), axis=0)
            spent.append(float((on * paths.tokens).sum(axis=0).mean()))
        assert spent[0] <= average < spent[1] < 1.25 * average


def test_a_stream_holds_its_average(recorded: Recorded, model: Model) -> None:
    names = [f"{name}-{i}" for i in range(20) for name in recorded.names]
    rng = np.random.default_rng(0)
    many = np.concatenate([recorded.orders(1, MOST, seed=i)[0] for i in range(20)])
    big = replace(
        recorded,
        names=tuple(names),
        answers=np.tile(recorded.answers, (20, 1)),
        texts=recorded.texts * 20,
        right=np.tile(recorded.right, (20, 1)),
        tokens=np.tile(recorded.tokens, (20, 1)) + rng.integers(0, 5, (240, 20)),
        rank=np.tile(recorded.rank, (20, 1)),
    )
    free = played(stream_plan(model, names, Stream(1e6, 0.0, 240), longest=10**6), big, many)
    average = sum(g.tokens for g in free) / 240 * 0.7
    for price in (1e-7, 1e-3):  # far too low, far too high
        stream = Stream(average, price, 240, credit=20 * average, rate=0.1)
        report = played(stream_plan(model, names, stream, longest=10**6), big, many)
        spent = sum(g.tokens for g in report)
        assert 0.8 * average * 240 <= spent <= average * 240


def test_a_replay_of_a_recording_is_the_live_run(tmp_path: Path, model: Model) -> None:
    problems = tuple(Problem(f"p{i}", f"question {i}", "1") for i in range(8))
    engine = ScriptedEngine(kinds=3, least=1)
    record(Recording(problems, engine, MOST, seed=7, max_tokens=40), tmp_path / "pool.parquet")
    recorded = Recorded.of(read_pool(tmp_path / "pool.parquet"))
    assert recorded.names == tuple(p.id for p in problems)
    orders = np.tile(np.arange(MOST), (8, 1))
    names = [p.id for p in problems]
    costs, mean = np.arange(8.0), np.linspace(1.0, 4.0, 8)
    for make in (
        lambda: greedy_plan(model, names, 150, longest=40),
        lambda: greedy_plan(model, names, 300, longest=40, width=5),
        lambda: greedy_plan(replace(model, limit=9), names, 200, longest=40),
        lambda: greedy_plan(model, names, 200, longest=40, costs=costs),
        lambda: greedy_plan(replace(model, slope=-2.0), names, 200, longest=40, mean=mean),
        lambda: stream_plan(model, names, Stream(30.0, 1e-3, 8, 40.0), longest=40),
        lambda: stream_plan(model, names, Stream(30.0, 1e-3, None, 40.0), longest=40, weights=costs),
        lambda: stream_plan(model, names, Stream(30.0, 1e-3, 8, 40.0), longest=40, mean=mean),
    ):
        driver = Driver(ScriptedEngine(kinds=3, least=1), seed=7, max_tokens=40)
        here, there = live(make(), problems, driver), replayed(make(), recorded, orders)
        assert here == there
        reading = sum(g.tokens for g in here) - driver.engine.tokens  # type: ignore[attr-defined]
        assert reading in (0, 8 * TOKENS)


def test_in_the_small_world_a_replay_is_the_live_run(tmp_path: Path, model: Model) -> None:
    problems = small_problems(count=5)
    engine = SmallEngine.load(checkpoint("proposer"))
    record(Recording(problems, engine, 6, seed=3, max_tokens=120), tmp_path / "pool.parquet")
    recorded = Recorded.of(read_pool(tmp_path / "pool.parquet"))
    names = [problem.id for problem in problems]
    six = fit(recorded, np.ones(5, bool), most=6, limit=0)
    orders = np.tile(np.arange(6), (5, 1))
    for width in (1, 3):
        plan = {"budget": int(recorded.tokens.mean() * 12), "longest": 120, "width": width}
        driver = Driver(engine.fresh(), seed=3, max_tokens=120)
        here = live(greedy_plan(six, names, **plan), problems, driver)
        assert here == replayed(greedy_plan(six, names, **plan), recorded, orders)
        assert len({given_.samples for given_ in here}) > 1


def test_a_plan_sees_only_what_it_has_paid_for(recorded: Recorded, model: Model) -> None:
    order = recorded.orders(1, MOST, seed=4)[0]
    before = played(greedy_plan(model, recorded.names, 900, longest=10**6), recorded, order)
    answers, tokens = recorded.answers.copy(), recorded.tokens.copy()
    for row, given_ in enumerate(before):
        unseen = order[row, given_.samples :]
        answers[row, unseen], tokens[row, unseen] = 0, 1
    other = replace(recorded, answers=answers, tokens=tokens, right=~recorded.right)
    assert played(greedy_plan(model, recorded.names, 900, longest=10**6), other, order) == before


def test_the_budget_holds_whatever_solutions_cost(model: Model) -> None:
    names = [f"p{i}" for i in range(5)]
    for width in (1, 3):
        plan = greedy_plan(model, names, 1000, longest=300, width=width)
        rng, spent, draw = np.random.default_rng(0), 0, next(plan)
        try:
            while True:
                reply = []
                for _, count in draw.requests:
                    sizes = np.minimum(rng.integers(1, 600, count), draw.limit).tolist()
                    spent += sum(sizes)
                    reply.append(
                        [Sampled(None if s == draw.limit else str(rng.integers(3)), s) for s in sizes]
                    )
                draw = plan.send(reply)
        except StopIteration as stop:
            assert spent == sum(g.tokens for g in stop.value) <= 1000


# --- consequence


@settings(max_examples=25, deadline=None)
@given(st.floats(1e-9, 1e12))
def test_a_constant_cost_is_the_plain_rule_exactly(recorded: Recorded, model: Model, cost: float) -> None:
    order = recorded.orders(1, MOST, seed=5)[0]
    plain = played(greedy_plan(model, recorded.names, 700, longest=10**6), recorded, order)
    same = greedy_plan(model, recorded.names, 700, longest=10**6, costs=[cost] * 12)
    assert played(same, recorded, order) == plain


def test_a_dearer_mistake_gets_more_and_a_free_one_nothing(recorded: Recorded, model: Model) -> None:
    paths = Paths.of(recorded.draw(40, MOST, seed=6), 0, MOST)
    worths = model.worth(paths.seen.at(slice(0, MOST)))
    plain = greedy(worths, paths.tokens, [1200]).tokens[0].mean(axis=0)
    for row in range(12):
        dear = np.where(np.arange(12) == row, 1.0, 0.2)
        assert greedy(worths * dear, paths.tokens, [1200]).tokens[0].mean(axis=0)[row] >= plain[row]
        free = np.where(np.arange(12) == row, 0.0, 1.0)
        assert (greedy(worths * free, paths.tokens, [1200]).tokens[0][:, row] == 0).all()


# --- what is learned


def test_a_prior_finds_the_types_that_problems_were_drawn_from() -> None:
    rng = np.random.default_rng(0)
    answers = np.concatenate([rng.random((150, 40)) < 0.95, rng.random((50, 40)) < 0.25]).astype(int)
    right = np.tile([False, True], (200, 1))
    prior = fit_prior(counted(answers, right))
    share = grid()[:, 0]
    assert prior.weights.sum() == pytest.approx(1.0) and (prior.weights > 0).all()
    assert prior.weights @ share == pytest.approx(0.775, abs=0.04)
    assert prior.weights[(share > 0.5)].sum() == pytest.approx(0.75, abs=0.08)


def test_lengths_settle_on_a_problems_own_mean() -> None:
    rng = np.random.default_rng(1)
    own = rng.normal(6.0, 1.0, 80)
    tokens = np.exp(own[:, None] + rng.normal(0.0, 0.5, (80, 40))).astype(int) + 1
    found = length_module.fit(tokens, np.ones(tokens.shape, bool))
    assert found.within == pytest.approx(0.25, rel=0.2) and found.between == pytest.approx(1.0, rel=0.4)
    logs = length_module.grains(tokens).cumsum(axis=1)
    errors = []
    for n in (1, 4, 40):
        departure = found.departure(np.full(80, n), logs[:, n - 1], found.mean)
        expected = np.clip(tokens.mean(axis=1), found.least, found.most)
        errors.append(float(np.abs(np.log(found.tokens(departure, found.mean) / expected)).mean()))
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.1
    assert found.votes(np.array([0, 10]), np.array([0, 0])).tolist()[0] == 1.0


def test_the_model_is_fitted_on_training_problems_only(recorded: Recorded) -> None:
    train = np.arange(12) % 2 == 0
    wrong, longer = recorded.right.copy(), recorded.tokens.copy()
    wrong[~train], longer[~train] = ~wrong[~train], longer[~train] * 3
    here = fit(recorded, train, most=MOST)
    there = fit(replace(recorded, right=wrong, tokens=longer), train, most=MOST)
    np.testing.assert_array_equal(here.prior.weights, there.prior.weights)
    assert (here.lengths, here.slope, here.limit, here.lift) == (
        there.lengths,
        there.slope,
        there.limit,
        there.lift,
    )


def test_bad_input_is_refused_in_one_line(recorded: Recorded, model: Model) -> None:
    for make, said in [
        (lambda: greedy_plan(model, ["a", "b"], 10, longest=5, costs=[1.0]), "2 problems need 2 costs"),
        (lambda: greedy_plan(model, ["a"], 10, longest=5, costs=[-1.0]), "at least 0"),
        (lambda: greedy_plan(model, ["a"], 0, longest=5), "of at least 1"),
        (lambda: greedy_plan(model, ["a", "b"], 1, longest=5, mean=np.zeros(2)), "does not pay for reading"),
        (lambda: Stream(0.0, 1.0), "average of at least 1"),
        (lambda: stream_plan(model, ["a", "b"], Stream(5.0, 1.0, 1), longest=5), "announced with 1"),
        (lambda: fit(recorded, np.arange(12) < 6, most=65), "1 to 64"),
        (lambda: fit(recorded, np.arange(12) < 1, limit=0), "at least 2"),
    ]:
        with pytest.raises(MullError, match=said):
            make()
