"""Tables of numbers in colour: a cell is the deeper, the larger its number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from distilled_experts.report.figures.style import ARM_COLOURS, INK, SURFACE
from distilled_experts.report.formats import MINUS, MISSING, clean
from distilled_experts.report.values import Number, known

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

# Up to here a cell is dark enough to see and its number still has contrast, in light and in dark.
STRONGEST = 0.55
FAINTEST = 0.04
# So many columns leave room for a number in each cell of a figure on its own.
ANNOTATED = 12
MOST_NAMES = 16
Limits = tuple[float, float]


def limits_of(*matrices: Sequence[Sequence[Number]]) -> Limits:
    """Return the range of colour for scores: from zero, or from the smallest where that is larger, to the largest.

    An R² far below zero on a foreign domain is as bad as zero for the eye, and would pale all others.
    """
    scores = [score for matrix in matrices for row in matrix for score in known(row)]
    low = max(min(scores, default=0.0), 0.0)
    return low, max(max(scores, default=1.0), low + 1e-9)


def heat_map(
    ax: Axes,
    matrix: Sequence[Sequence[Number]],
    limits: Limits,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    own: bool = False,
    annotated: int = ANNOTATED,
    square: bool = False,
) -> None:
    """Draw a table of scores (R, C) with a name for every row and column.

    ``own`` outlines the diagonal. Numbers stand in the cells of up to ``annotated`` columns; more rows or columns
    than fit have only some of their names.
    """
    _cells(ax, matrix, limits)
    if own:
        _outline(ax, len(matrix))
    if len(columns) <= annotated:
        for row, scores in enumerate(matrix):
            for column, score in enumerate(scores):
                ax.text(column, row, _short(score), ha="center", va="center", fontsize=9, color=INK)
    _names(ax.xaxis, columns)
    _names(ax.yaxis, rows)
    ax.set_xlim(-0.55, len(columns) - 0.45)
    ax.set_ylim(len(rows) - 0.45, -0.55)
    if square:
        ax.set_aspect("equal")
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _cells(ax: Axes, matrix: Sequence[Sequence[Number]], limits: Limits) -> None:
    """One collection for all cells: a large table stays small as a file."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    places = [(row, column, score) for row, scores in enumerate(matrix) for column, score in enumerate(scores)]
    cells = PatchCollection(
        [Rectangle((column - 0.5, row - 0.5), 1, 1) for row, column, _ in places],
        facecolors=[(*_rgb(), _depth(score, limits)) for *_, score in places],
        edgecolors=SURFACE,
        linewidths=1.0,
    )
    ax.add_collection(cells)


def _outline(ax: Axes, size: int) -> None:
    """Frame the cells on the diagonal."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    cells = [Rectangle((place - 0.5, place - 0.5), 1, 1) for place in range(size)]
    ax.add_collection(PatchCollection(cells, facecolors="none", edgecolors=INK, linewidths=1.4, zorder=2))


def _rgb() -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    return to_rgb(ARM_COLOURS["mode"])


def _depth(score: Number, limits: Limits) -> float:
    low, high = limits
    share = 0.0 if score is None else min(max((score - low) / (high - low), 0.0), 1.0)
    return FAINTEST + (STRONGEST - FAINTEST) * share


def _names(axis: Axis, names: Sequence[str]) -> None:
    step = 1 + max(0, len(names) - 1) // MOST_NAMES
    axis.set_ticks(range(0, len(names), step), [clean(name) for name in names[::step]])


def _short(score: Number) -> str:
    if score is None:
        return MISSING
    text = f"{score:.2f}" if abs(score) < 10 else f"{score:.0f}"
    return text.replace("-", MINUS)
