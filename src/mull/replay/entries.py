"""What ``mull replay`` compares: fixed arms and learned rules, from text or by default, and their table.

A text such as ``early_stopping(window=4)@32`` is an arm; ``learned_marginal(price=0.02)`` and
``learned_width_depth(cost=0.001)`` are fitted on training folds. The module parses and arranges.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mull.errors import MullError
from mull.replay.compare import versus
from mull.replay.controllers import learned_width_depth
from mull.replay.learn import learned_marginal
from mull.replay.ledger import Learner, Ledger, Values, held_out
from mull.replay.recorded import Recorded
from mull.replay.rules import rules
from mull.strategies import Arm, find
from mull.strategies.base import Value
from mull.study import bootstrap


@dataclass(frozen=True)
class Fitted:
    """A learned rule: its one parameter with its default, and the learner for (budget, parameter)."""

    parameter: str
    default: float
    learner: Callable[[int, float], Learner]


#: Learned rules by name. ``cost`` is the accuracy that a mean sample's tokens must bring.
LEARNED = {
    "learned_marginal": Fitted("price", 0.025, learned_marginal),
    "learned_width_depth": Fitted("cost", 0.0005, learned_width_depth),
}
_RULE = re.compile(r"\s*(\w+)\s*(?:\((.*)\))?\s*(?:@\s*(\d+))?\s*", re.DOTALL)


def parse(text: str, budget: int) -> list[Arm]:
    """Arms from text, with ``budget`` where one gives none. A learned rule is written as an arm."""
    parts = [part for part in re.split(r",(?![^(]*\))", text) if part.strip()]  # commas outside brackets
    if not parts:
        raise MullError(f"no rule in {text!r}; for example: majority,early_stopping(window=4)")
    return [_arm(part, budget) for part in parts]


def _arm(text: str, budget: int) -> Arm:
    found = _RULE.fullmatch(text)
    if not found:
        raise MullError(f"rule {text.strip()!r} cannot be read; for example: early_stopping(window=4)@32")
    name, inner, at = found.groups()
    known = [*rules(), *LEARNED]
    if name not in known:
        raise MullError(f"there is no rule {name!r} to replay; known: {', '.join(known)}")
    params = []
    for pair in filter(str.strip, (inner or "").split(",")):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not equals:
            raise MullError(f"rule {text.strip()!r}: {pair.strip()!r} must be name=value")
        params.append((key, _value(value)))
    if name in LEARNED:
        own = LEARNED[name]
        if [key for key, _ in params] not in ([], [own.parameter]) or not all(
            isinstance(value, int | float) and 0 <= value <= 1 for _, value in params
        ):
            said = f"{own.parameter}, from 0 to 1, such as {name}({own.parameter}={own.default})"
            raise MullError(f"{name} takes one parameter, {said}")
    return Arm(name, int(at) if at else budget, tuple(params))


def _value(text: str) -> Value:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def default(recorded: Recorded, budget: int) -> list[Arm]:
    """Every rule that the pool has the data for, at its usual settings.

    Rules that cut solutions on the way need token counts; where answers vote by behaviour, runs are
    live and slow, and nothing is learned.
    """
    timed = bool(recorded.tokens.any())
    half = [2**i for i in range(0, budget.bit_length(), 2) if 2**i < budget]
    found = [Arm("majority", n) for n in [*half, budget]]
    found += [Arm("shortest_first", n) for n in (16, budget) if n <= budget and timed]
    found += [Arm(name, budget) for name in ("early_stopping", "adaptive_consistency", "bayes_stop")]
    found += [Arm("width_depth", budget)] if timed else []
    found += [Arm("confidence_vote", budget)] if recorded.confidence is not None else []
    if recorded.scores is not None:
        scored = ("best_of_n", "best_of_n_weighted", "agreement", "score_stop")
        found += [Arm(name, budget) for name in scored]
    found += [Arm("marginal", budget)]
    if len(recorded.names) > 1 and recorded.kinds is None:
        if timed:
            found += [Arm("learned_width_depth", budget, (("cost", cost),)) for cost in (0.005, 0.0005)]
        found += [Arm("learned_marginal", budget, (("price", price),)) for price in (0.1, 0.05, 0.025)]
    return list(dict.fromkeys(found))


def values(ledger: Ledger, arm: Arm, splits: int, seed: int = 0) -> Values:
    """An arm's values on all problems, or a learned rule's on the folds that it was not fitted on."""
    if arm.strategy not in LEARNED:
        return ledger.values(arm)
    own = LEARNED[arm.strategy]
    value = float(dict(arm.params).get(own.parameter, own.default))
    return held_out(ledger, own.learner(arm.budget, value), splits, seed).values


def table(ledger: Ledger, arms: Sequence[Arm], *, splits: int, draws: int, seed: int = 0) -> dict[str, Any]:
    """Accuracy, its 95 % interval, tokens and generations of every arm, and each beside the largest majority.

    The bootstrap is over problems, with one set of draws for all arms. Without token counts, tokens
    and savings cannot be told: None.
    """
    shares = bootstrap.weights(ledger.problems, draws, seed=seed)
    budget = max(arm.budget for arm in arms)
    base = ledger.values(Arm("majority", budget))
    timed = bool(ledger.drawn.recorded.tokens.any())
    rows = []
    for arm in arms:
        found = values(ledger, arm, splits, seed)
        accuracy = bootstrap.mean_ci95(found.right, shares)
        against = versus(found, base, shares)
        rows.append(
            {
                "rule": str(arm),
                "strategy": arm.strategy,
                "params": dict(arm.params),
                "budget": arm.budget,
                "learned": arm.strategy in LEARNED,
                "accuracy": accuracy.mean,
                "ci95": [accuracy.low, accuracy.high],
                "tokens": float(found.tokens.mean()) if timed else None,
                "generations": float(found.generations.mean()),
                "against_majority": {
                    "accuracy": against.accuracy.mean,
                    "ci95": [against.accuracy.low, against.accuracy.high],
                    "fewer_tokens": against.saving.mean if timed else None,
                    "fewer_tokens_ci95": [against.saving.low, against.saving.high] if timed else None,
                },
            }
        )
    return {
        "problems": ledger.problems,
        "samples": ledger.drawn.recorded.shape[1],
        "runs": ledger.drawn.runs,
        "splits": splits,
        "draws": draws,
        "seed": seed,
        "mean_tokens": float(ledger.drawn.recorded.tokens.mean()) if timed else None,
        "majority": f"majority@{budget}",
        "rules": rows,
    }


def check(arms: Sequence[Arm], samples: int) -> None:
    """Raise :class:`MullError` for an unknown parameter, or a budget that the pool cannot meet."""
    for arm in arms:
        if arm.budget < 1:
            raise MullError(f"{arm}: a budget is at least 1 generation")
        if arm.budget > samples:
            raise MullError(f"{arm} needs {arm.budget} samples a problem; the pool has {samples}")
        own = LEARNED.get(arm.strategy)
        known = {own.parameter} if own else set(find(arm.strategy).params)
        unknown = [name for name, _ in arm.params if name not in known]
        if unknown:
            listed = ", ".join(sorted(known)) or "none"
            raise MullError(
                f"rule {arm.strategy!r} has no parameter {unknown[0]!r}; its parameters: {listed}"
            )
