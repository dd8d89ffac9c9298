"""Narrow vision and similarity of the experts: over training, and against the strength of distillation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from distilled_experts.report import words
from distilled_experts.report.figures.axes import alpha_axis, error_line, legend_above
from distilled_experts.report.figures.style import ARM_COLOURS, ARM_MARKERS, MUTED, figure_axes, look, owner, tidy
from distilled_experts.report.records import alpha_counts, check
from distilled_experts.report.values import Record, mean, standard_error
from distilled_experts.report.why import along_alpha, over_training

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Quantity(NamedTuple):
    """One of the quantities of a figure: its key in the record, its name, and how its line looks."""

    key: str
    name: str
    dashes: str
    marker: str


VISION = (Quantity("vision_whole", "whole loss", "-", "o"), Quantity("vision_task", "task loss alone", "--", "s"))
SIMILARITY = (Quantity("cka", "CKA", "-", "o"), Quantity("agreement", "agreement", "--", "s"))
INDEX = "narrow-vision index"
ALIKE = "similarity of the experts"


def narrow_vision_over_training(record: Record, ax: Axes | None = None) -> Figure:
    """Draw the narrow-vision index over the epochs: of the whole training loss, and of the task loss alone.

    0: every expert learns from all classes; 1: each class teaches one expert.

    Source: Xie et al., AAAI 2024, figure 1; the index is this package's own.

    Parameters
    ----------
    record : mapping
        The record of a comparison; ``why.course`` holds the index, a mean over the seeds.
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
    return _over_training(record, ax, VISION, INDEX)


def similarity_over_training(record: Record, ax: Axes | None = None) -> Figure:
    """Draw mean CKA and mean agreement of pairs of experts over the epochs; as `narrow_vision_over_training`."""
    return _over_training(record, ax, SIMILARITY, ALIKE)


def narrow_vision_against_alpha(record: Record, ax: Axes | None = None) -> Figure:
    """Draw the narrow-vision index ± standard error against α; ``why.by_alpha`` holds it.

    Parameters and errors as in `narrow_vision_over_training`.
    """
    return _against_alpha(record, ax, VISION, INDEX)


def similarity_against_alpha(record: Record, ax: Axes | None = None) -> Figure:
    """Draw mean CKA and mean agreement of pairs of experts ± standard error against α.

    Parameters and errors as in `narrow_vision_over_training`; ``why.by_alpha`` holds them.

    Source: Xie et al., AAAI 2024, figure 4.
    """
    return _against_alpha(record, ax, SIMILARITY, ALIKE)


def _over_training(record: Record, ax: Axes | None, quantities: Sequence[Quantity], label: str) -> Figure:
    from matplotlib.ticker import MaxNLocator

    record = check(record, "compare")
    with look():
        ax = figure_axes(ax)
        tidy(ax)
        for quantity in quantities:
            for arm, points in over_training(record, quantity.key).items():
                ax.plot(
                    [epoch for epoch, value in points if value is not None],
                    [value for _, value in points if value is not None],
                    color=ARM_COLOURS[arm],
                    linestyle=quantity.dashes,
                    marker=ARM_MARKERS[arm],
                    markersize=4,
                    label=words.ARM_NAMES[arm] if quantity is quantities[0] else None,
                )
            ax.plot([], [], color=MUTED, linestyle=quantity.dashes, label=quantity.name)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_xlabel("epoch")
        ax.set_ylabel(label)
        legend_above(ax)
    return owner(ax)


def _against_alpha(record: Record, ax: Axes | None, quantities: Sequence[Quantity], label: str) -> Figure:
    record = check(record, "compare")
    with look():
        ax = figure_axes(ax)
        tidy(ax)
        grid: list[float] = []
        for quantity in quantities:
            points = along_alpha(record, quantity.key)
            grid = [alpha for alpha, _ in points]
            error_line(
                ax,
                [mean(values) for _, values in points],
                [standard_error(values) for _, values in points],
                colour=ARM_COLOURS["mode"],
                marker=quantity.marker,
                label=quantity.name,
                dashes=quantity.dashes,
            )
        alpha_axis(ax, grid, dict(alpha_counts(record)))
        ax.set_ylabel(label)
        legend_above(ax)
    return owner(ax)
