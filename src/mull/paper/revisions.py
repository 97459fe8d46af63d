"""The paper's lines of revisions, from a study's chains.

"Parallel" is N first attempts of the reviser, "sequential" N attempts of one chain, as in the
paper's section 6. Nothing is sampled here.
"""

from __future__ import annotations

import numpy as np

from mull.analysis.families import Families, Family
from mull.analysis.revisions import STRATEGIES, Revisions, Selector, ratios
from mull.paper.arrays import Floats, Line, line

#: The paper's two ways to settle on an answer, by the names of lines.
SELECTORS: dict[str, Selector] = {"score": "hierarchical", "majority": "majority"}
#: The families of policies over ratios; lines have the same names.
FAMILIES: tuple[Family, ...] = ("revisions", "revisions_majority")


def lines(chains: Revisions, families: Families) -> dict[str, Line]:
    """Every line of revisions that the study has."""
    steps = chains.by_position()
    found = {"chain": line(np.arange(1, chains.limit + 1), steps)}
    lost, won = chains.transitions()
    found |= {"lost": line([0, 1], lost), "won": line([0, 1], won)}
    found["context"] = line(found["chain"].x, chains.by_position("context_tokens"))
    for by, selector in SELECTORS.items():
        known = families.arms.get("revisions" if by == "score" else "revisions_majority")
        if known is None:
            continue
        accuracy = {
            (int(dict(arm.params)["chains"]), arm.budget): measure.accuracy for arm, measure in known.items()
        }
        assert all(arm.strategy == STRATEGIES[selector] for arm in known)
        found |= by_ratio(by, chains, accuracy)
    for by in ("prm", "score_blind"):
        if np.isfinite(chains.scores[by]).any():
            values = [chains.accuracy(1, n, "hierarchical", by) for n in chains.budgets]
            found[f"sequential:{by}"] = line(chains.budgets, np.stack(values, axis=1))
    for family in FAMILIES:
        for kind in (*families.bins, "charged"):
            found |= _policy(families, family, kind, chains.limit)
    return found


def by_ratio(by: str, chains: Revisions, accuracy: dict[tuple[int, int], Floats]) -> dict[str, Line]:
    """Lines over ratios at every budget, and their ends over budgets; ``accuracy`` by (chains, budget)."""
    found, budgets = {}, list(chains.budgets)
    for n in budgets:
        pairs = ratios(n, chains.limit)
        places = [np.log2(length / number) for number, length in pairs]
        values = np.stack([accuracy[number, n] for number, _ in pairs], axis=1)
        found[f"ratio:{by}:{n}"] = line(places, values)
    found[f"sequential:{by}"] = line(budgets, np.stack([accuracy[1, n] for n in budgets], axis=1))
    found[f"parallel:{by}"] = line(budgets, np.stack([accuracy[n, n] for n in budgets], axis=1))
    return found


def _policy(families: Families, family: Family, kind: str, limit: int) -> dict[str, Line]:
    """A family's policy at the budgets that its chains reach."""
    measured = families.measured.get((family, kind, False))
    if measured is None:
        return {}
    kept = [i for i, budget in enumerate(measured.budgets) if budget <= limit]
    budgets = [measured.budgets[i] for i in kept]
    return {
        f"policy:{family}:{kind}": line(budgets, measured.per_problem[:, kept]),
        f"cost:{family}:{kind}": line(budgets, measured.per_problem_cost["generations"][:, kept]),
    }


def restem(chains: Revisions) -> dict[str, Line]:
    """The chains of a reviser trained by ReST-EM: majority over every ratio, and pass@1 by step."""
    found = {"restem:chain": line(np.arange(1, chains.limit + 1), chains.by_position())}
    for n in chains.budgets:
        pairs = ratios(n, chains.limit)
        values = [chains.accuracy(number, length, "majority") for number, length in pairs]
        places = [np.log2(length / number) for number, length in pairs]
        found[f"restem:majority:{n}"] = line(places, np.stack(values, axis=1))
    return found
