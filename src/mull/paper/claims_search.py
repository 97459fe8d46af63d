"""The paper's claims on sampling, verifiers and search: its section 5, its appendices D to F.

Each is a statistic of a view; where a budget is not fixed by the claim it is the largest that
this study and the paper share.
"""

from __future__ import annotations

from mull.paper.arrays import Floats
from mull.paper.claims import ALIKE, BELOW, MARGIN, Claim
from mull.paper.view import Absent, Ours, Paper, View, average, largest

PRM, ORM = "weighted:prm", "weighted:orm"
BEAM, LOOK = "beam:4", "lookahead:3:sqrt"


def shared(ours: Ours, *names: str, default: int) -> int:
    """The largest budget of these lines that both views have; ``default`` if ours has none."""
    try:
        top = largest(ours, *names)
        return min(top, largest(Paper(), *names, at_most=top))
    except Absent:
        return default


def up_to(top: int, *budgets: int) -> list[int]:
    """Those of a claim's budgets that are at most ``top``; the smallest, to be missed, if none are."""
    return [n for n in budgets if n <= top] or [min(budgets)]


def lead(view: View, first: str, second: str, at: float, bins: tuple[int, ...] = ()) -> Floats:
    """How far one line is above another."""
    return view.mean(first, at, bins) - view.mean(second, at, bins)


def claims(ours: Ours) -> list[Claim]:
    """Shapes (1) to (3) of the paper, and the search part of (7) and (8)."""
    return [*_search(ours), *_verifiers(ours), *_bins(ours), *_optimal(ours)]


def _search(ours: Ours) -> list[Claim]:
    topic = "Search against sampling"
    found = [
        Claim(
            topic,
            f"Beam search beats best-of-N weighted at a budget of {n}",
            f"accuracy of beam (width 4) less best-of-N weighted at {n}, points",
            lambda v, n=n: lead(v, BEAM, PRM, n),  # type: ignore[misc]
        )
        for n in (4, 16)
    ]
    late = shared(ours, BEAM, PRM, default=64)
    late = late if late > 16 else 64
    return [
        *found,
        Claim(
            topic,
            f"Beam search's lead shrinks from a budget of 16 to {late}",
            f"beam's lead at {late} less its lead at 16, points",
            lambda v: lead(v, BEAM, PRM, late) - lead(v, BEAM, PRM, 16),
            BELOW,
        ),
        Claim(
            topic,
            "By a budget of 64 no lead of beam search is left",
            f"accuracy of beam (width 4) less best-of-N weighted at 64, points (within {MARGIN:g}: none)",
            lambda v: lead(v, BEAM, PRM, 64),
            (-float("inf"), MARGIN),
        ),
        Claim(
            topic,
            "Lookahead does not pay for its rollouts at a small budget",
            "accuracy of lookahead (k = 3, width \u221aN) less beam (width 4) at 16, points",
            lambda v: lead(v, LOOK, BEAM, 16),
            BELOW,
        ),
    ]


def _verifiers(ours: Ours) -> list[Claim]:
    topic = "Verifiers and how their scores are used"
    top = shared(ours, PRM, ORM, default=256)
    last = shared(ours, "majority", PRM, default=256)
    few = shared(ours, PRM, "weighted:prm-min", default=256)
    return [
        Claim(
            topic,
            f"A PRM selects better than an ORM at N = {top}",
            f"best-of-N weighted by the PRM less by the ORM at {top}, points",
            lambda v: lead(v, PRM, ORM, top),
        ),
        Claim(
            topic,
            "The PRM's lead over the ORM grows with N",
            f"that gap at {top} less at 4, points",
            lambda v: lead(v, PRM, ORM, top) - lead(v, PRM, ORM, 4),
        ),
        Claim(
            topic,
            "A solution's last step score selects better than the smallest",
            f"best-of-N weighted by last less by min at {few}, points",
            lambda v: _aggregated(v, "", few) - _aggregated(v, "-min", few),
        ),
        Claim(
            topic,
            "A solution's smallest step score selects better than their product",
            f"best-of-N weighted by min less by product at {few}, points",
            lambda v: _aggregated(v, "-min", few) - _aggregated(v, "-product", few),
        ),
        Claim(
            topic,
            "Majority voting stops gaining before best-of-N weighted does",
            f"gain from {last // 4} to {last} of best-of-N weighted less that of majority, points",
            lambda v: _gain(v, PRM, last) - _gain(v, "majority", last),
        ),
        *(
            Claim(
                topic,
                f"Summing the {score.upper()}'s scores over equal answers beats its best single solution",
                f"best-of-N weighted less best-of-N by the {score.upper()} at the largest N, points",
                lambda v, s=score: lead(v, f"weighted:{s}", f"best:{s}", largest(v, f"best:{s}")),  # type: ignore[misc]
            )
            for score in ("prm", "orm")
        ),
        Claim(
            topic,
            "Best-of-N by the ORM gets worse with many samples",
            "best-of-N by the ORM at the largest N less its best at a smaller one, "
            "chosen on other problems, points",
            lambda v: _fall(v, "best:orm"),
            BELOW,
        ),
    ]


