"""The steps of a computation as boxes from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from distilled_experts.report.figures.style import ARM_COLOURS, GRID, INK, MUTED, figure_axes, look, owner

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _HEIGHT, _GAP = 1.5, 0.8, 0.55


def steps(rows: Sequence[tuple[str, str, Sequence[str]]], ax: Axes | None = None) -> Figure:
    """Draw steps as boxes from left to right, with what each of them takes above and what it gives below.

    Parameters
    ----------
    rows : sequence of (str, str, sequence of str)
        Name of each step, what it gives, and what it takes.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> figure = steps([("gate", "routing", ["x"]), ("combine", "output", ["experts", "routing"])])
    >>> [text.get_text() for text in figure.axes[0].texts if text.get_weight() == "bold"]
    ['gate', 'combine']
    """
    with look():
        ax = figure_axes(ax, size=(1.6 * max(len(rows), 1) + 0.4, 2.4))
        for place, (name, given, taken) in enumerate(rows):
            _box(ax, place * (_WIDTH + _GAP), name, given, taken)
            if place:
                start = place * (_WIDTH + _GAP) - _GAP
                ax.annotate(
                    "", (start + _GAP, 0), (start, 0), arrowprops={"arrowstyle": "->", "color": MUTED, "linewidth": 1.4}
                )
        ax.set_xlim(-0.1, len(rows) * (_WIDTH + _GAP) - _GAP + 0.1)
        ax.set_ylim(-1.5, 1.5)
        ax.set_axis_off()
    return owner(ax)


def _box(ax: Axes, left: float, name: str, given: str, taken: Sequence[str]) -> None:
    from matplotlib.patches import Rectangle

    middle = left + _WIDTH / 2
    box = Rectangle((left, -_HEIGHT / 2), _WIDTH, _HEIGHT, facecolor=GRID, edgecolor=ARM_COLOURS["mode"], linewidth=1.4)
    ax.add_patch(box)
    ax.text(middle, 0, name, ha="center", va="center", color=INK, weight="bold", fontsize=9)
    ax.text(middle, _HEIGHT / 2 + 0.1, "\n".join(taken), ha="center", va="bottom", color=MUTED, fontsize=8)
    ax.text(middle, -_HEIGHT / 2 - 0.1, given.replace(", ", ",\n"), ha="center", va="top", color=INK, fontsize=8)
