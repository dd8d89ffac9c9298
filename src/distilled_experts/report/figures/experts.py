"""What the experts do alone: who is right where, and how the samples are shared out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from distilled_experts.report import words
from distilled_experts.report.experts import MOST_DRAWN, PROBED, Experts, contrasted_alphas, experts_of, stepped_alphas
from distilled_experts.report.figures.axes import interval_marks, legend_above, level
from distilled_experts.report.figures.heat import heat_map, limits_of
from distilled_experts.report.figures.style import ARM_COLOURS, INK, figure_axes, look, new_axes, owner, tidy
from distilled_experts.report.records import check
from distilled_experts.report.values import Number, Record, known, mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ANNOTATED = 6
DOTTED = 8


def expert_domain_matrix(record: Record, axes: Sequence[Axes] | None = None, *, alpha: Number = None) -> Figure:
    """Draw the score of every expert alone on every domain: MoE and MoDE side by side, or one probed model.

    Row: the expert that answers alone; column: the domain; the diagonal (outlined) is each expert on its own
    domain. In a comparison experts are ranked by the size of their domains within each seed, then averaged over
    seeds; cells without a single row are left out. At most 16 experts are drawn.

    Parameters
    ----------
    record : mapping or ProbeRecord
        Of a comparison or of a probing.
    axes : sequence of matplotlib.axes.Axes, optional
        One for each arm that was probed, at most two; a new figure otherwise.
    alpha : float, optional
        The strength of MoDE, one that was trained; default: the one that each seed chose.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InvalidParameterError
        If ``record`` is of another kind, or does not know the experts at ``alpha``.
    """
    record = check(record, "compare", "probe")
    arms = experts_of(record, alpha)
    limits = limits_of(*(experts.matrix for experts in _all_steps(record, alpha)))
    with look():
        panels = list(axes) if axes is not None else new_axes(max(len(arms), 1), size=(5.2, 3.0))
        for ax, (arm, experts) in zip(panels, arms.items(), strict=False):
            _matrix_panel(ax, experts, limits, names=_names(record, experts))
            if arm != PROBED:
                ax.set_title(words.arm_name(arm, alpha), fontsize=10, loc="left")
        panels[0].set_ylabel("expert, alone")
    return owner(panels[0])


def _all_steps(record: Record, alpha: Number) -> list[Experts]:
    """The experts at every α that can be stepped to, so that all steps share one scale."""
    steps = [alpha] if alpha is None else stepped_alphas(record)
    return [experts for step in steps for experts in experts_of(record, step).values()]


def _names(record: Record, experts: Experts) -> list[str]:
    """Ranks count from 1, the experts of one model from 0 as in the model."""
    first = 0 if record["kind"] == "probe" else 1
    return [str(expert + first) for expert in range(len(experts.shares))]


def _matrix_panel(ax: Axes, experts: Experts, limits: tuple[float, float], *, names: list[str]) -> None:
    matrix, shown = [row[:MOST_DRAWN] for row in experts.matrix[:MOST_DRAWN]], names[:MOST_DRAWN]
    heat_map(ax, matrix, limits, rows=shown, columns=shown, own=True, annotated=ANNOTATED, square=True)
    ax.set_xlabel("domain")


def domains(record: Record, ax: Axes | None = None, *, alpha: Number | Sequence[float] = None) -> Figure:
    """Draw the share of the samples that each expert dominates: of MoE and MoDE, or of one probed model.

    Labels of experts mean nothing across seeds, so experts are ranked by share before averaging; dots are seeds
    (up to 8 experts). Of one model the bars carry 95 % intervals. The line is an even split.

    Parameters
    ----------
    record : mapping or ProbeRecord
        Of a comparison or of a probing.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure otherwise.
    alpha : float or sequence of float, optional
        The strengths of MoDE that are drawn beside MoE; default: the one that each seed chose.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InvalidParameterError
        If ``record`` is of another kind, or does not know the experts at ``alpha``.
    """
    record = check(record, "compare", "probe")
    bars = _bars(record, alpha)
    with look():
        ax = figure_axes(ax)
        tidy(ax)
        for place, (label, arm, shares) in enumerate(bars):
            _share_bars(ax, shares, place, len(bars), label=label, arm=arm)
        if record["kind"] == "probe":
            interval_marks(ax, record["shares"])
        _share_axes(ax, record, alpha, ranks=max((len(shares) for _, _, shares in bars), default=0))
        legend_above(ax)
    return owner(ax)


def contrasted_domains(record: Record, ax: Axes | None = None) -> Figure:
    """Draw the domain shares of MoE beside those of a small and a large α, 0.01 and 100 where they were trained.

    Parameters and errors as in `domains`; the record is that of a comparison with two or more α above 0.

    Source: Xie et al., AAAI 2024, figure 3.
    """
    record = check(record, "compare")
    return domains(record, ax, alpha=contrasted_alphas(record))


Bars = tuple[str, str, list[list[Number]]]


def _bars(record: Record, alpha: Number | Sequence[float]) -> list[Bars]:
    """Label, arm and shares of each set of bars; MoE once, then MoDE at each α."""
    found: dict[str, Bars] = {}
    for step in alpha if isinstance(alpha, Sequence) else [alpha]:
        for arm, experts in experts_of(record, step).items():
            label = words.arm_name(arm, step)
            found.setdefault(label, (label, arm, experts.shares))
    return list(found.values())


def _share_bars(ax: Axes, ranked: list[list[Number]], place: int, sets: int, *, label: str, arm: str) -> None:
    width = 0.8 / sets
    positions = [rank + (place - (sets - 1) / 2) * width for rank in range(len(ranked))]
    heights = [mean(shares) or 0.0 for shares in ranked]
    # Several strengths of MoDE differ in depth; MoE comes first and keeps its own colour.
    depth = 0.75 if arm != "mode" or sets < 3 else 0.3 + 0.55 * place / (sets - 1)
    ax.bar(positions, heights, width=0.9 * width, color=ARM_COLOURS[arm], alpha=depth, label=label)
    if len(ranked) <= DOTTED and arm != PROBED:
        _seed_dots(ax, positions, ranked)


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


def _share_axes(ax: Axes, record: Record, alpha: Number | Sequence[float], *, ranks: int) -> None:
    single = record["kind"] == "probe"
    if ranks:
        level(ax, 1 / ranks, "even split", colour=INK)
        step, first = 1 + (ranks - 1) // 16, 0 if single else 1
        ax.set_xticks(range(0, ranks, step), [str(rank + first) for rank in range(0, ranks, step)])
    ax.set_xlabel("expert" if single else "expert, ranked by the size of its domain")
    ax.set_ylabel(f"share of the {words.sample_name(record)}s" if single else "share of the test rows")
    ax.set_ylim(bottom=0)
    if alpha is not None and not isinstance(alpha, Sequence):
        shares = [share for experts in _all_steps(record, alpha) for row in experts.shares for share in known(row)]
        ax.set_ylim(top=1.05 * max(shares))
