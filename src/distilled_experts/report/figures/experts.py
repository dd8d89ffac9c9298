"""What the experts do alone: expert × domain scores, and how the samples are shared among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from distilled_experts.report import words
from distilled_experts.report.figures.axes import legend_above, level
from distilled_experts.report.figures.style import ARM_COLOURS, INK, SURFACE, figure_axes, look, new_axes, owner, tidy
from distilled_experts.report.formats import MINUS
from distilled_experts.report.records import check, probing_of
from distilled_experts.report.values import Number, Record, known, mean, ranked_matrix, ranked_shares

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 16
ANNOTATED = 6
# Up to here a cell is dark enough to see and its number still has contrast, in light and in dark.
STRONGEST = 0.55


def expert_domain_matrix(record: Record, axes: Sequence[Axes] | None = None) -> Figure:
    """Draw the score of every expert alone on every domain, MoE and MoDE side by side.

    Row: the expert that answers alone; column: the domain; the diagonal (outlined) is each expert on its own
    domain. Experts are ranked by the size of their domains within each seed, then averaged over seeds; cells
    without a single row are left out. At most 16 experts are drawn, the largest domains first.

    Parameters
    ----------
    record : mapping
        The record of a comparison; ``probing`` holds the matrices, (S, E, E) per arm.
    axes : sequence of matplotlib.axes.Axes, optional
        One for each arm that was probed, at most two; a new figure otherwise.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InvalidParameterError
        If ``record`` is not the record of a comparison.
    """
    record = check(record, "compare")
    matrices = {arm: ranked_matrix(probing) for arm, probing in probing_of(record).items()}
    low, high = _limits(list(matrices.values()))
    with look():
        panels = list(axes) if axes is not None else new_axes(max(len(matrices), 1), size=(5.2, 3.0))
        for ax, (arm, matrix) in zip(panels, matrices.items(), strict=False):
            _panel(ax, matrix[:SHOWN], low, high)
            ax.set_title(words.ARM_NAMES[arm], fontsize=10, loc="left")
        panels[0].set_ylabel("expert, alone")
    return owner(panels[0])


def _limits(matrices: Sequence[Sequence[Sequence[Number]]]) -> tuple[float, float]:
    scores = [score for matrix in matrices for row in matrix for score in known(row)]
    # An R² far below zero on a foreign domain is as bad as zero for the eye, and would pale all others.
    low = max(min(scores, default=0.0), 0.0)
    return low, max(max(scores, default=1.0), low + 1e-9)


def _panel(ax: Axes, matrix: Sequence[Sequence[Number]], low: float, high: float) -> None:
    from matplotlib.colors import to_rgba

    size = len(matrix)
    for row, scores in enumerate(matrix):
        for column, score in enumerate(scores[:size]):
            depth = 0.0 if score is None else min(max((score - low) / (high - low), 0.0), 1.0)
            face = to_rgba(ARM_COLOURS["mode"], 0.04 + (STRONGEST - 0.04) * depth)
            _cell(ax, row, column, face)
            if size <= ANNOTATED:
                ax.text(column, row, _short(score), ha="center", va="center", fontsize=9, color=INK)
    step = 1 + (size - 1) // 8
    labels = [str(expert + 1) for expert in range(0, size, step)]
    ax.set_xticks(range(0, size, step), labels)
    ax.set_yticks(range(0, size, step), labels)
    ax.set_xlim(-0.55, size - 0.45)
    ax.set_ylim(size - 0.45, -0.55)
    ax.set_aspect("equal")
    ax.tick_params(length=0)
    ax.set_xlabel("domain")
    for spine in ax.spines.values():
        spine.set_visible(False)


def _cell(ax: Axes, row: int, column: int, face: tuple[float, float, float, float]) -> None:
    from matplotlib.patches import Rectangle

    own = row == column
    ax.add_patch(
        Rectangle(
            (column - 0.5, row - 0.5),
            1,
            1,
            facecolor=face,
            edgecolor=INK if own else SURFACE,
            linewidth=1.4 if own else 1.0,
            zorder=2 if own else 1,
        )
    )


def _short(score: Number) -> str:
    if score is None:
        return "–"
    text = f"{score:.2f}" if abs(score) < 10 else f"{score:.0f}"
    return text.replace("-", MINUS)


def domain_shares(record: Record, ax: Axes | None = None) -> Figure:
    """Draw the share of the samples that each expert dominates, with and without distillation.

    Labels of experts mean nothing across seeds, so experts are ranked by share before averaging. Dots are
    seeds (up to 16 experts); the line is an even split. Parameters and errors as in `score_against_alpha`.
    """
    record = check(record, "compare")
    probing = probing_of(record)
    with look():
        ax = figure_axes(ax)
        tidy(ax)
        ranks = 0
        for offset, (arm, measured) in zip((-0.2, 0.2), probing.items(), strict=False):
            ranks = max(ranks, _share_bars(ax, arm, ranked_shares(measured), offset))
        if ranks:
            level(ax, 1 / ranks, "even split", colour=INK)
            _rank_axis(ax, ranks)
        ax.set_ylim(bottom=0)
        ax.set_ylabel("share of the test rows")
        legend_above(ax)
    return owner(ax)


def _share_bars(ax: Axes, arm: str, ranked: Sequence[Sequence[Number]], offset: float) -> int:
    positions = [rank + offset for rank in range(len(ranked))]
    heights = [mean(shares) or 0.0 for shares in ranked]
    colour = ARM_COLOURS[arm]
    ax.bar(positions, heights, width=0.36, color=colour, alpha=0.75, label=words.ARM_NAMES[arm])
    if len(ranked) <= SHOWN:
        _seed_dots(ax, positions, ranked)
    return len(ranked)


def _seed_dots(ax: Axes, positions: Sequence[float], ranked: Sequence[Sequence[Number]]) -> None:
    dots = [(x, share) for x, shares in zip(positions, ranked, strict=True) for share in known(shares)]
    ax.plot(
        [x for x, _ in dots],
        [y for _, y in dots],
        linestyle="none",
        marker="o",
        markersize=2.6,
        color=INK,
        alpha=0.55,
    )


def _rank_axis(ax: Axes, ranks: int) -> None:
    step = 1 + (ranks - 1) // 16
    ax.set_xticks(range(0, ranks, step), [str(rank + 1) for rank in range(0, ranks, step)])
    ax.set_xlabel("expert, ranked by the size of its domain")
