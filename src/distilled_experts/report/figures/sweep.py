"""Measures of a sweep against the strength of distillation, and against the number of experts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from distilled_experts.errors import InvalidParameterError
from distilled_experts.report import words
from distilled_experts.report.data.sweep import MEASURES, SCORES, swept
from distilled_experts.report.figures.axes import alpha_axis, cut_below, error_line, legend_above, visible_range
from distilled_experts.report.figures.style import ARM_COLOURS, figure_axes, look, owner, tidy
from distilled_experts.report.formats import strength
from distilled_experts.report.records import check
from distilled_experts.report.values import Number, Record, known

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "osD^vPX*"
MOE, MODE = ARM_COLOURS["moe"], ARM_COLOURS["mode"]
NOTHING = (None, None)
Cell = tuple[Number, Number]
Cells = dict[tuple[Any, Any], Cell]


class Line(NamedTuple):
    """Means with their standard errors, and how they are shown."""

    name: str
    colour: str
    cells: list[Cell]


def alpha_by_experts(record: Record, ax: Axes | None = None, *, measure: str = "score") -> Figure:
    """Draw a measure of a sweep against α, one line for each number of experts.

    Parameters
    ----------
    record : mapping
        The record of a sweep.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure otherwise.
    measure : {"score", "own_domain", "similarity", "narrow_vision"}
        The mixture's test score, that of the experts on their own domains, CKA of the experts, or the narrow-vision
        index of the whole loss.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InvalidParameterError
        If ``record`` is not the record of a sweep, or there is no such measure.
    """
    record, cells = _checked(record, measure)
    grid, sizes = known(record.get("alpha")), list(record.get("experts") or ())
    lines = [Line(f"E = {size}", MODE, [cells.get((size, alpha), NOTHING) for alpha in grid]) for size in sizes]
    with look():
        ax = _lines(figure_axes(ax), lines, _cut(measure, cells))
        alpha_axis(ax, grid)
        ax.set_ylabel(words.swept_name(record, measure))
    return owner(ax)


def experts_by_alpha(record: Record, ax: Axes | None = None, *, measure: str = "score") -> Figure:
    """Draw a measure of a sweep against the number of experts, one line for each α; as `alpha_by_experts`."""
    record, cells = _checked(record, measure)
    grid, sizes = known(record.get("alpha")), list(record.get("experts") or ())
    lines = [
        Line(f"α = {strength(alpha)}", MODE if alpha else MOE, [cells.get((size, alpha), NOTHING) for size in sizes])
        for alpha in grid
    ]
    with look():
        ax = _lines(figure_axes(ax), lines, _cut(measure, cells))
        ax.set_xticks(range(len(sizes)), [str(size) for size in sizes])
        ax.set_xlim(-0.5, max(len(sizes), 1) - 0.5)
        ax.set_xlabel("number of experts")
        ax.set_ylabel(words.swept_name(record, measure))
    return owner(ax)


def _checked(record: Record, measure: str) -> tuple[Record, Cells]:
    """The record, and mean and standard error by number of experts and α."""
    record = check(record, "sweep")
    if measure not in MEASURES:
        raise InvalidParameterError("measure", measure, list(MEASURES))
    rows: list[Any] = swept(record, measure).rows
    return record, {(experts, alpha): (centre, error) for experts, alpha, centre, error in rows}


def _cut(measure: str, cells: Cells) -> tuple[float, float] | None:
    """Limits within which scores can be told apart; what lies in [0, 1] is shown whole."""
    plain = [centre for (_, alpha), (centre, _) in cells.items() if alpha == 0]
    return visible_range([centre for centre, _ in cells.values()], shown=plain) if measure in SCORES else None


def _lines(ax: Axes, lines: Sequence[Line], limits: tuple[float, float] | None) -> Axes:
    """Draw lines from faint to strong, each a little beside the one before."""
    tidy(ax)
    points: list[tuple[float, float]] = []
    for order, line in enumerate(lines):
        points += error_line(
            ax,
            [centre for centre, _ in line.cells],
            [error for _, error in line.cells],
            colour=line.colour,
            marker=MARKERS[order % len(MARKERS)],
            label=line.name,
            opacity=0.45 + 0.55 * order / max(len(lines) - 1, 1),
            offset=0.05 * (order - (len(lines) - 1) / 2),
        )
    cut_below(ax, limits, points)
    legend_above(ax)
    return ax
