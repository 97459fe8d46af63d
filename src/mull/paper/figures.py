"""Every figure of the paper in its order, and what is not drawn and why."""

from __future__ import annotations

from mull.paper import figures_exchange, figures_revisions, figures_search
from mull.paper.figure import Figure
from mull.paper.view import Ours

#: Figures that are not redrawn, with the reason.
LEFT_OUT = {
    "2 and 5": "schematics of the methods, without data",
    "17 to 29 (ICLR 20 to 32)": "samples in text; mull's own are in the study's shards and its report",
    "ICLR 16": "two other base models of the paper's family, which have no counterpart here",
}


def figures(ours: Ours) -> list[Figure]:
    """All figures: arXiv's in their order, then ICLR's own, then mull's."""
    made = [module.figures(ours) for module in (figures_exchange, figures_search, figures_revisions)]
    return sorted((figure for part in made for figure in part), key=_order)


def _order(figure: Figure) -> tuple[int, int]:
    if figure.arxiv:
        return 0, int(figure.arxiv)
    return (1, int(figure.iclr)) if figure.iclr else (2, 0)
