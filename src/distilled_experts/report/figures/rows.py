"""Differences below each other: seeds as dots, mean, 95 % interval, and a line at zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from distilled_experts.report.figures.style import INK, SURFACE, tidy
from distilled_experts.report.formats import clean
from distilled_experts.report.values import Record, finite, known

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Row(NamedTuple):
    """A difference as the records hold it, with its name and colour."""

    name: str
    difference: Record
    colour: str


def difference_rows(ax: Axes, rows: Sequence[Row]) -> None:
    """Draw ``rows`` from top to bottom."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(6))
    tidy(ax, grid="x")
    ax.axvline(0, color=INK, linewidth=1.2)
    for height, row in enumerate(rows):
        _difference_row(ax, row.difference, height, row.colour)
    ax.set_yticks(range(len(rows)), [clean(row.name) for row in rows])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(rows) - 0.45, -0.55)


def _difference_row(ax: Axes, difference: Record, height: int, colour: str) -> None:
    scores = known(difference.get("scores"))
    ax.plot(
        scores,
        [height + 0.26 + 0.035 * (seed % 3) for seed in range(len(scores))],
        linestyle="none",
        marker="o",
        markersize=3.6,
        color=colour,
        alpha=0.55,
        markeredgewidth=0,
    )
    low, high, centre = (finite(difference.get(key)) for key in ("low", "high", "mean"))
    if low is not None and high is not None:
        ax.plot([low, high], [height, height], color=colour, linewidth=3, solid_capstyle="butt")
    if centre is not None:
        ax.plot([centre], [height], marker="D", markersize=8, color=colour, markeredgecolor=SURFACE)
