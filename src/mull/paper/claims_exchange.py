"""The paper's headline, its claims on pretraining against test-time compute, and those of weak verifiers.

Its section 7 and ICLR appendix K. Easy, medium and hard are bins 2, 3 and 4, as in figure 1.
Where a star's budget was not measured, the largest that was stands in: the policy could do
at least that. mull's own policies have no counterpart in the paper.
"""

from __future__ import annotations

from mull.paper.arrays import Floats
from mull.paper.claims import ABOVE, ALIKE, BELOW, MARGIN, Claim
from mull.paper.claims_search import lead, shared
from mull.paper.curves import table
from mull.paper.view import Absent, Ours, View, average, difference, largest, relative, saving

#: Bins of figure 1's groups.
GROUPS = {"easy": 1, "medium": 2, "hard": 3}
MECHANISMS = {"revisions": "policy:revisions:oracle", "search": "policy:search:oracle"}
BASES = {"revisions": "parallel:score", "search": "weighted:prm"}
#: What the paper promises: less compute for the same accuracy.
TIMES = 4.0


def claims(ours: Ours) -> list[Claim]:
    """The headline, shape (9), ICLR appendix K, and what is mull's own."""
    return [*_headline(ours), *_exchange(), *_weak(), *_own(ours)]


def stars(view: View) -> list[int]:
    """The stars' budgets, smallest first (the highest R first)."""
    if isinstance(view, Ours):
        return [int(star[0]) for star in view.arrays.facts.get("stars", [])]
    return [int(star[0]) for star in table()["stars"]]


def reached(view: View, name: str, kappa: float) -> int:
    """The budget at which a line is read for a star: the star's, or the largest measured below it."""
    return largest(view, name, at_most=kappa)


def advantage(view: View, name: str, kappa: float, bin_: int) -> Floats:
    """Figure 1's relative improvement in a bin, in %."""
    return relative(view, name, reached(view, name, kappa), (bin_,), (bin_,))


def _star(view: View, which: int) -> int:
    found = stars(view)
    if not found:
        raise Absent("this study has no larger model")
    return found[which]


def _headline(ours: Ours) -> list[Claim]:
    topic = "The headline"
    found = []
    for mechanism in BASES:
        for kind in ("oracle", "predicted"):
            policy, cost = f"policy:{mechanism}:{kind}", f"cost:{mechanism}:{kind}"
            what = mechanism
            against = "best-of-N weighted" if mechanism == "search" else "parallel attempts"
            # The same budget in both views: 64, or 256 parallel attempts, or the largest that both have.
            n = min(shared(ours, policy, BASES[mechanism], default=256), _most(mechanism))
            found += [
                Claim(
                    topic,
                    f"Compute-optimal {what} ({kind}) {_s(what, 'match')} {against} "
                    "with a quarter of the compute",
                    f"policy at {n // 4} less {against} at {n}, points (down to -{MARGIN:g})",
                    lambda v, m=mechanism, p=policy, n=n: _quarter(v, p, m, n),  # type: ignore[misc]
                    (-MARGIN, float("inf")),
                ),
                Claim(
                    topic,
                    f"Compute-optimal {what} ({kind}) {_s(what, 'need')} {TIMES:g} times less compute than "
                    f"{against} at equal accuracy",
                    f"compute of {against} at {n} over the policy's at its accuracy, a ratio",
                    lambda v, m=mechanism, p=policy, c=cost, n=n: saving(v, BASES[m], p, c, n),  # type: ignore[misc]
                    (TIMES, float("inf")),
                    unit=0.0,
                ),
            ]
    return found


def _most(mechanism: str) -> int:
    """The budget of the headline's baseline: best-of-64, 256 parallel attempts."""
    return 64 if mechanism == "search" else 256


