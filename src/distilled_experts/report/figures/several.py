"""Figures over several records: differences below each other, curves against α, average ranks."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from distilled_experts.report.figures.axes import alpha_axis
from distilled_experts.report.figures.rows import Row, difference_rows
from distilled_experts.report.figures.style import ARM_COLOURS, INK, figure_axes, look, new_axes, owner, tidy
from distilled_experts.report.formats import clean, counted
from distilled_experts.report.values import Record, columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_OURS, _OTHERS = ARM_COLOURS["mode"], ARM_COLOURS["dense"]
_POINTS = 100


def forest(differences: Mapping[str, Record], label: str, ax: Axes | None = None, *, factor: float = _POINTS) -> Figure:
    """Draw one difference a study below each other: seeds as dots, mean, 95 % interval.

    Parameters
    ----------
    differences : mapping of str to mapping
        ``mean``, ``low``, ``high`` and ``scores`` of each study, by its name.
    label : str
        Of the axis.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure otherwise.
    factor : float
        Of all numbers; 100 turns shares into points.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> figure = forest({"digits": {"mean": 0.01, "low": 0.0, "high": 0.02, "scores": [0.01]}}, "points")
    >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
    ['digits']
    """
    rows = [Row(name, _scaled(found, factor), _OURS) for name, found in differences.items()]
    with look():
        ax = figure_axes(ax, size=(6.4, 0.9 + 0.34 * len(rows)))
        difference_rows(ax, rows)
        ax.set_xlabel(label)
    return owner(ax)


def _scaled(difference: Record, factor: float) -> Record:
    ends = {key: None if difference[key] is None else factor * difference[key] for key in ("mean", "low", "high")}
    return {**ends, "scores": [factor * score for score in difference["scores"]]}


def changes_against_alpha(
    alphas: Sequence[float], panels: Mapping[str, Sequence[Sequence[float]]], label: str
) -> Figure:
    """Draw curves against α side by side: every study thin, their mean thick.

    Parameters
    ----------
    alphas : sequence of float, length A
    panels : mapping of str to sequence, (studies, A)
        The curves of each panel by its title.
    label : str
        What the curves show.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> figure = changes_against_alpha([0.0, 1.0], {"mixture": [[0.0, 1.5]], "experts": [[0.0, 3.0]]}, "points")
    >>> [ax.get_title("left") for ax in figure.axes]
    ['mixture', 'experts']
    """
    with look():
        axes = new_axes(len(panels), size=(9, 3.6))
        for ax, (title, curves) in zip(axes, panels.items(), strict=True):
            tidy(ax)
            for curve in curves:
                ax.plot(curve, color=_OURS, linewidth=1, alpha=0.35)
            ax.plot([fmean(column) for column in columns(curves)], marker="o", color=_OURS, linewidth=2.5)
            ax.axhline(0, color=INK, linewidth=0.8, linestyle=":")
            alpha_axis(ax, alphas)
            ax.set_title(title, fontsize=10, loc="left")
        axes[0].set_ylabel(label)
    return owner(axes[0])


def average_ranks(
    ranks: Mapping[str, float],
    critical_difference: float | None,
    n_sets: int,
    ours: Collection[str] = (),
    ax: Axes | None = None,
) -> Figure:
    """Draw average ranks, the best on top; two methods differ where their bars do not overlap.

    Parameters
    ----------
    ranks : mapping of str to float
        Average rank of each method over the data sets, 1 the best.
    critical_difference : float or None
        Length of the bars; None: none are drawn.
    n_sets : int
        Number of data sets.
    ours : collection of str
        Methods that are drawn in the colour of this package.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.figure.Figure

    Notes
    -----
    After Demšar, JMLR 7, 2006, figure 1, with bars in place of brackets.

    Examples
    --------
    >>> figure = average_ranks({"MoE": 2.0, "MoDE": 1.0}, 0.5, n_sets=9)
    >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
    ['MoE', 'MoDE']
    """
    shown = sorted((rank, name) for name, rank in ranks.items() if math.isfinite(rank))[::-1]
    with look():
        ax = figure_axes(ax, size=(6.4, 0.9 + 0.34 * len(shown)))
        tidy(ax, grid="x")
        ax.set_ylim(-0.6, len(shown) - 0.4)
        for place, (rank, name) in enumerate(shown):
            colour = _OURS if name in ours else _OTHERS
            if critical_difference is not None:
                half = critical_difference / 2
                ax.plot([rank - half, rank + half], [place] * 2, color=colour, linewidth=5, alpha=0.6)
            ax.plot([rank], [place], marker="o", color=colour)
        ax.set_yticks(range(len(shown)), [clean(name) for _, name in shown])
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel(f"average rank over {counted(n_sets, 'data set')}; bars: critical difference")
    return owner(ax)
