"""Parts that several figures share: the α axis, the visible range of scores, a line with its errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from distilled_experts.report.figures.style import INK, MUTED, SURFACE
from distilled_experts.report.formats import fixed
from distilled_experts.report.values import Number, Record, finite, known

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# So many characters of labels fit side by side below an axis.
ROOM = 46


def alpha_axis(ax: Axes, grid: Sequence[float], counts: Mapping[float, int] | None = None) -> None:
    """Label the x axis with the values of α, equally spaced: the grid holds 0, which a logarithm has not.

    With ``counts``, the number of seeds that chose a value stands below it, or behind it on turned labels.
    """
    values = [f"{alpha:.3g}" for alpha in grid]
    turned = sum(map(len, values)) > ROOM
    chosen = [(counts or {}).get(alpha) for alpha in grid]
    names = values
    if counts and turned:
        names = [f"{value} ({seeds})" if seeds else value for value, seeds in zip(values, chosen, strict=True)]
    elif counts:
        names = [f"{value}\n{seeds or '·'}" for value, seeds in zip(values, chosen, strict=True)]
    ax.set_xticks(range(len(grid)), names)
    ax.tick_params(axis="x", labelrotation=90 if turned else 0, labelsize=8 if turned else 9)
    ax.set_xlim(-0.5, max(len(grid), 1) - 0.5)
    where = "in brackets" if turned else "below"
    ax.set_xlabel(f"α  ({where}: seeds that chose it)" if counts else "α")


def visible_range(values: Sequence[Number], shown: Sequence[Number] = ()) -> tuple[float, float] | None:
    """Return the limits in which the interesting scores can be told apart, None where all of them can.

    Where the worst quarter of ``values`` lies so far below that the rest would shrink to a line (α = 100),
    the axis is cut below the rest, but never above one of the values in ``shown``.
    """
    ranked = sorted(known(values))
    if len(ranked) < 4:
        return None
    lowest = min([ranked[math.ceil(len(ranked) / 4)], *known(shown)])
    rest = [value for value in ranked if value >= lowest]
    spread = rest[-1] - rest[0]
    if spread <= 0 or rest[-1] - ranked[0] < 4 * spread:
        return None
    return rest[0] - 0.75 * spread, rest[-1] + 0.35 * spread


def cut_below(ax: Axes, limits: tuple[float, float] | None, points: Sequence[tuple[float, float]]) -> None:
    """Set the limits of the y axis and write the values that fell off below."""
    if limits is None:
        return
    ax.set_ylim(*limits)
    hidden: dict[int, list[float]] = {}
    for x, y in points:
        if y < limits[0]:
            hidden.setdefault(round(x), []).append(y)
    for x, values in hidden.items():
        ends = sorted({fixed(min(values), 2), fixed(max(values), 2)})
        ax.annotate(
            "▼ " + "\nto ".join(ends),
            (x, 0.02),
            xycoords=("data", "axes fraction"),
            ha="center",
            va="bottom",
            fontsize=8,
            color=INK,
        )


def error_line(
    ax: Axes,
    means: Sequence[Number],
    errors: Sequence[Number],
    *,
    colour: str,
    marker: str,
    label: str,
    dashes: str = "-",
    opacity: float = 1.0,
    offset: float = 0.0,
) -> list[tuple[float, float]]:
    """Draw means with their standard errors over positions 0, 1, …; return the drawn points."""
    points = [(x + offset, mean) for x, mean in enumerate(means) if mean is not None]
    ax.plot(
        [x for x, _ in points],
        [y for _, y in points],
        color=colour,
        linestyle=dashes,
        marker=marker,
        markersize=6,
        markeredgecolor=SURFACE,
        alpha=opacity,
        label=label,
    )
    for x, (mean, error) in enumerate(zip(means, errors, strict=True)):
        if mean is not None and error:
            ends = [mean - error, mean + error]
            ax.plot([x + offset] * 2, ends, color=colour, linewidth=1.2, alpha=opacity)
    return points


def interval_marks(ax: Axes, measure: Record) -> None:
    """Draw the 95 % intervals of a measure, lists of ``low`` and ``high`` ends, at the places from 0 on."""
    ends = zip(measure.get("low") or (), measure.get("high") or (), strict=False)
    for x, (low, high) in enumerate(ends):
        if finite(low) is not None and finite(high) is not None:
            ax.plot([x, x], [low, high], color=INK, linewidth=1.4, solid_capstyle="butt")


def level(ax: Axes, value: Number, label: str, *, colour: str = MUTED, dashes: str = "--") -> None:
    """Draw a horizontal line to compare with."""
    if value is not None:
        ax.axhline(value, color=colour, linestyle=dashes, linewidth=1.4, zorder=1.5, label=label)


def legend_above(ax: Axes, *, columns: int = 4) -> None:
    """Put the legend above the plot, where it hides nothing."""
    handles, labels = ax.get_legend_handles_labels()
    if handles:
        ax.legend(
            handles,
            labels,
            loc="lower left",
            bbox_to_anchor=(0, 1.0),
            ncols=min(columns, len(handles)),
            frameon=False,
            fontsize=9,
            handlelength=1.8,
            columnspacing=1.2,
            borderaxespad=0.2,
            borderpad=0,
        )
