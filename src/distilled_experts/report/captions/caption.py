"""The form of what is said about a figure."""

from __future__ import annotations

from typing import NamedTuple

from distilled_experts.report.data.rows import Data
from distilled_experts.report.figures.axes import visible_range
from distilled_experts.report.values import finite


class Caption(NamedTuple):
    """What to see in a figure, and the alternative text for those who cannot see it."""

    text: str
    alt: str


def cut_note(drawn: Data) -> str:
    """Explain the mark for scores below the axis, where there are any."""
    means = [finite(row[drawn.header.index("mean")]) for row in drawn.rows]
    plain = [value for row, value in zip(drawn.rows, means, strict=True) if row[drawn.header.index("alpha")] == 0]
    return "" if visible_range(means, shown=plain) is None else " ▼ marks scores below the cut axis."
