"""Which columns each expert attends to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from distilled_experts.report import words
from distilled_experts.report.figures.heat import heat_map, limits_of
from distilled_experts.report.figures.style import look, new_axes, owner
from distilled_experts.report.formats import shortened
from distilled_experts.report.records import check
from distilled_experts.report.values import Record, known
from distilled_experts.report.why import attention_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS, EXPERTS = 12, 8
NAME_LENGTH = 18


def attention(record: Record, axes: Sequence[Axes] | None = None) -> Figure:
    """Draw the attention of each expert to the columns of the table on its own domain, MoE and MoDE side by side.

    Row: one of the twelve columns with the most attention; column: an expert, ranked by the size of its domain, which
    is the same for both because they share one frozen gate. Each expert's attention adds up to one.

    Source: Xie et al., AAAI 2024, table 8.

    Parameters
    ----------
    record : mapping
        The record of a comparison; ``why.attention`` holds the attention, (S, E, columns) per arm.
    axes : sequence of matplotlib.axes.Axes, optional
        Two, for MoE and MoDE; a new figure otherwise.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InvalidParameterError
        If ``record`` is not the record of a comparison.
    """
    names, arms = attention_of(check(record, "compare"))
    order = most_attended(names, list(arms.values()))[:COLUMNS]
    tables = {arm: [[expert[c] for expert in experts[:EXPERTS]] for c in order] for arm, experts in arms.items()}
    shown = [shortened(names[c], NAME_LENGTH) for c in order]
    with look():
        panels = list(axes) if axes is not None else new_axes(2, size=(5.2, 1.1 + 0.28 * max(len(order), 2)))
        for ax, (arm, table) in zip(panels, tables.items(), strict=False):
            experts = [str(rank + 1) for rank in range(len(table[0]) if table else 0)]
            heat_map(ax, table, limits_of(*tables.values()), rows=shown, columns=experts, annotated=4)
            ax.set_title(words.ARM_NAMES[arm], fontsize=10, loc="left")
            ax.set_xlabel("expert")
        for ax in panels[1:]:
            ax.set_yticks([])
    return owner(panels[0])


def most_attended(names: Sequence[str], arms: Sequence[Sequence[Sequence[float | None]]]) -> list[int]:
    """Return the positions of the columns, those with the most attention of all experts first."""
    totals = [sum(known(expert[c] for experts in arms for expert in experts)) for c in range(len(names))]
    return sorted(range(len(names)), key=lambda c: -totals[c])
