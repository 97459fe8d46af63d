"""Allocation rules beside each other on problems that nothing was fitted on: accuracy, tokens, and who got
what.

Two-fold splits: each half is fitted on the other, and the half's own total budget is spent over its
problems. Runs share their random orders with all other rules, so every comparison is paired. A problem's
value is its mean over splits and runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mull.allocation import bins, streams, text
from mull.allocation.fitting import fit
from mull.allocation.greedy import Spent, greedy
from mull.allocation.model import Model
from mull.allocation.paths import Paths, Seen
from mull.allocation.plans import Stream
from mull.allocation.protocol import check_costs
from mull.errors import MullError
from mull.replay.compare import mixed
from mull.replay.learn import learned_marginal
from mull.replay.ledger import Ledger, Values, held_out, splits
from mull.replay.recorded import Drawn, Recorded
from mull.strategies import Arm
from mull.strategies.adaptive_consistency import lead_probability
from mull.study.pools import Bools, Floats, Ints

UNIFORM = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
PRICES = (0.3, 0.2, 0.14, 0.1, 0.07, 0.05, 0.035, 0.025, 0.0125, 0.005, 0.002)
#: How far a stream may run ahead of its average, as a share of its total.
CREDIT = 0.1
#: The rules, and what each is.
RULES = {
    "uniform": "the same number of samples for every problem, majority vote",
    "marginal": "mull's stopping rule problem by problem, read off its line at the same tokens",
    "bins": "probe, bin, shares of the budget by bin (compute-optimal)",
    "lead": "greedy on the stopping rule's own gain a sample, Q / sqrt(n), under the shared budget",
    "posterior": "greedy on the posterior's gain per token over all problems",
    "text": "the same, with lengths expected from the problem's text, charged",
    "consequence": "the same as posterior, gains weighted by the cost of being wrong",
    "stream": "problems one by one under a price that follows the spending",
}


@dataclass(frozen=True, eq=False)
class Held:
    """By rule: a line of :class:`Values`, one a budget; ``uniform`` and ``marginal`` have their own points.

    ``got``: by rule [budgets, most + 1], the share of problems' runs that began so many samples.
    ``models``: what was fitted, a fold each. ``foretold``: see :func:`foretell`.
    """

    lines: Mapping[str, list[Values]]
    got: Mapping[str, Floats]
    models: tuple[Model, ...]
    foretold: Floats

    def at(self, rule: str, budget: int, tokens: float) -> Values | None:
        """A rule's values at the place of a budget, or what its own line reaches at so many tokens."""
        if rule in ("uniform", "marginal"):
            return mixed(self.lines[rule], tokens)
        return self.lines[rule][budget]


