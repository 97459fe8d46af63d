"""The whole exchange for one study: every account that the terms allow, group by group, as plain data.

Accounts: the paper's FLOPs (equal tokens a question), measured FLOPs, prices. What is assumed
for want of a number is said in each account's ``assumptions``. The module puts together what
:mod:`mull.exchange` and :mod:`mull.exchange_curve` compute; it measures nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from mull.analysis.large_side import Large
from mull.analysis.small_side import OVERALL, Group, Small
from mull.errors import MullError
from mull.exchange import (
    Account,
    Floats,
    Model,
    compare,
    measured_account,
    multiplier,
    paper_account,
    paper_volumes,
    requests_of,
)
from mull.exchange_curve import (
    Price,
    Tokens,
    bill,
    break_even,
    break_even_curve,
    price_account,
    volumes_around,
)
from mull.policy_ratio import Curve

#: The form of :func:`exchange`'s data.
SCHEMA = 1


@dataclass(frozen=True)
class Terms:
    """What the user says of the two models; None where nothing was said.

    ``parameters``, ``pretraining`` and ``finetuning`` (tokens): of the small model and of the larger one;
    the small side's fine-tuning is that of all its models that sample.
    ``ratios``: the R to compare at, None for the paper's. ``tokens_small``, ``tokens_large``: input and
    output tokens of one answer, in place of those measured. ``fixed``: dollars in the period of ``requests``.
    """

    parameters: tuple[float | None, float | None] = (None, None)
    pretraining: tuple[float | None, float | None] = (None, None)
    finetuning: tuple[float, float] = (0.0, 0.0)
    conventions: tuple[str, ...] = ("v1",)
    ratios: tuple[float, ...] | None = None
    requests: float | None = None
    price_small: Price | None = None
    price_large: Price | None = None
    price_verifier: Price | None = None
    tokens_small: tuple[float, float] | None = None
    tokens_large: tuple[float, float] | None = None
    fixed: tuple[float, float] = (0.0, 0.0)


def exchange(small: Small, large: Large, terms: Terms) -> dict[str, Any]:
    """Every account's comparisons, break-even points and curves; at least one, or :class:`MullError`."""
    known = [group for group in small.groups if group.name in large.accuracy]
    if not known:
        raise MullError("the larger model's accuracy is not known for any group of problems")
    priced = terms.price_small is not None or terms.price_large is not None
    sized = all(terms.parameters)
    if not sized and (not priced or terms.parameters[1] is not None or terms.ratios is not None):
        raise MullError(
            "the exchange needs both models' parameters (--small-params, --large-params) "
            "or both models' prices (--price-small, --price-large)"
        )
    accounts = _paper(small, large, terms, known) if sized else []
    notes = _notes(known, small, large)
    if sized:
        why = _unmeasured(small, large, terms, known)
        if why:
            notes.append(f"no account of measured FLOPs: {why}")
        else:
            accounts.append(_measured(small, large, terms, known))
    if priced:
        accounts.append(_prices(small, large, terms, known))
    return {
        "schema": SCHEMA,
        "study": small.name,
        "engine": small.engine,
        "problems": small.problems,
        "difficulty": small.kind,
        "family": small.family,
        "larger": large.how,
        "notes": notes,
        "parameters": list(terms.parameters),
        "pretraining_tokens": list(terms.pretraining),
        "finetuning_tokens": list(terms.finetuning),
        "accounts": accounts,
    }


def _notes(known: Sequence[Group], small: Small, large: Large) -> list[str]:
    """What a reader should know before believing the rest."""
    notes = []
    if len(known) < len(small.groups):
        notes.append("the larger model's accuracy is not known in every bin; those are left out")
    if all(len(group.accuracy) == 1 for group in small.groups):
        notes.append("means alone: give the study's folder with its records for intervals")
    elif not any(isinstance(large.accuracy[group.name], np.ndarray) for group in known):
        notes.append("intervals take the larger model's accuracy as exact; --large-study pairs by problem")
    if not small.held_out:
        notes.append("bins are from policy.json, measured where they were chosen: a little optimistic")
    if small.kind == "charged":
        notes.append("bins are oracle bins: a charged policy finds its own as it runs")
    return notes


