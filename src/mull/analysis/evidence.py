"""From shards to arrays: the pool, every arm's accuracy and cost on every problem.

Costs of n pooled samples are exact means over subsets: the prompt is processed once, each
sample adds its own tokens, and a verifier reads each *different* solution once, as the
driver's live runs do. The module reads and adds up; what is concluded is the summary's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mull.analysis.measure import Measure
from mull.analysis.merging import Right, merged
from mull.analysis.revisions import Revisions, revisions
from mull.answers import is_correct
from mull.errors import MullError
from mull.strategies.base import Arm, find
from mull.study import estimators
from mull.study.estimators import Draws, Pool
from mull.study.folder import Recorded
from mull.study.plan import Kind, live

Floats = NDArray[np.float64]
#: Random orders of the pool that weighted votes of between 2 and S samples are averaged over.
DRAWS = 1000


@dataclass(frozen=True, eq=False)
class Vote:
    """One problem's candidates: each with its answer (None: none) and score (NaN: unscored)."""

    answers: tuple[str | None, ...]
    scores: Floats


@dataclass(frozen=True, eq=False)
class Evidence:
    """Everything a study recorded, as arrays over its problems in order."""

    recorded: Recorded
    pool: Pool
    names: tuple[tuple[str, ...], ...]
    samples: pl.DataFrame
    runs: Mapping[Arm, pl.DataFrame]
    revisions: Revisions | None = None
    larger: Measure | None = None
    verdicts: Right | None = None

    def right(self, row: int, answer: str) -> bool:
        """Whether an answer to a problem is right, by the study's grader."""
        if self.verdicts is None:
            return is_correct(answer, str(self.recorded.problems[row].gold))
        return self.verdicts[row][answer]

    @property
    def score(self) -> str | None:
        """The score that search, weighted votes and predicted difficulty go by: the PRM's, else the ORM's."""
        return next((name for name in ("prm", "orm") if name in self.pool.scores), None)

    @cached_property
    def sized(self) -> bool:
        """Whether FLOPs are known: of a model outside mull they are if its size was given.

        If not, all are 0, for a sum without one of the models would mislead.
        """
        found = {"flops": "tokens"}
        found |= {f"{n}_flops": f"{n}_tokens" for n in ("prm", "orm") if n in self.pool.scores}
        # What reads no tokens has no model.
        none = {name: not (self.samples[name] > 0).any() for pair in found.items() for name in pair}
        return all(none[tokens] or not none[flops] for flops, tokens in found.items())

    @property
    def searches(self) -> tuple[Arm, ...]:
        """The searches that were run, at budgets up to the pool's size."""
        small = [arm for arm in self.runs if arm.budget <= self.pool.samples]
        return tuple(arm for arm in small if find(arm.strategy).needs == ("process",))

    @property
    def mixed(self) -> tuple[Arm, ...]:
        """The arms that were run with the reviser, at budgets up to the pool's size."""
        small = [arm for arm in self.runs if arm.budget <= self.pool.samples]
        return tuple(arm for arm in small if find(arm.strategy).reviser)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Powers of two up to the pool's size."""
        return tuple(1 << i for i in range(self.pool.samples.bit_length()))

    @cached_property
    def draws(self) -> Draws:
        """The orders that all selectors share."""
        return estimators.draw(self.pool.samples, DRAWS, seed=self.recorded.study.seed)

    @cached_property
    def accuracies(self) -> Mapping[str, Floats]:
        """Accuracy [P, sizes] by selector, as :func:`mull.study.estimators.accuracies` names them."""
        return estimators.accuracies(self.pool, self.sizes, self.draws)

    def grid(self, column: str) -> Floats:
        """A column of the pool's rows, [P, S]."""
        if column not in self._grids:
            values = self.samples[column].to_numpy().astype(np.float64)
            self._grids[column] = values.reshape(self.pool.answers.shape)
        return self._grids[column]

    @cached_property
    def _grids(self) -> dict[str, Floats]:
        return {}

    @cached_property
    def _distinct(self) -> pl.DataFrame:
        """Each problem's different solutions: how many samples spell it, what reading it costs."""
        row = np.repeat(np.arange(self.pool.problems), self.pool.samples)
        costs = [f"{name}_{unit}" for name in ("prm", "orm") for unit in ("tokens", "flops")]
        return (
            self.samples.with_columns(pl.Series("row", row))
            .group_by("row", "text", maintain_order=True)
            .agg(pl.len().alias("copies"), *(pl.col(name).max() for name in costs))
        )

    def reading_prompt(self, verifier: str) -> Floats:
        """Tokens [P] of the prompt that a verifier reads once a problem."""
        # One outside mull reads it with every solution, and counts it there.
        own = f"{verifier}_prompt_tokens"
        return self.grid(own if own in self.samples.columns else "prompt_tokens")[:, 0]

    def reading(self, verifier: str, n: int) -> tuple[Floats, Floats]:
        """Verifier tokens and FLOPs [P] that scoring n samples takes, the prompt left out."""
        if (verifier, n) not in self._readings:
            self._readings[verifier, n] = self._read(verifier, n)
        return self._readings[verifier, n]

    @cached_property
    def _readings(self) -> dict[tuple[str, int], tuple[Floats, Floats]]:
        return {}

    def _read(self, verifier: str, n: int) -> tuple[Floats, Floats]:
        total, found = self.pool.samples, self._distinct
        seen = 1.0 - _missed(total, n)[found["copies"].to_numpy()]
        row = found["row"].to_numpy()

        def total_of(unit: str) -> Floats:
            cost = found[f"{verifier}_{unit}"].to_numpy() * seen
            return np.bincount(row, cost, self.pool.problems).astype(np.float64)

        return total_of("tokens"), total_of("flops")

    def sampled(self, accuracy: Floats, n: int, verifier: str | None) -> Measure:
        """The measure of a pool arm of n samples, scored by ``verifier`` or not at all."""
        flops = self.grid("prompt_flops")[:, 0] + n * self.grid("flops").mean(axis=1)
        read = np.zeros(self.pool.problems)
        if verifier is not None:
            tokens, spent = self.reading(verifier, n)
            read = tokens + self.reading_prompt(verifier)
            flops = flops + spent + self.grid(f"{verifier}_prompt_flops")[:, 0]
        count = np.full(self.pool.problems, float(n))
        return Measure(accuracy, count, self.pool.mean_tokens([n])[:, 0], read, flops * self.sized)

    def ran(self, arm: Arm) -> Measure:
        """The measure of an arm that was run live."""
        frame = self.runs[arm]

        def column(name: str) -> Floats:
            return frame[name].to_numpy().astype(np.float64)

        flops = (column("flops") + column("verifier_flops")) * self.sized
        correct, generations = column("correct"), column("generations")
        return Measure(correct, generations, column("completion_tokens"), column("verifier_tokens"), flops)

    def votes(self, arm: Arm) -> list[Vote]:
        """The finals of an arm that was run live, problem by problem."""
        found = []
        for finals in self.runs[arm]["candidates"].to_list():
            scores = [np.nan if c["score"] is None else c["score"] for c in finals]
            found.append(Vote(tuple(c["answer"] for c in finals), np.asarray(scores, np.float64)))
        return found