def measure(
    recorded: Recorded,
    budgets: Sequence[float],
    *,
    rules: Sequence[str] | None = None,
    costs: Floats | None = None,
    texts: Sequence[str] | None = None,
    most: int = 64,
    runs: int | None = None,
    count: int = 20,
    seed: int = 0,
) -> Held:
    """All rules on held-out halves at mean ``budgets`` (tokens a problem).

    ``costs`` [P] of being wrong are needed for "consequence", ``texts`` [P] for "text". Raises
    :class:`MullError` for unknown rules, missing inputs and budgets of less than one sample.
    """
    problems, samples = recorded.shape
    chosen = check(rules, costs, texts, budgets, recorded)
    most = min(most, samples)
    drawn = recorded.draw(runs or max(10, -(-2000 // problems)), most, seed)
    ledger = Ledger(drawn)
    lines: dict[str, list[Values]] = {}
    if "uniform" in chosen:
        lines["uniform"] = [ledger.values(Arm("majority", n)) for n in UNIFORM if n <= most]
    if "marginal" in chosen:
        lines["marginal"] = [held_out(ledger, learned_marginal(most, p), count, seed).values for p in PRICES]
    own = [rule for rule in chosen if rule not in lines]
    weights = check_costs(costs, problems) if "consequence" in chosen else np.ones(problems)
    words = text.features(texts) if texts is not None and "text" in chosen else None
    total = {rule: np.zeros((len(budgets), 3, problems)) for rule in own}
    got = {rule: np.zeros((len(budgets), most + 1)) for rule in own}
    models = []
    foretold: list[Floats] = []
    paths: dict[int, Paths] = {}
    rng = np.random.default_rng(seed)
    for train in splits(problems, count, seed):
        test = ~train
        model = fit(recorded, train, most=most)
        models.append(model)
        here = _paths(paths, drawn, model.limit).of_problems(test)
        there = _paths(paths, drawn, model.limit).of_problems(train)
        foretold.append(foretell(model, here))
        worths = model.worth(here.seen.at(slice(0, most)))
        whole = [int(budget * test.sum()) for budget in budgets]
        order = rng.permutation(int(test.sum()))
        for rule in own:
            if rule == "bins":
                for at, binned in enumerate(bins.fit(there, budgets)):
                    total[rule][at][:, test] += bins.measure(binned, here)
                continue
            if rule == "stream":
                learned = model.worth(there.seen.at(slice(0, most)))
                found = _streams(worths, learned, here, there, order, budgets)
            elif rule == "lead":
                found = greedy(leads(here.seen.at(slice(0, most))), here.tokens, whole)
            elif rule == "text" and words is not None:
                found = _with_text(recorded, train, words, model, here, whole)
            else:
                weighted = worths * weights[test] if rule == "consequence" else worths
                found = greedy(weighted, here.tokens, whole)
            right = np.take_along_axis(here.right, found.whole, axis=0)
            parts = (right.mean(axis=1), found.tokens.mean(axis=1), found.begun.mean(axis=1))
            total[rule][:, :, test] += np.stack(parts, axis=1)
            got[rule] += [
                np.bincount(begun.ravel(), minlength=most + 1) / begun.size for begun in found.begun
            ]
    for rule in own:
        lines[rule] = [Values(*part) for part in total[rule] / count]
    shares = {rule: values / (2 * count) for rule, values in got.items() if rule != "bins"}
    return Held(lines, shares, tuple(models), np.concatenate(foretold))


def counted_by_samples(recorded: Recorded) -> Recorded:
    """The same pool with every sample at 1 token, where tokens were not counted: budgets are in samples."""
    return replace(recorded, tokens=np.ones_like(recorded.tokens))


def check(
    rules: Sequence[str] | None,
    costs: Floats | None,
    texts: Sequence[str] | None,
    budgets: Sequence[float],
    recorded: Recorded,
) -> list[str]:
    """The rules to run: those asked for, or all that there is the input for."""
    able = [
        r for r in RULES if (r != "consequence" or costs is not None) and (r != "text" or texts is not None)
    ]
    if rules is not None and not rules:
        raise MullError(f"no rule was named; known: {', '.join(RULES)}")
    for rule in rules or ():
        if rule not in RULES:
            raise MullError(f"there is no allocation rule {rule!r}; known: {', '.join(RULES)}")
        if rule not in able:
            needs = "costs of being wrong" if rule == "consequence" else "the problems' texts"
            raise MullError(f"rule {rule!r} needs {needs}, and there are none")
    least = float(recorded.tokens.mean())
    if least <= 0:
        raise MullError(
            "the pool has no token counts, and an allocation spends tokens; see counted_by_samples"
        )
    for budget in budgets:
        if not budget >= least:
            raise MullError(
                f"a budget of {budget:.3g} tokens a problem is below one sample's {least:.3g}; raise it"
            )
    return list(dict.fromkeys(rules)) if rules else able


def foretell(model: Model, paths: Paths, looks: Sequence[int] = (1, 2, 4, 8, 16), more: int = 8) -> Floats:
    """What the model foretold and what came, [M, 5], a row for each problem's run and look.

    Votes so far, P(leader right), whether it was, the gain of ``more`` further votes, what they brought.
    """
    rows = []
    ahead = model.indices.ahead(more)
    for n in looks:
        if n + more > paths.most:
            continue
        seen = paths.seen.at(n)
        place, state, _ = model.look(seen)
        now = model.indices.right[place, state]
        gain = ahead[place, state] - now
        came = paths.right[n + more].astype(np.float64) - paths.right[n]
        votes = seen.voting == n
        rows.append(
            np.stack([part[votes] for part in (seen.voting, now, paths.right[n], gain, came)], axis=1)
        )
    return np.concatenate(rows) if rows else np.zeros((0, 5))


def leads(seen: Seen) -> Floats:
    """The gain that :mod:`mull.strategies.marginal` takes one more sample to bring; the first one's is 1."""
    side = int(seen.top.max(initial=0)) + 1
    table = np.array([[1.0 - lead_probability(a, min(a, b)) for b in range(side)] for a in range(side)])
    return np.asarray(table[seen.top, seen.second] / np.sqrt(np.maximum(seen.drawn, 0.25)))


def _paths(known: dict[int, Paths], drawn: Drawn, limit: int) -> Paths:
    if limit not in known:
        known[limit] = Paths.of(drawn, limit, drawn.samples)
    return known[limit]


def _streams(
    worths: Floats,
    learned: Floats,
    here: Paths,
    there: Paths,
    order: Ints,
    budgets: Sequence[float],
) -> Spent:
    found = []
    for budget, price in zip(budgets, streams.learned_prices(learned, there.tokens, budgets), strict=True):
        stream = Stream(float(budget), price, len(order), credit=CREDIT * float(budget) * len(order))
        found.append(streams.streamed(worths, here.tokens, order, stream))
    return Spent(*(np.stack([getattr(one, part) for one in found]) for part in ("whole", "begun", "tokens")))


def _with_text(
    recorded: Recorded, train: Bools, words: Floats, model: Model, here: Paths, whole: Sequence[int]
) -> Spent:
    """Greedy with the texts' expected lengths; reading them is paid for out of the budget."""
    mean = text.expected(words, recorded.tokens, train, model.limit)
    read = fit(recorded, train, most=model.most, limit=model.limit, mean=mean)
    worths = read.worth(here.seen.at(slice(0, model.most)), mean[~train])
    charge = text.TOKENS
    count = int((~train).sum())
    found = greedy(worths, here.tokens, [budget - charge * count for budget in whole])
    return Spent(found.whole, found.begun, found.tokens + charge)
