"""The figure of `layers.py`: how time and memory grow, on axes where linear growth is a straight line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from distilled_experts.report.figures.style import ARM_COLOURS, INK, MUTED, look, new_axes, owner, tidy, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIGURE = Path(__file__).parents[1] / "docs" / "images" / "growth.svg"
MARKERS = "os^D"
COLOURS = (ARM_COLOURS["mode"], ARM_COLOURS["moe"], ARM_COLOURS["dense"], INK)
Line = tuple[str, list[tuple[float, float]]]


def draw(parts: dict[str, list[dict]]) -> None:
    """Time and memory of a layer against its sizes, time of stacked models against their number."""
    with look():
        time, memory, models = new_axes(3, size=(12, 3.8))
        lines(time, [grown(parts["growth"], axis, "time") for axis in ("tokens", "top_k", "width", "experts")])
        lines(memory, [grown(parts["growth"], axis, "memory") for axis in ("tokens", "top_k", "width", "experts")])
        lines(models, [stack(parts["models"], hidden, threads) for hidden in (32, 128) for threads in (1, 2)])
        for ax, title, label in (
            (time, "layer: time of a training step", "size / smallest"),
            (memory, "layer: peak memory", "size / smallest"),
            (models, "stacked models: time of a step", "models"),
        ):
            ax.set_title(title, fontsize=10, loc="left")
            ax.set_xlabel(label)
        time.set_ylabel("against the smallest")
    FIGURE.write_text(to_svg(owner(time)), encoding="utf-8")


def grown(rows: list[dict], axis: str, figure: str) -> Line:
    found = [(row["to"] / row["from"], row["ratios"][figure]["median"]) for row in rows if row["axis"] == axis]
    return axis.replace("top_k", "active experts"), [(1, 1), *found]


def stack(rows: list[dict], hidden: int, threads: int) -> Line:
    chosen = (row for row in rows if (row["hidden"], row["threads"]) == (hidden, threads))
    name = f"hidden {hidden}, {threads} thread{'s' * (threads > 1)}"
    return name, [(1, 1), *((row["to"], row["ratios"]["time"]["median"]) for row in chosen)]


def lines(ax: Axes, drawn: list[Line]) -> None:
    tidy(ax)
    for (name, points), colour, marker in zip(drawn, COLOURS, MARKERS, strict=False):
        ax.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=4, linewidth=1.5, label=name)
    longest = max(x for _, points in drawn for x, _ in points)
    ax.plot([1, longest], [1, longest], color=MUTED, linestyle=":", linewidth=1, label="linear")
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", base=2)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter("{x:g}")
    ax.legend(frameon=False, fontsize=8)
