"""Changes from MoE to MoDE over several data sets: how steady they are, and whether chance explains them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from distilled_experts.experiments.ranks import LEVEL, signed_rank
from distilled_experts.experiments.statistics import Difference, difference
from distilled_experts.report.formats import MISSING, signed
from distilled_experts.report.values import Record
from distilled_experts.reproduction.piece import Claim

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MOST", "SPLIT", "Change", "change_of", "everywhere", "forest_of", "mostly", "over_sets", "steady"]

# A statement about most of something is about four of five.
MOST = 0.8
# Test rows over training rows of the splits of `mode compare`.
SPLIT = 3 / 7


class Change(NamedTuple):
    """A difference between two arms on one data set with one gate."""

    data: str
    gate: str
    found: Difference

    @property
    def name(self) -> str:
        """Of the arm."""
        return f"{self.data}, {self.gate}"


def change_of(record: Record, after: Sequence[float], before: Sequence[float]) -> Change:
    """The change of a measure, one value a seed, with the corrected interval."""
    return Change(record["data"], record["gate"], difference(after, before, SPLIT))


def mostly(text: str, passed: Sequence[bool], noun: str = "arms") -> Claim:
    """The statement that something is so at least four times out of five.

    Examples
    --------
    >>> claim = mostly("MoDE is above MoE", [True, True, False])
    >>> claim.text, claim.holds, claim.found
    ('MoDE is above MoE on at least four of five arms', False, '2 of 3')
    """
    n = len(passed)
    return Claim(f"{text} on at least four of five {noun}", sum(passed) >= MOST * n, f"{sum(passed)} of {n}")


def everywhere(text: str, passed: Sequence[bool]) -> Claim:
    """The statement that something is so without exception.

    Examples
    --------
    >>> everywhere("it helps", [True, False])
    Claim(text='it helps', holds=False, found='1 of 2')
    """
    return Claim(text, all(passed), f"{sum(passed)} of {len(passed)}")


def over_sets(text: str, changes: Sequence[Change], sign: int = 1) -> Claim:
    """The statement that a change is not chance over the data sets; gates of one set are averaged first."""
    by_set: dict[str, list[float]] = defaultdict(list)
    for change in changes:
        by_set[change.data].append(sign * change.found.mean)
    means = [fmean(values) for values in by_set.values()]
    p = signed_rank(means)
    found = f"{len(means)} sets are too few" if p is None else f"p = {p:.2g} over {len(means)} sets"
    holds = None if p is None else p < LEVEL and fmean(means) > 0
    return Claim(f"{text} over the data sets (Wilcoxon's signed-rank test, p < {LEVEL:g})", holds, found)


def steady(text: str, changes: Sequence[Change], sign: int = 1) -> list[Claim]:
    """The statements that a measure rises, or with ``sign=-1`` falls, on most arms and over the data sets."""
    share = mostly(text, [sign * change.found.mean > 0 for change in changes])
    mean = fmean(change.found.mean for change in changes) if changes else None
    shown = MISSING if mean is None else signed(100 * mean, 2)
    return [
        Claim(share.text, share.holds, f"{share.found}, mean {shown} points"),
        over_sets(text, changes, sign),
    ]


def forest_of(changes: Sequence[Change], label: str, factor: float = 100) -> Callable[[], Figure]:
    """The figure of these changes times a factor, drawn when called."""

    def draw() -> Figure:
        from distilled_experts.report import figures

        return figures.forest({change.name: change.found.to_dict() for change in changes}, label, factor=factor)

    return draw
