"""Scores of a comparison against the strength of distillation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distilled_experts.report import words
from distilled_experts.report.figures.axes import alpha_axis, cut_below, error_line, legend_above, level, visible_range
from distilled_experts.report.figures.style import ARM_COLOURS, ARM_MARKERS, figure_axes, look, owner, tidy
from distilled_experts.report.records import alpha_counts, check
from distilled_experts.report.values import Record, columns, finite, known, mean, standard_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def score_against_alpha(record: Record, ax: Axes | None = None) -> Figure:
    """Draw the mean test score ± standard error against the distillation strength α.

    The α axis is categorical; below each value stands the number of seeds that chose it on their validation
    rows. The dense network is a dashed line.

    Parameters
    ----------
    record : mapping
        The record of a comparison; ``alpha_path`` holds one row of scores per seed, (S, A).
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InvalidParameterError
        If ``record`` is not the record of a comparison.
    """
    record = check(record, "compare")
    with look():
        ax = _along_alpha(record, ax, "test_scores")
        level(ax, finite(record["arms"].get("dense", {}).get("mean")), "dense", colour=ARM_COLOURS["dense"])
        ax.set_ylabel(f"test {words.metric_name(record)}")
        legend_above(ax)
    return owner(ax)


def own_domain_against_alpha(record: Record, ax: Axes | None = None) -> Figure:
    """Draw the score of each expert alone on its own domain against α; as `score_against_alpha`."""
    record = check(record, "compare")
    with look():
        ax = _along_alpha(record, ax, "own_domain")
        ax.set_ylabel(words.own_domain_name(record))
        legend_above(ax)
    return owner(ax)


def _along_alpha(record: Record, ax: Axes | None, quantity: str) -> Axes:
    path = record.get("alpha_path") or {}
    by_alpha = columns(path.get(quantity))
    means, errors = [mean(scores) for scores in by_alpha], [standard_error(scores) for scores in by_alpha]
    grid = known(path.get("alpha"))
    ax = figure_axes(ax)
    tidy(ax)
    if grid and grid[0] == 0 and means:
        level(ax, means[0], "MoE (α = 0)", colour=ARM_COLOURS["moe"], dashes=":")
    label = "MoDE" if len(known(errors)) == 0 else "MoDE ± standard error"
    points = error_line(ax, means, errors, colour=ARM_COLOURS["mode"], marker=ARM_MARKERS["mode"], label=label)
    alpha_axis(ax, grid, dict(alpha_counts(record)))
    cut_below(ax, visible_range(means, shown=means[:1]), points)
    return ax
