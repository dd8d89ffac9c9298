"""How strong, how many experts: scores against α and against the number of experts, and how robust the gain is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from distilled_experts.report.formats import MISSING, fixed, signed
from distilled_experts.report.values import Record
from distilled_experts.reproduction.changes import MOST, mostly
from distilled_experts.reproduction.piece import Claim, Finding, Piece
from distilled_experts.reproduction.studies import ALPHA, EXPERTS
from distilled_experts.reproduction.text import strengths, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PIECES", "curves"]

# The same for all, and nobody's best on its own test rows.
_FIXED_ALPHA = 0.1
# What counts as moderate: from a hundredth of the task loss to its equal.
_MODERATE = (0.01, 1.0)


class Curve(NamedTuple):
    """Points above α = 0 of one set with one number of experts, by α."""

    data: str
    experts: int
    plain: float
    gains: dict[float, float]
    own_gains: dict[float, float]
    errors: dict[float, float]

    @property
    def name(self) -> str:
        """Of the set and its number of experts."""
        return f"{self.data}, {self.experts} experts"

    @property
    def best(self) -> float:
        """α with the highest mean."""
        return max(self.gains, key=lambda alpha: self.gains[alpha])

    @property
    def good(self) -> list[float]:
        """α above 0 that gain, and lie at most a standard error below the best."""
        least = self.gains[self.best] - self.errors[self.best]
        return [alpha for alpha, gain in self.gains.items() if alpha > 0 and gain > 0 and gain >= least]

    def moderate(self) -> list[float]:
        """Gains at the moderate strengths."""
        return [gain for alpha, gain in self.gains.items() if _MODERATE[0] <= alpha <= _MODERATE[1]]


def curves(records: Sequence[Record]) -> list[Curve]:
    """Every number of experts of every sweep."""
    return [_curve(record, experts) for record in records for experts in record["experts"]]


def _curve(record: Record, experts: int) -> Curve:
    cells: dict[float, dict[str, Any]] = {c["alpha"]: c for c in record["cells"] if c["experts"] == experts}
    plain = cells[0.0]

    def above(key: str) -> dict[float, float]:
        return {alpha: 100 * (cell[key] - plain[key]) for alpha, cell in cells.items()}

    errors = {alpha: 100 * (cell["se"] or 0.0) for alpha, cell in cells.items()}
    name = record["data"] if record["gate"] == "dense" else f"{record['data']}, {record['gate']}"
    return Curve(name, experts, 100 * plain["mean"], above("mean"), above("own_domain_mean"), errors)


def _alphas(found: Sequence[Curve]) -> list[float]:
    return sorted({alpha for curve in found for alpha in curve.gains if alpha > 0})


def _row(name: str, alphas: Sequence[float], gains: dict[float, float]) -> list[str]:
    return [name, *(signed(gains[alpha], 2) if alpha in gains else MISSING for alpha in alphas)]


def _alpha(records: Sequence[Record]) -> Finding:
    found = curves(records)
    alphas = _alphas(found)
    means = {alpha: fmean(curve.gains[alpha] for curve in found) for alpha in alphas}
    rows = [[*_row(curve.data, alphas, curve.gains), strengths(curve.good)] for curve in found]
    rows.append([*_row("mean", alphas, means), strengths(_common(found, alphas))])
    best = max(means, key=lambda alpha: means[alpha])
    claims = [
        Claim(
            "In the mean over the sets the best α is neither the smallest nor the largest",
            alphas[0] < best < alphas[-1],
            f"best: {best:g}",
        ),
        mostly(f"α = {_FIXED_ALPHA:g} is better than none", [c.gains[_FIXED_ALPHA] > 0 for c in found], "sets"),
        mostly(f"α = {alphas[-1]:g} is worse than none", [c.gains[alphas[-1]] < 0 for c in found], "sets"),
    ]
    heads = ["data", *(f"α = {alpha:g}" for alpha in alphas), "good range"]
    note = (
        "Points of test accuracy above α = 0. The good range are the α that gain and lie at most one standard error "
        "below the set's best; in the last row, those in the range of at least half of the sets."
    )
    return Finding(f"{table(heads, rows)}\n\n{note}", claims, {"": partial(_draw, found)})


def _common(found: Sequence[Curve], alphas: Sequence[float]) -> list[float]:
    return [alpha for alpha in alphas if sum(alpha in curve.good for curve in found) >= len(found) / 2]


def _draw(found: Sequence[Curve]) -> Figure:
    from distilled_experts.report import figures

    grid = [0.0, *_alphas(found)]
    panels = {
        "the mixture": [[curve.gains[alpha] for alpha in grid] for curve in found],
        "each expert alone, on its own domain": [[curve.own_gains[alpha] for alpha in grid] for curve in found],
    }
    return figures.changes_against_alpha(grid, panels, "accuracy, points above α = 0")


def _experts(records: Sequence[Record]) -> Finding:
    found = sorted(curves(records), key=lambda curve: (curve.data, curve.experts))
    alphas = _alphas(found)
    rows = [[curve.data, str(curve.experts), *_row(fixed(curve.plain, 2), alphas, curve.gains)] for curve in found]
    helped = [curve.gains[_FIXED_ALPHA] for curve in found]
    steps = [
        more - fewer
        for (one, fewer), (other, more) in pairwise(zip(found, helped, strict=True))
        if one.data == other.data
    ]
    grows = sum(step > 0 for step in steps)
    claims = [
        mostly(f"α = {_FIXED_ALPHA:g} is better than none", [gain > 0 for gain in helped], "numbers of experts"),
        Claim(
            f"The more experts, the more α = {_FIXED_ALPHA:g} helps, at more than half of the steps",
            2 * grows > len(steps),
            f"{grows} of {len(steps)}",
        ),
    ]
    heads = ["data", "experts", "MoE", *(f"α = {alpha:g}" for alpha in alphas)]
    figures = {record["data"]: partial(_draw_sweep, record) for record in _merged(records)}
    return Finding(f"{table(heads, rows)}\n\nAccuracy of MoE in percent, and points above it.", claims, figures)


def _merged(records: Sequence[Record]) -> list[Record]:
    """One sweep of each set, whatever runs its numbers of experts came from."""
    by_set: dict[tuple[str, str], dict[str, Any]] = {}
    for record in records:
        merged = by_set.setdefault((record["data"], record["gate"]), {**record, "experts": [], "cells": []})
        merged["experts"] = sorted([*merged["experts"], *record["experts"]])
        merged["cells"] = [*merged["cells"], *record["cells"]]
    return list(by_set.values())


def _draw_sweep(record: Record) -> Figure:
    from distilled_experts.report import figures

    return figures.experts_by_alpha(record)


def _robustness(alpha: Sequence[Record], experts: Sequence[Record]) -> Finding:
    rows, claims = [], []
    for name, records in (("α, over the sets", alpha), ("the number of experts", experts)):
        found = curves(records)
        gains = [gain for curve in found for gain in curve.moderate()]
        better = sum(gain > 0 for gain in gains)
        least = min(found, key=lambda curve: min(curve.moderate()))
        worst = f"{signed(min(least.moderate()), 2)} ({least.name})"
        rows.append([name, f"{better} of {len(gains)}", signed(fmean(gains), 2), worst])
        text = f"Robust to {name}: a moderate α (0.01 to 1) is above MoE in at least four of five cells"
        claims.append(Claim(text, better >= MOST * len(gains), f"{better} of {len(gains)}"))
    return Finding(table(["robust to", "cells above MoE", "mean gain, points", "worst cell"], rows), claims)


PIECES = (
    Piece(
        "alpha",
        "The strength of distillation",
        "The score against α: a moderate strength is best, too strong a one makes the experts alike and hurts.",
        (ALPHA,),
        _alpha,
        "figure 4",
    ),
    Piece(
        "experts",
        "The number of experts",
        "An ablation over the number of experts, 2 to 32; the method is called robust to it.",
        (EXPERTS,),
        _experts,
        "table 5",
    ),
    Piece(
        "robustness",
        "Robustness to α and to the number of experts",
        "The method is called robust to the number of experts and to the strength of distillation.",
        (ALPHA, EXPERTS),
        _robustness,
    ),
)
