"""Every figure of the paper in its order, and what is not drawn and why."""

from __future__ import annotations

from collections.abc import Sequence

from mull.paper import figures_exchange, figures_revisions, figures_search
from mull.paper.figure import Figure
from mull.paper.view import Ours

#: Figures that are not redrawn, with the reason.
LEFT_OUT = {
    "ICLR 16": "difficulty bins of two other base models; of its own other model, the larger one, a study "
    "records one greedy answer a problem, and samples and searches of it would double the time of a study",
}


def figures(ours: Ours, shown: Sequence[Figure] = ()) -> list[Figure]:
    """All figures: arXiv's in their order, then ICLR's own, then mull's; ``shown`` are those of solutions."""
    made = [module.figures(ours) for module in (figures_exchange, figures_search, figures_revisions)]
    made.append(list(shown))
    return sorted((figure for part in made for figure in part), key=_order)


def _order(figure: Figure) -> tuple[int, int]:
    if figure.arxiv:
        return 0, int(figure.arxiv)
    return (1, int(figure.iclr)) if figure.iclr else (2, 0)
