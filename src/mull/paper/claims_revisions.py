"""The paper's claims on revisions: its section 6, its appendices B and I to K."""

from __future__ import annotations

import numpy as np

from mull.paper import curves
from mull.paper.arrays import Floats
from mull.paper.claims import ALIKE, BELOW, MARGIN, Claim
from mull.paper.claims_search import lead, shared, up_to
from mull.paper.view import Absent, Ours, Paper, View, average

#: The paper's selectors in words, by the names of lines.
NAMES = {"score": "the verifier", "majority": "majority"}


def claims(ours: Ours) -> list[Claim]:
    """Shapes (4) to (6) and (10) of the paper, and the revisions' part of (7) and (8)."""
    return [*_chains(), *_sequential(ours), *_ratios(ours), *_optimal(ours), *_verifier(ours), *_restem(ours)]


def _chains() -> list[Claim]:
    topic = "Chains of revisions"
    return [
        Claim(
            topic,
            "Revised answers get better beyond the four steps of training",
            "pass@1 at steps after the 4th less at steps 1 to 4, points",
            lambda v: _steps(v, 5, None) - _steps(v, 1, 4),
        ),
        Claim(
            topic,
            "A chain's second half is 5 to 6 points above its first step",
            f"pass@1 in the second half less at step 1, points (within {MARGIN:g} of 5.5)",
            lambda v: _steps(v, _length(v) // 2 + 1, None) - v.mean("chain", 1),
            (5.5 - MARGIN, 5.5 + MARGIN),
        ),
        Claim(
            topic,
            "In its second half a chain has reached a plateau",
            f"pass@1 in the last quarter less in the one before, points (within {MARGIN:g}: a plateau)",
            lambda v: (
                _steps(v, 3 * _length(v) // 4 + 1, None) - _steps(v, _length(v) // 2 + 1, 3 * _length(v) // 4)
            ),
            ALIKE,
        ),
        Claim(
            topic,
            "Revising naively turns about 38 % of right answers wrong",
            "share of right answers followed by a wrong one, % (within 10 of 38)",
            _lost,
            (curves.LOST - 10, curves.LOST + 10),
            paper=curves.LOST,
        ),
    ]


def _length(view: View) -> int:
    found = int(view.places("chain").max())
    if found < 8:
        raise Absent("the chains are too short: 8 attempts at least")
    return found


def _steps(view: View, first: int, last: int | None) -> Floats:
    """Mean pass@1 from step ``first`` to ``last``."""
    return average([view.mean("chain", x) for x in range(first, (last or _length(view)) + 1)])


def _lost(view: View) -> Floats:
    if not isinstance(view, Ours):
        raise Absent("the paper has it in words")
    right, wrong = view.raw("lost", 0), view.raw("lost", 1)
    return 100 * np.divide(wrong, right, out=np.full_like(right, np.nan), where=right > 0)


def _sequential(ours: Ours) -> list[Claim]:
    topic = "Sequential against parallel attempts"
    found = []
    for by, name in NAMES.items():
        top = shared(ours, f"sequential:{by}", default=64)
        at = up_to(top, 16, 32, 64)
        listed = ", ".join(map(str, at))
        found.append(
            Claim(
                topic,
                f"One chain beats as many first attempts at N \u2265 16, selected by {name}",
                f"sequential less parallel, mean over N = {listed}, points",
                lambda v, by=by, at=at: average([_ahead(v, by, n) for n in at]),  # type: ignore[misc]
            )
        )
    return found


def _ahead(view: View, by: str, n: int) -> Floats:
    """How far one chain is ahead; figure 6 has its own parallel curve."""
    parallel = f"6/parallel:{by}" if isinstance(view, Paper) else f"parallel:{by}"
    return view.mean(f"sequential:{by}", n) - view.mean(parallel, n)


def _ratios(ours: Ours) -> list[Claim]:
    topic = "The ratio of sequential to parallel attempts"
    top = shared(ours, "parallel:score", default=256)
    bins = {(0, 1): "easy problems (bins 1 and 2)", (2, 3): "harder problems (bins 3 and 4)"}
    half = max(top // 2, 1)
    return [
        Claim(
            topic,
            "At N = 8 the ratio does not matter",
            f"fully sequential less fully parallel at 8, points (within {MARGIN:g})",
            lambda v: _tilt(v, "ratio:score:8"),
            ALIKE,
        ),
        *(
            Claim(
                topic,
                f"At the largest N sequential attempts are worth more, selected by {name}",
                f"slope of accuracy over log2 of the ratio at {top}, points a doubling",
                lambda v, by=by: _slope(v, by, top),  # type: ignore[misc]
            )
            for by, name in NAMES.items()
        ),
        Claim(
            topic,
            "At the largest N the best ratio lies between fully parallel and fully sequential",
            f"best ratio between the ends less the better end at {top}, chosen on other problems, points",
            lambda v: _interior(v, top),
        ),
        Claim(
            topic,
            f"On {bins[0, 1]} fully sequential is no worse than any other ratio",
            f"fully sequential less the best other ratio at the second largest N (ours {half}, the paper's "
            f"128), chosen on other problems, points (down to -{MARGIN:g})",
            lambda v: _sequential_end(v, _second(v, half), (0, 1)),
            (-MARGIN, float("inf")),
            bins=(0, 1),
        ),
        Claim(
            topic,
            f"On {bins[2, 3]} a ratio between the ends is best",
            f"best ratio between the ends less the better end at the second largest N (ours {half}, the "
            "paper's 128), chosen on other problems, points",
            lambda v: _interior(v, _second(v, half), (2, 3)),
            bins=(2, 3),
        ),
    ]


def _tilt(view: View, name: str) -> Floats:
    """Fully sequential less fully parallel."""
    xs = view.places(name)
    return view.mean(name, float(xs.max())) - view.mean(name, float(xs.min()))


def _slope(view: View, by: str, n: int) -> Floats:
    """Least squares of accuracy on log2 of the ratio."""
    name = f"ratio:{by}:{n}"
    xs = view.places(name)
    if len(xs) < 2:
        raise Absent("one ratio has no slope")
    centred = xs - xs.mean()
    values = np.stack([view.mean(name, float(x)) for x in xs], axis=1)
    return np.asarray(values @ centred / (centred @ centred))


def _interior(view: View, n: int, bins: tuple[int, ...] = ()) -> Floats:
    """The best ratio between the ends less the better end."""
    last = _ends(view, n)
    return view.contest(f"ratio:score:{n}", range(1, last), (0, last), bins)


def _sequential_end(view: View, n: int, bins: tuple[int, ...]) -> Floats:
    """Fully sequential less the best other ratio."""
    last = _ends(view, n)
    return view.contest(f"ratio:score:{n}", (last,), range(last), bins)


def _ends(view: View, n: int) -> int:
    """The place of the last ratio, where there is one between it and the first."""
    found = len(view.places(f"ratio:score:{n}"))
    if found < 3:
        raise Absent("no ratio lies between the ends")
    return found - 1


def _second(view: View, half: int) -> int:
    """The second largest N; figure 7 has it at 128."""
    return half if isinstance(view, Ours) else 128


def _optimal(ours: Ours) -> list[Claim]:
    topic = "Choosing by difficulty: revisions"
    policy = "policy:revisions:oracle"
    top = shared(ours, policy, default=64)
    at = up_to(top, 16, 32, 64, 128, 256)
    return [
        Claim(
            topic,
            f"Compute-optimal revisions beat parallel attempts at N = {top}",
            f"compute-optimal (oracle) less parallel at {top}, points",
            lambda v: lead(v, policy, "parallel:score", top),
        ),
        Claim(
            topic,
            "At N \u2264 8 compute-optimal revisions do not beat parallel attempts",
            f"compute-optimal (oracle) less parallel, mean over 2, 4, 8, points (within {MARGIN:g})",
            lambda v: average([lead(v, policy, "parallel:score", n) for n in (2, 4, 8)]),
            ALIKE,
        ),
        Claim(
            topic,
            "Compute-optimal revisions beat parallel attempts with majority in place of the verifier, too",
            f"compute-optimal (oracle) less parallel at {top}, both by majority, points",
            lambda v: lead(v, "policy:revisions_majority:oracle", "parallel:majority", top),
        ),
        Claim(
            topic,
            "With predicted difficulty compute-optimal revisions are about as good as with oracle difficulty",
            f"predicted less oracle, mean over {', '.join(map(str, at))}, points",
            lambda v: average([lead(v, "policy:revisions:predicted", policy, n) for n in at]),
            ALIKE,
        ),
    ]


def _verifier(ours: Ours) -> list[Claim]:
    topic = "The revisions' own verifier"
    top = shared(ours, "sequential:score", "sequential:prm", default=64)
    at = up_to(top, 16, 32, 64)
    listed = ", ".join(map(str, at))
    return [
        Claim(
            topic,
            "A verifier trained on revisions selects better than the base model's PRM",
            f"sequential by the revisions' verifier less by the PRM, mean over N = {listed}, points",
            lambda v: average([lead(v, "sequential:score", "sequential:prm", n) for n in at]),
        ),
        Claim(
            topic,
            "Showing the verifier the attempts before helps a little",
            f"sequential with less without history, mean over N = {listed}, points",
            lambda v: average([lead(v, "sequential:score", "sequential:score_blind", n) for n in at]),
        ),
    ]


def _restem(ours: Ours) -> list[Claim]:
    topic = "ReST-EM on revisions"
    n = next((n for n in (64, 16, 4) if f"restem:majority:{n}" in ours.arrays.lines), 64)
    return [
        Claim(
            topic,
            "A reviser trained by ReST-EM gets worse the more sequential its attempts are",
            f"fully sequential less fully parallel at {n}, majority, points",
            lambda v: _tilt(v, f"restem:majority:{n}"),
            BELOW,
        ),
        Claim(
            topic,
            "The first attempt of a reviser trained by ReST-EM is better than the other reviser's",
            "pass@1 of its first attempt less the reviser's, points",
            lambda v: v.mean("restem:majority:1", 0) - v.mean("ratio:majority:1", 0),
        ),
    ]