def gather(recorded: Recorded) -> Evidence:
    """Read every shard of a finished study."""
    if missing := recorded.missing():
        raise MullError(f"{recorded.path} is not finished: {len(missing)} units are missing")
    frames: dict[Arm | Kind, list[pl.DataFrame]] = {}
    for unit in recorded.units:
        frames.setdefault(unit.arm or unit.kind, []).append(recorded.read(unit))
    samples = pl.concat(frames["pool"])
    runs = {arm: pl.concat(frames[arm]) for arm in live(recorded.study)}
    ids = [problem.id for problem in recorded.problems]
    for what, frame in [
        ("pool", samples.gather_every(recorded.study.pool)),
        *((str(a), f) for a, f in runs.items()),
    ]:
        if frame["problem"].to_list() != ids:
            raise MullError(
                f"the shards of {what} are not of this study's problems; delete them and run again"
            )
    samples, runs, right = merged(recorded, samples, runs)
    pool, names = _pool(recorded, samples, right)
    chains = None
    if recorded.study.chains:
        chains = revisions(pl.concat(frames["chains"]), ids, recorded.study.chains)
    larger = _larger(pl.concat(frames["larger"]), ids) if recorded.study.larger is not None else None
    return Evidence(recorded, pool, names, samples, runs, chains, larger, right)