def _paper(small: Small, large: Large, terms: Terms, known: Sequence[Group]) -> list[dict[str, Any]]:
    """The paper's accounts: equal tokens a question, a request's budget in samples."""
    size = _size(terms)
    found = []
    for convention in terms.conventions:
        account = paper_account(size, convention)
        asked = list(terms.ratios or paper_volumes(size, convention)) + _requested(small, terms)
        around = volumes_around(account)
        rows = [
            _group(g, Curve(g.budgets, g.accuracy), account, large, asked, around, _of_r(small, terms))
            for g in known
        ]
        assumptions = ["both models take equal tokens a question, and saw equal tokens in pretraining"]
        assumptions += ["fine-tuning is free, as in the paper"] if any(terms.finetuning) else []
        matching = [{"R": r, "multiplier": multiplier(size, r, convention)} for r in asked]
        found.append(_account(account, rows, assumptions, convention=convention, matching=matching))
    return found


def _unmeasured(small: Small, large: Large, terms: Terms, known: Sequence[Group]) -> str:
    """Why FLOPs cannot be compared as they were spent; empty if they can."""
    if any(group.flops is None for group in known) or not small.output_tokens:
        return "the study's own are not recorded"
    theirs = terms.tokens_large or large.flops or large.input_tokens
    if not theirs and not terms.tokens_small and small.prompt_tokens is None:
        return "a summary alone lacks the prompts' tokens; give --tokens-large IN,OUT"
    return ""


def _measured(small: Small, large: Large, terms: Terms, known: Sequence[Group]) -> dict[str, Any]:
    """The account of measured FLOPs."""
    assumptions = []
    parameters, (trained, theirs), tuned = terms.parameters, terms.pretraining, terms.finetuning
    if trained is None and theirs is None and any(tuned):
        assumptions.append("fine-tuning is free: what it adds to pretraining is not known")
        tuned = (0.0, 0.0)
    if trained is None or theirs is None:
        assumptions.append("both models saw equal tokens in pretraining")
        trained = theirs = trained or theirs or 1.0  # equal: R alone counts
    if any(tuned):
        assumptions.append("fine-tuning counts as training does; training verifiers is free")
    few, many = Model(parameters[0] or 0, trained, tuned[0]), Model(parameters[1] or 0, theirs, tuned[1])
    asked = list(terms.ratios or paper_volumes(_size(terms), terms.conventions[0]))
    asked += _requested(small, terms)
    rows: list[dict[str, Any]] = []
    around: tuple[float, ...] = ()
    account = measured_account(few, many, small.output_tokens or 0, 1.0)
    for g in known:
        each, said = _answer_flops(small, large, terms, g.name, many.parameters)
        assumptions += [one for one in said if one not in assumptions]
        account = replace(account, each=each)
        around = around if rows else volumes_around(account)
        rows.append(
            _group(g, Curve(_flops(g), g.accuracy), account, large, asked, around, _of_r(small, terms))
        )
    return _account(account, rows, assumptions)


def _prices(small: Small, large: Large, terms: Terms, known: Sequence[Group]) -> dict[str, Any]:
    """The account of money."""
    cheap, dear = terms.price_small, terms.price_large
    if cheap is None or dear is None:
        missing = "--price-small" if cheap is None else "--price-large"
        raise MullError(f"prices are compared in pairs: {missing} is missing")
    assumptions: list[str] = []
    rows: list[dict[str, Any]] = []
    around: tuple[float, ...] = ()
    if terms.price_verifier is None:
        assumptions.append("the verifier is free (no --price-verifier)")
    if terms.tokens_small is not None:
        assumptions.append("n samples are one prompt and n answers, all read by the verifier")
    asked = [] if terms.requests is None else [terms.requests]
    account = price_account(1.0, small_fixed=terms.fixed[0], large_fixed=terms.fixed[1])
    if not asked and account.fixed == 0:
        asked = [1.0]  # without fixed costs it is the same at every volume
    for g in known:
        given, said = _answer_tokens(small, large, terms, g.name)
        assumptions += [one for one in said if one not in assumptions]
        account = replace(account, each=float(bill(Tokens(*given), dear)))
        cost = bill(_small_tokens(g, terms), cheap, terms.price_verifier)
        around = around if rows else volumes_around(account)
        rows.append(_group(g, Curve(cost, g.accuracy), account, large, asked, around))
    return _account(account, rows, assumptions)


