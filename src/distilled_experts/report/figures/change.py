"""Where the change from MoE to MoDE comes from: gate or experts, which errors go, and experts under one gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from distilled_experts.report import words
from distilled_experts.report.figures.rows import Row, difference_rows
from distilled_experts.report.figures.style import ARM_COLOURS, INK, figure_axes, look, owner
from distilled_experts.report.formats import percent
from distilled_experts.report.records import check
from distilled_experts.report.values import Record
from distilled_experts.report.why import flow_of, why_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 16
# The nodes of the flow stand at the sides; what is between them flows.
NODE = 0.02
GAP = 0.04
REPAIRED, SPOILT, STILL_WRONG = ARM_COLOURS["mode"], ARM_COLOURS["moe"], ARM_COLOURS["dense"]


def exchange(record: Record, ax: Axes | None = None) -> Figure:
    """Draw what better experts and better routing contribute to the gain: seeds as dots, mean, 95 % interval.

    The gate of one mixture is put before the experts of the other. A contribution is the mean over both orders of
    exchange, so the two add up to the gain.

    Parameters
    ----------
    record : mapping
        The record of a comparison; ``why.exchange`` holds the contributions.
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
    found = why_of(record, "exchange")
    names = (("experts", "experts", "mode"), ("gate", "gate", "moe"), ("gain", "both", "dense"))
    rows = [Row(name, found.get(key) or {}, ARM_COLOURS[arm]) for key, name, arm in names]
    with look():
        ax = figure_axes(ax, size=(5.2, 2.8))
        difference_rows(ax, rows)
        ax.set_xlabel(f"contribution to test {words.score_name(record)}  (right: better)")
    return owner(ax)


def parallel_study(record: Record, ax: Axes | None = None) -> Figure:
    """Draw the change of experts that were trained anew under one frozen gate, so that their domains are the same.

    At most 16 experts are drawn, below the difference of the whole own-domain score. Parameters and errors as in
    `exchange`; ``why.parallel`` holds the study.
    """
    record = check(record, "compare")
    study = why_of(record, "parallel")
    rows = [Row("all", study.get("difference") or {}, INK)]
    for rank, expert in enumerate((study.get("by_expert") or ())[:SHOWN], start=1):
        name = f"expert {rank} ({percent(expert.get('share'))})"
        rows.append(Row(name, expert.get("difference") or {}, ARM_COLOURS["mode"]))
    with look():
        ax = figure_axes(ax, size=(5.2, 1.3 + 0.4 * len(rows)))
        difference_rows(ax, rows)
        ax.set_xlabel(f"difference in {words.own_domain_name(record)}  (right: better)")
    return owner(ax)


def flow(record: Record, ax: Axes | None = None) -> Figure:
    """Draw how errors of MoE (left) become answers of MoDE (right), as a share of the test rows.

    Blue: repaired by distillation; vermilion: right before, wrong after; grey: wrong in both. Rows that both get
    right are left out. Parameters and errors as in `exchange`; ``why.flow`` holds the shares.
    """
    record = check(record, "compare")
    with look():
        ax = figure_axes(ax, size=(5.2, 3.6))
        _draw_flow(ax, *flow_of(record))
        ax.set_xlim(-0.36, 1.36)
        ax.set_axis_off()
    return owner(ax)


def _draw_flow(ax: Axes, types: Sequence[str], shares: Sequence[Sequence[float]]) -> None:
    left, right = [sum(row) for row in shares], [sum(column) for column in zip(*shares, strict=True)]
    total = sum(left) or 1.0
    starts, ends = _stacked(left, total), _stacked(right, total)
    for side, (x, sizes, tops, name) in enumerate(((0.0, left, starts, "MoE"), (1.0, right, ends, "MoDE"))):
        ax.text(x, 0.04, name, ha="center", va="bottom", fontsize=10, color=INK, weight="bold")
        for kind, size, top in zip(types, sizes, tops, strict=True):
            if size:
                _node(ax, side, top, size / total, f"{kind}\n{100 * size:.2f} %")
    for i, row in enumerate(shares):
        for j, share in enumerate(row):
            if share:
                colour = REPAIRED if j == 0 else SPOILT if i == 0 else STILL_WRONG
                _ribbon(ax, starts[i], ends[j], share / total, colour)
                starts[i] -= share / total
                ends[j] -= share / total
    ax.set_ylim(min([-1.0, *starts, *ends]) - 0.05, 0.14)


def _stacked(sizes: Sequence[float], total: float) -> list[float]:
    """Upper ends of nodes that stand below each other."""
    tops, height = [], 0.0
    for size in sizes:
        tops.append(height)
        height -= size / total + (GAP if size else 0.0)
    return tops


def _node(ax: Axes, side: int, top: float, size: float, label: str) -> None:
    from matplotlib.patches import Rectangle

    ax.add_patch(Rectangle((side - NODE / 2, top - size), NODE, size, facecolor=INK, edgecolor="none", zorder=3))
    beside = side + (NODE if side else -NODE) * 1.5
    ax.text(beside, top - size / 2, label, ha="left" if side else "right", va="center", fontsize=9, color=INK)


def _ribbon(ax: Axes, start: float, end: float, size: float, colour: str) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    corners = [(0, start), (0.5, start), (0.5, end), (1, end), (1, end - size), (0.5, end - size)]
    corners += [(0.5, start - size), (0, start - size), (0, start)]
    curve = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]
    ax.add_patch(PathPatch(Path(corners, curve), facecolor=colour, edgecolor="none", alpha=0.55, zorder=2))
