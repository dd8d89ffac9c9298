"""The arms against each other: paired differences and learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from distilled_experts.report import words
from distilled_experts.report.figures.axes import legend_above
from distilled_experts.report.figures.rows import Row, difference_rows
from distilled_experts.report.figures.style import ARM_COLOURS, MUTED, figure_axes, look, owner, tidy
from distilled_experts.report.records import ARMS, check
from distilled_experts.report.values import Record, finite

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def differences(record: Record, ax: Axes | None = None) -> Figure:
    """Draw the paired differences MoDE − MoE and MoE − dense: seeds as dots, mean, 95 % interval.

    Parameters and errors as in `score_against_alpha`.
    """
    record = check(record, "compare")
    rows = [
        Row("MoDE − MoE", record.get("difference") or {}, ARM_COLOURS["mode"]),
        Row("MoE − dense", record.get("mixture_difference") or {}, ARM_COLOURS["moe"]),
    ]
    with look():
        ax = figure_axes(ax, size=(5.2, 2.3))
        difference_rows(ax, rows)
        ax.set_xlabel(f"difference in test {words.metric_name(record)}  (right: better)")
    return owner(ax)


def learning_curves(record: Record, ax: Axes | None = None) -> Figure:
    """Draw training loss (dashed) and validation loss (solid) of the arms over epochs, means over seeds.

    The loss axis is logarithmic where the losses span more than a factor of ten. Parameters and errors as in
    `score_against_alpha`.
    """
    record = check(record, "compare")
    curves = record.get("curves") or {}
    drawn: list[float] = []
    with look():
        ax = figure_axes(ax)
        tidy(ax)
        for arm in (arm for arm in ARMS if curves.get(arm)):
            drawn += _curve(ax, curves[arm], arm)
        ax.plot([], [], color=MUTED, label="validation")
        ax.plot([], [], color=MUTED, linestyle="--", linewidth=1.2, label="training")
        _loss_axis(ax, drawn)
        ax.set_xlabel("epoch")
        ax.set_ylabel("loss of the task")
        legend_above(ax, columns=5)
    return owner(ax)


def _curve(ax: Axes, curve: Record, arm: str) -> list[float]:
    colour, drawn = ARM_COLOURS[arm], []
    for key, dashes, width in (("validation_loss", "-", 1.8), ("train_loss", "--", 1.2)):
        pairs = [(x, finite(y)) for x, y in zip(curve.get("epoch", ()), curve.get(key) or (), strict=False)]
        points = [(x, y) for x, y in pairs if y is not None]
        label = words.ARM_NAMES[arm] if key == "validation_loss" else None
        ax.plot(
            [x for x, _ in points],
            [y for _, y in points],
            color=colour,
            linestyle=dashes,
            linewidth=width,
            label=label,
        )
        drawn += [y for _, y in points]
    return drawn


def _loss_axis(ax: Axes, losses: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if losses and min(losses) > 0 and max(losses) > 10 * min(losses):
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
