"""How the samples are shared out among the experts: plain, with little and with much distillation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING

from distilled_experts.report.formats import fixed
from distilled_experts.report.values import Record
from distilled_experts.reproduction.changes import mostly
from distilled_experts.reproduction.piece import Finding, Piece
from distilled_experts.reproduction.studies import DOMAINS
from distilled_experts.reproduction.text import table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PIECES"]

# Evenness within this of MoE's counts as kept.
_NEAR = 0.1


def evenness(shares: Sequence[float]) -> float:
    """Entropy of the domains' shares over its largest value: 1 where all are equal, 0 where one expert has it all.

    Examples
    --------
    >>> evenness([0.25] * 4), evenness([1.0, 0.0])
    (1.0, 0.0)
    """
    entropy = -math.fsum(share * math.log(share) for share in shares if share > 0)
    return max(0.0, entropy / math.log(len(shares)))


def _evenness(record: Record) -> list[float]:
    """Mean over the seeds, one each α."""
    return [fmean(evenness(shares) for shares in column) for column in zip(*_path(record)["shares"], strict=True)]


def _path(record: Record) -> Record:
    path: Record = record["why"]["by_alpha"]
    return path


def _domains(records: Sequence[Record]) -> Finding:
    alphas = _path(records[0])["alpha"]
    even = [_evenness(record) for record in records]
    kept = [[fmean(column) for column in zip(*_path(record)["adjusted_rand"], strict=True)] for record in records]
    rows = [
        [record["data"], record["gate"], *(fixed(value, 2) for value in (*of_arm, *same[1:]))]
        for record, of_arm, same in zip(records, even, kept, strict=True)
    ]
    names = ["MoE", *(f"α = {alpha:g}" for alpha in alphas[1:])]
    heads = ["data", "gate", *(f"evenness, {name}" for name in names), *(f"kept, {name}" for name in names[1:])]
    note = (
        "Evenness: normalised entropy of the domains' shares, 1 where all experts have equally many samples. Kept: "
        "adjusted Rand index of the domains and MoE's, 1 where every sample stays with its expert."
    )
    small, large = alphas[1], alphas[-1]
    claims = [
        mostly(
            f"At α = {small:g} samples are shared out as evenly as in MoE (within {_NEAR:g})",
            [abs(of_arm[1] - of_arm[0]) <= _NEAR for of_arm in even],
        ),
        mostly(f"At α = {large:g} less evenly than at α = {small:g}", [of_arm[-1] < of_arm[1] for of_arm in even]),
        mostly(
            f"At α = {large:g} fewer samples stay with their expert than at α = {small:g}",
            [same[-1] < same[1] for same in kept],
        ),
    ]
    figures = {f"{record['data']}-{record['gate']}": partial(_draw, record) for record in records[:2]}
    return Finding(f"{table(heads, rows)}\n\n{note}", claims, figures)


def _draw(record: Record) -> Figure:
    from distilled_experts.report import figures

    return figures.contrasted_domains(record)


PIECES = (
    Piece(
        "domains",
        "Distribution of the task domains",
        "How the task domain is shared out among the experts in MoE and in MoDE with α = 0.01 and α = 100; what the "
        "figure shows is not known, the statements are our reading.",
        (DOMAINS,),
        _domains,
        "figure 3",
    ),
)
