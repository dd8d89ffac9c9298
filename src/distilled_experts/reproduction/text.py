"""Tables and numbers as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from distilled_experts.experiments.statistics import Difference
from distilled_experts.report.formats import MISSING, signed, strength

__all__ = ["duration", "points", "strengths", "table"]


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows under heads.

    Examples
    --------
    >>> print(table(["a", "b"], [["1", "2"]]))
    | a | b |
    | --- | --- |
    | 1 | 2 |
    """
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows))


def points(found: Difference, factor: float = 100, places: int = 2) -> str:
    """A difference with its interval, shares as points.

    Examples
    --------
    >>> points(Difference(0.012, -0.001, 0.025, 0.07, None, []))
    '+1.20 (−0.10 to +2.50)'
    """
    if found.low is None or found.high is None:
        return signed(factor * found.mean, places)
    low, high = (signed(factor * end, places) for end in (found.low, found.high))
    return f"{signed(factor * found.mean, places)} ({low} to {high})"


def strengths(values: Iterable[float]) -> str:
    """Several α, such as "0.01 to 1"; a dash for none.

    Examples
    --------
    >>> strengths([0.1, 0.01]), strengths([1.0]), strengths([])
    ('0.01 to 0.1', '1', '–')
    """
    ends = sorted(set(values))
    return " to ".join(strength(end) for end in dict.fromkeys((ends[0], ends[-1]))) if ends else MISSING


def duration(seconds: float) -> str:
    """A time to two digits or so.

    Examples
    --------
    >>> duration(0), duration(42.4), duration(600), duration(9000)
    ('–', '42 s', '10 min', '2.5 h')
    """
    if seconds <= 0:
        return MISSING
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