def _group(
    group: Group,
    curve: Curve,
    account: Account,
    large: Large,
    volumes: Sequence[float],
    around: Sequence[float],
    requests: tuple[Model, float] | None = None,
) -> dict[str, Any]:
    """One group in one account; in units of R with the requests it stands for, if known."""
    star = large.accuracy[group.name]
    found = break_even(curve, star, account)
    rows = [asdict(row) for row in compare(curve, star, account, volumes)]
    even = asdict(found)
    even["samples"] = _samples(group, star) if found.budget is not None else None
    if requests is not None:
        for row in (*rows, even):
            row["requests"] = None if row["volume"] is None else requests_of(row["volume"], *requests)
    curved = [
        {name: getattr(row, name) for name in ("volume", "budget", "small", "at_least", "relative", "note")}
        for row in break_even_curve(curve, star, account, around)
    ]
    return {
        "group": group.name,
        "problems": group.problems,
        "large": found.target,
        "each": account.each,
        "rows": rows,
        "break_even": even,
        "curve": curved,
    }


def _samples(group: Group, star: float | Floats) -> float | None:
    """The break-even's budget in samples, whatever the account's unit."""
    unit = Account("samples", "generations", "R", 0.0, 1.0)
    return break_even(Curve(group.budgets, group.accuracy), star, unit, draws=0).budget


def _account(
    account: Account, rows: list[dict[str, Any]], assumptions: list[str], **more: Any
) -> dict[str, Any]:
    return {
        "name": account.name,
        **more,
        "unit": account.unit,
        "volume_unit": account.volume,
        "fixed": account.fixed,
        "assumptions": assumptions,
        "groups": rows,
    }


def _size(terms: Terms) -> float:
    few, many = terms.parameters
    assert few is not None and many is not None, "an account of FLOPs needs both parameter counts"
    return many / few


def _of_r(small: Small, terms: Terms) -> tuple[Model, float] | None:
    """What turns R into requests, if the pretraining tokens are known."""
    parameters, trained = terms.parameters[0], terms.pretraining[0]
    if parameters is None or trained is None or not small.output_tokens:
        return None
    return Model(parameters, trained), small.output_tokens


def _requested(small: Small, terms: Terms) -> list[float]:
    """The R of the expected requests, if there are any."""
    if terms.requests is None:
        return []
    known = _of_r(small, terms)
    if known is not None:
        return [terms.requests / requests_of(1.0, *known)]
    if terms.price_small is not None:
        return []  # the requests are for the prices
    raise MullError("--requests needs the small model's pretraining tokens (--pretraining-tokens)")


def _answer_flops(
    small: Small, large: Large, terms: Terms, group: str, parameters: float
) -> tuple[float, list[str]]:
    """FLOPs of one answer of the larger model, and what was assumed for it."""
    measured = _by_group(large.flops, group)
    if measured is not None and terms.tokens_large is None:
        return measured, []
    (read, written), said = _answer_tokens(small, large, terms, group)
    return 2.0 * parameters * (read + written), [*said, "the larger model's attention is not counted"]


def _answer_tokens(
    small: Small, large: Large, terms: Terms, group: str
) -> tuple[tuple[float, float], list[str]]:
    """Input and output tokens of one answer of the larger model, and what was assumed for them."""
    if terms.tokens_large is not None:
        return terms.tokens_large, []
    said = []
    read, written = _by_group(large.input_tokens, group), _by_group(large.output_tokens, group)
    ours = terms.tokens_small or (small.prompt_tokens, small.output_tokens)
    if read is None:
        read = ours[0]
        if read is None:
            raise MullError("the prompts' tokens are not in a summary; give --tokens-large IN,OUT")
    if written is None:
        written = ours[1]
        said.append("the larger model's answers are as long as one sample of the small one")
        if written is None:
            raise MullError("the study has no tokens a sample; give --tokens-large IN,OUT")
    return (read, written), said


def _small_tokens(group: Group, terms: Terms) -> Tokens:
    """Tokens of the small model's policy at every budget: measured, or by the user's numbers."""
    if terms.tokens_small is not None:
        read, written = terms.tokens_small
        out = group.budgets * written
        return Tokens(np.full_like(out, read), out, 0.0, read + out)
    if group.tokens is None:
        raise MullError(
            "this policy's tokens are not known by problem (they are from a folder, over search, "
            "with oracle or predicted difficulty); give --tokens-small IN,OUT, those of one sample"
        )
    return group.tokens


def _flops(group: Group) -> Floats:
    assert group.flops is not None, "an account of measured FLOPs needs them"
    return group.flops


def _by_group(values: Mapping[str, float], group: str) -> float | None:
    """A group's value, or else everyone's."""
    return values.get(group, values.get(OVERALL))
