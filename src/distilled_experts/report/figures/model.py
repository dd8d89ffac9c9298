"""The experts of one probed model: alone on their domains, their classes, errors, gradients and similarity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from distilled_experts.report import words
from distilled_experts.report.figures.axes import interval_marks, legend_above, level
from distilled_experts.report.figures.heat import heat_map, limits_of
from distilled_experts.report.figures.style import (
    ARM_COLOURS,
    ARM_MARKERS,
    INK,
    figure_axes,
    look,
    new_axes,
    owner,
    tidy,
)
from distilled_experts.report.formats import shortened
from distilled_experts.report.probe import ERRORS, LOSSES, composition_of, losses_of, own_scores, visions_of
from distilled_experts.report.records import check
from distilled_experts.report.values import Number, Record, finite

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUBSETS, EXPERTS = 24, 16
NAME_LENGTH = 12


def own_domain(record: Record, ax: Axes | None = None) -> Figure:
    """Draw the score of each expert alone on its own domain with its 95 % interval; the lines are all and the mixture.

    Parameters
    ----------
    record : mapping or ProbeRecord
        The record of a probing.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InvalidParameterError
        If ``record`` is not the record of a probing.
    """
    record = check(record, "probe")
    scores = own_scores(record)
    with look():
        ax = figure_axes(ax)
        tidy(ax)
        level(ax, finite(record["score"]["value"]), "the mixture", colour=ARM_COLOURS["moe"])
        level(
            ax,
            finite(record["own_domain"]["value"]),
            "all on their own domains",
            colour=ARM_COLOURS["mode"],
            dashes=":",
        )
        interval_marks(ax, scores)
        points = [(expert, score) for expert, score in enumerate(scores["value"]) if score is not None]
        ax.plot(
            [expert for expert, _ in points],
            [score for _, score in points],
            linestyle="none",
            marker=ARM_MARKERS["mode"],
            markersize=7,
            color=ARM_COLOURS["mode"],
            label="an expert alone",
        )
        ax.set_xticks(range(0, len(scores["value"]), 1 + (len(scores["value"]) - 1) // EXPERTS))
        ax.set_xlim(-0.5, len(scores["value"]) - 0.5)
        ax.set_xlabel("expert")
        ax.set_ylabel(words.own_domain_name(record))
        legend_above(ax)
    return owner(ax)


def loss_matrix(record: Record, ax: Axes | None = None) -> Figure:
    """Draw the log loss, or of tokens the perplexity, of every expert alone on every domain; as `own_domain`.

    At most 16 experts are drawn.
    """
    record = check(record, "probe")
    found = losses_of(record).get("matrix", {}).get("value") or ()
    matrix = [[finite(cell) for cell in row[:EXPERTS]] for row in found[:EXPERTS]]
    names = [str(expert) for expert in range(len(matrix))]
    with look():
        ax = figure_axes(ax, size=(5.2, 3.0))
        heat_map(ax, matrix, limits_of(matrix), rows=names, columns=names, own=True, annotated=6, square=True)
        ax.set_xlabel("domain")
        ax.set_ylabel("expert, alone")
    return owner(ax)


def errors(record: Record, ax: Axes | None = None) -> Figure:
    """Draw the share of the samples with each type of error, with 95 % intervals; as `own_domain`."""
    from matplotlib.ticker import MaxNLocator

    record = check(record, "probe")
    found = record["errors"]
    with look():
        ax = figure_axes(ax, size=(5.2, 2.3))
        tidy(ax, grid="x")
        ax.barh(range(len(ERRORS)), [finite(found[key]["value"]) or 0.0 for key in ERRORS], height=0.55,
                color=ARM_COLOURS["mode"], alpha=0.75)  # fmt: skip
        for height, key in enumerate(ERRORS):
            low, high = finite(found[key]["low"]), finite(found[key]["high"])
            if low is not None and high is not None:
                ax.plot([low, high], [height, height], color=INK, linewidth=1.4, solid_capstyle="butt")
        ax.set_yticks(range(len(ERRORS)), list(ERRORS.values()))
        ax.tick_params(axis="y", length=0)
        ax.set_ylim(len(ERRORS) - 0.5, -0.5)
        ax.set_xlim(left=0)
        ax.xaxis.set_major_locator(MaxNLocator(6))
        ax.set_xlabel(f"share of the {words.sample_name(record)}s")
    return owner(ax)


def composition(record: Record, ax: Axes | None = None) -> Figure:
    """Draw which expert dominates which class, or range of the target: shares of each column; as `own_domain`."""
    record = check(record, "probe")
    names, shares = composition_of(record)
    with look():
        ax = figure_axes(ax, size=(5.2, _height(len(shares))))
        _by_subset(ax, shares, names, record)
    return owner(ax)


def narrow_vision(record: Record, axes: Sequence[Axes] | None = None) -> Figure:
    """Draw each expert's share of the gradient norms per class: of the whole loss, and of the task loss alone.

    A column with one dark cell is a class that teaches one expert.

    Source: Xie et al., AAAI 2024, figure 1.

    Parameters
    ----------
    record : mapping or ProbeRecord
        The record of a probing.
    axes : sequence of matplotlib.axes.Axes, optional
        One for each loss, at most two; a new figure otherwise.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InvalidParameterError
        If ``record`` is not the record of a probing.
    """
    record = check(record, "probe")
    visions = visions_of(record)
    with look():
        size = (5.2, max(len(visions), 1) * _height(record["experts"]))
        panels = list(axes) if axes is not None else new_axes(max(len(visions), 1), size=size, below=True)
        for ax, (loss, shares) in zip(panels, visions.items(), strict=False):
            _by_subset(ax, shares, record["subsets"], record)
            ax.set_title(LOSSES[loss], fontsize=10, loc="left")
    return owner(panels[0])


def similarity(record: Record, axes: Sequence[Axes] | None = None) -> Figure:
    """Draw CKA and agreement of every pair of experts; ``axes`` are two, else as `narrow_vision`."""
    record = check(record, "probe")
    names = [str(expert) for expert in range(record["experts"])][:EXPERTS]
    with look():
        panels = list(axes) if axes is not None else new_axes(2, size=(5.2, 3.0))
        for ax, (key, title) in zip(panels, (("cka", "CKA"), ("agreement", "agreement")), strict=False):
            matrix = [row[:EXPERTS] for row in record["similarity"][key][:EXPERTS]]
            heat_map(ax, matrix, (0.0, 1.0), rows=names, columns=names, annotated=6, square=True)
            ax.set_title(title, fontsize=10, loc="left")
            ax.set_xlabel("expert")
        panels[0].set_ylabel("expert")
    return owner(panels[0])


def _height(experts: int) -> float:
    return 1.2 + 0.3 * min(max(experts, 2), EXPERTS)


def _by_subset(ax: Axes, shares: Sequence[Sequence[Number]], names: Sequence[str], record: Record) -> None:
    """A heat map of experts by subsets; long names are turned."""
    shown = [shortened(name, NAME_LENGTH) for name in names[:SUBSETS]]
    table = [row[:SUBSETS] for row in shares[:EXPERTS]]
    rows = [str(expert) for expert in range(len(table))]
    heat_map(ax, table, limits_of(*[table], [[0.0, 1.0]]), rows=rows, columns=shown)
    turned = sum(map(len, shown)) > 40
    ax.tick_params(axis="x", labelrotation=90 if turned else 0)
    ax.set_ylabel("expert")
    ax.set_xlabel(words.subset_name(record))