def _quarter(view: View, policy: str, mechanism: str, n: int) -> Floats:
    return view.mean(policy, n // 4) - view.mean(BASES[mechanism], n)


def _exchange() -> list[Claim]:
    topic = "Pretraining against test-time compute"
    found = []
    for mechanism, name in MECHANISMS.items():

        def at(view: View, which: int, bin_: int, name: str = name) -> Floats:
            return advantage(view, name, _star(view, which), bin_)

        found += [
            Claim(
                topic,
                f"With few requests (the lowest R) {mechanism} {_s(mechanism, 'beat')} "
                "the larger model on easy problems",
                "relative improvement in bin 2 at the lowest R, %",
                lambda v, at=at: at(v, -1, GROUPS["easy"]),  # type: ignore[misc]
                ABOVE,
                bins=(GROUPS["easy"],),
            ),
            Claim(
                topic,
                f"With many (the highest R) the larger model beats {mechanism} on hard problems",
                "relative improvement in bin 4 at the highest R, %",
                lambda v, at=at: at(v, 0, GROUPS["hard"]),  # type: ignore[misc]
                BELOW,
                bins=(GROUPS["hard"],),
            ),
            Claim(
                topic,
                f"The advantage of {mechanism} falls with difficulty",
                "relative improvement in bin 2 less that in bin 4 at the highest R, %",
                lambda v, at=at: difference(at(v, 0, GROUPS["easy"]), at(v, 0, GROUPS["hard"])),  # type: ignore[misc]
                ABOVE,
                bins=(GROUPS["easy"], GROUPS["hard"]),
            ),
            Claim(
                topic,
                f"The advantage of {mechanism} falls with R",
                "accuracy at the lowest R's budget less at the highest's, bins 2 to 4, points",
                lambda v, name=name: _over_r(v, name),  # type: ignore[misc]
                ABOVE,
                bins=(1, 2, 3),
            ),
            Claim(
                topic,
                f"On the hardest problems (bin 5) the larger model is ahead of {mechanism} at every R",
                "accuracy less the larger model's in bin 5 at the lowest R, points",
                lambda v, name=name: (  # type: ignore[misc]
                    v.mean(name, reached(v, name, _star(v, -1)), (4,)) - v.mean("larger", 1, (4,))
                ),
                BELOW,
                bins=(4,),
            ),
        ]
    return found


def _s(mechanism: str, verb: str) -> str:
    """The verb for search or for revisions."""
    ending = "es" if verb.endswith("ch") else "s"
    return verb if mechanism == "revisions" else verb + ending


def _over_r(view: View, name: str) -> Floats:
    high, low = (reached(view, name, _star(view, which)) for which in (0, -1))
    if high == low:
        raise Absent("all of the stars lie beyond the measured budgets")
    bins = (1, 2, 3)
    return view.mean(name, low, bins) - view.mean(name, high, bins)


def _weak() -> list[Claim]:
    topic = "Weak verifiers"
    easier = (GROUPS["easy"], GROUPS["medium"])
    rows = {
        "A verifier with a fifth of its scores turned round": "weighted:flipped",
        "Majority over parallel attempts of the reviser": "parallel:majority",
    }
    return [
        Claim(
            topic,
            "A random verifier is a majority vote",
            f"best-of-N weighted by random scores less majority at the largest N, points (within {MARGIN:g})",
            lambda v: lead(v, "weighted:random", "majority", largest(v, "weighted:random")),
            ALIKE,
            printed=False,
        ),
        Claim(
            topic,
            "A random verifier mostly loses to the larger model",
            "relative improvement of best-of-N weighted by random scores, "
            "mean of bins 2 to 4 at the highest R, %",
            lambda v: average([advantage(v, "weighted:random", _star(v, 0), b) for b in (1, 2, 3)]),
            BELOW,
            bins=(1, 2, 3),
            printed=False,
        ),
        *(
            Claim(
                topic,
                f"{who} still beats the larger model on easy and medium problems at the lowest R",
                "relative improvement, mean of bins 2 and 3 at the lowest R, %",
                lambda v, name=name: average([advantage(v, name, _star(v, -1), b) for b in easier]),  # type: ignore[misc]
                bins=easier,
                printed=False,
            )
            for who, name in rows.items()
        ),
    ]


def _own(ours: Ours) -> list[Claim]:
    topic = "Beyond the paper: one policy over search and revisions"
    found = []
    for kind, times in (("oracle", TIMES), ("predicted", TIMES), ("charged", TIMES / 2)):
        policy, cost = f"wide:joint:allocating:{kind}", f"spent:joint:allocating:{kind}"
        found += [
            Claim(
                topic,
                f"Allocating compute ({kind}) needs {times:g} times less than best-of-N weighted at N = {n}",
                f"compute of best-of-N weighted at {n} over the policy's at its accuracy, a ratio",
                lambda v, n=n, p=policy, c=cost: saving(v, "weighted:prm", p, c, n),  # type: ignore[misc]
                (times, float("inf")),
                printed=False,
                unit=0.0,
            )
            for n in (64, 256)
        ]
    for kind, times in (("oracle", TIMES), ("predicted", TIMES), ("charged", TIMES / 2)):
        policy, cost = f"wide:joint:allocating:{kind}", f"spent:joint:allocating:{kind}"
        found.append(
            Claim(
                topic,
                f"Allocating compute ({kind}) needs {times:g} times less than as many first attempts of the "
                "reviser",
                "compute of best-of-N weighted over the reviser's first attempts, at the chains' largest "
                "budget, over the policy's at its accuracy, a ratio",
                lambda v, p=policy, c=cost: saving(  # type: ignore[misc]
                    v, "parallel:score", p, c, largest(v, "parallel:score")
                ),
                (times, float("inf")),
                printed=False,
                unit=0.0,
            )
        )
    found += [
        Claim(
            topic,
            f"One policy over both ({said}, {kind}) beats the better of search alone and revisions alone",
            f"joint less the better of the two ({said}, {kind}) at the chains' largest budget, points",
            lambda v, how=how, kind=kind: _joint(v, how, kind),  # type: ignore[misc]
            printed=False,
        )
        for how, said in (("equal", "equal budgets"), ("allocating", "allocating"))
        for kind in ("oracle", "predicted", "charged")
    ]
    return found


def _joint(view: View, how: str, kind: str) -> Floats:
    """The joint policy less the better of the two families alone, better on all problems alike."""
    both, *alone = (f"wide:{family}:{how}:{kind}" for family in ("joint", "search", "revisions"))
    n = largest(view, both, "parallel:score")
    means = [view.mean(name, n) for name in alone]
    return view.mean(both, n) - max(means, key=lambda v: float(v[0]))