def _larger(frame: pl.DataFrame, ids: Sequence[str]) -> Measure:
    """The larger model's one greedy answer a problem, as a measure."""
    if frame["problem"].to_list() != ids:
        raise MullError("the larger model's shards are of other problems; delete them and run again")

    def column(name: str) -> Floats:
        return frame[name].cast(pl.Float64).to_numpy()

    none = np.zeros(frame.height)
    return Measure(column("correct"), none + 1, column("tokens"), none, column("flops"))


def _pool(
    recorded: Recorded, samples: pl.DataFrame, verdicts: Right | None
) -> tuple[Pool, tuple[tuple[str, ...], ...]]:
    """The estimators' pool, and each problem's answers in the order of their class."""
    shape = (len(recorded.problems), recorded.study.pool)
    listed = samples["answer"].to_list()
    answers = np.full(shape, -1, np.int64)
    correct = np.zeros(shape, bool)
    names = []
    for row, problem in enumerate(recorded.problems):
        classes: dict[str, int] = {}
        for column, answer in enumerate(listed[row * shape[1] : (row + 1) * shape[1]]):
            if answer is not None:
                answers[row, column] = classes.setdefault(answer, len(classes))
        known = None if verdicts is None else verdicts[row]
        right = [is_correct(a, str(problem.gold)) if known is None else known[a] for a in classes]
        correct[row] = np.array([*right, False])[answers[row]]
        names.append(tuple(classes))
    scores: dict[str, NDArray[np.float32]] = {}
    if recorded.prm is not None:
        steps = samples["prm"]
        scores["prm"] = _grid(steps.list.last(), shape)
        scores["prm-min"] = _grid(steps.list.min(), shape)
        scores["prm-mean"] = _grid(steps.list.mean(), shape)
        scores["prm-product"] = _grid(_product(steps), shape)
    if recorded.orm is not None:
        scores["orm"] = _grid(samples["orm"], shape)
    return Pool(answers, correct, scores, samples["tokens"].to_numpy().reshape(shape)), tuple(names)


def _grid(values: pl.Series, shape: tuple[int, int]) -> NDArray[np.float32]:
    return values.cast(pl.Float32).fill_null(float("nan")).to_numpy().reshape(shape)


def _product(steps: pl.Series) -> pl.Series:
    """Each list's product, null where the list is."""
    rows = steps.to_frame("steps").with_row_index("row")
    products = rows.drop_nulls().explode("steps").group_by("row").agg(pl.col("steps").product())
    return rows.select("row").join(products, on="row", how="left", maintain_order="left")["steps"]


def _missed(total: int, n: int) -> Floats:
    """The chance that a subset of n among ``total`` misses m given samples, by m from 0 to ``total``."""
    m = np.arange(total + 1)
    log = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1.0, total + 1)))])
    free = np.maximum(total - m - n, 0)
    chance = np.exp(log[total - m] + log[total - n] - log[free] - log[total])
    return np.where(total - m >= n, chance, 0.0)


def pooled(evidence: Evidence, strategy: str, score: str | None) -> dict[int, Measure]:
    """A pool strategy's measures by n; ``score`` is the pool's score that it votes by."""
    table = evidence.accuracies[strategy if score is None else f"{strategy}:{score}"]
    verifier = None if score is None else score.partition("-")[0]
    return {n: evidence.sampled(table[:, i], n, verifier) for i, n in enumerate(evidence.sizes)}