def _aggregated(view: View, how: str, n: int) -> Floats:
    """Best-of-N weighted by an aggregation; figure 13 has its own curve of the last."""
    return view.mean("13/weighted:prm" if isinstance(view, Paper) and not how else PRM + how, n)


def _gain(view: View, name: str, n: int) -> Floats:
    return view.mean(name, n) - view.mean(name, n // 4)


def _fall(view: View, name: str) -> Floats:
    """A line's last point less the best before."""
    last = len(view.places(name)) - 1
    if last < 1:
        raise Absent("one point is no curve")
    return view.contest(name, (last,), range(last))


def _bins(ours: Ours) -> list[Claim]:
    topic = "Search by difficulty"
    top = shared(ours, BEAM, PRM, default=64)
    top = top if top > 4 else 64
    low = [n for n in (4, 16, 64, 256) if n <= top]
    return [
        Claim(
            topic,
            "On easy problems (bins 1 and 2) more beam search buys less than more samples",
            f"gain of beam (width 4) from 4 to {top} less that of best-of-N weighted, bins 1 and 2, points",
            lambda v: lead(v, BEAM, PRM, top, (0, 1)) - lead(v, BEAM, PRM, 4, (0, 1)),
            BELOW,
            bins=(0, 1),
        ),
        Claim(
            topic,
            "On easy problems beam search is flat or falls from a budget of 16 on",
            f"beam (width 4) at the largest budget up to 64 less at 16, bins 1 and 2, points "
            f"(within {MARGIN:g}: flat)",
            _late,
            (-float("inf"), MARGIN),
            bins=(0, 1),
        ),
        Claim(
            topic,
            "On harder problems (bins 3 and 4) beam search is ahead",
            f"beam (width 4) less best-of-N weighted, bins 3 and 4, mean over {_listed(low)}, points",
            lambda v: average([lead(v, BEAM, PRM, n, (2, 3)) for n in low]),
            bins=(2, 3),
        ),
        Claim(
            topic,
            "On the hardest problems (bin 5) nobody gets anywhere",
            f"accuracy of the better of beam (width 4) and best-of-N weighted at {top}, bin 5, %",
            lambda v: _better(v.mean(BEAM, top, (4,)), v.mean(PRM, top, (4,))),
            (-float("inf"), 5.0),
            bins=(4,),
        ),
    ]


def _late(view: View) -> Floats:
    """Beam search's gain after 16, on easy problems."""
    top = largest(view, BEAM, at_most=64)
    if top <= 16:
        raise Absent("no beam search above a budget of 16 was recorded")
    return view.mean(BEAM, top, (0, 1)) - view.mean(BEAM, 16, (0, 1))


def _better(first: Floats, second: Floats) -> Floats:
    """The one that is higher on all problems alike, in every draw."""
    return first if first[0] >= second[0] else second


def _listed(budgets: list[int]) -> str:
    return ", ".join(map(str, budgets))


def _optimal(ours: Ours) -> list[Claim]:
    topic = "Choosing by difficulty: search"
    policy, top = "policy:search:oracle", shared(ours, "policy:search:oracle", default=64)
    at = up_to(top, 16, 64, 256)
    return [
        *(
            Claim(
                topic,
                f"Compute-optimal search beats best-of-N weighted at a budget of {n}",
                f"compute-optimal (oracle) less best-of-N weighted at {n}, points",
                lambda v, n=n: lead(v, policy, PRM, n),  # type: ignore[misc]
            )
            for n in (4, 16, 256)
        ),
        Claim(
            topic,
            "With predicted difficulty compute-optimal search is about as good as with oracle difficulty",
            f"predicted less oracle, mean over {_listed(at)}, points",
            lambda v: average([lead(v, "policy:search:predicted", policy, n) for n in at]),
            ALIKE,
        ),
    ]
