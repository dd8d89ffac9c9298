"""Tables: the distilled mixture against the plain one, and against a dense network of its size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from distilled_experts.experiments.ranks import LEVEL, rank_methods
from distilled_experts.experiments.statistics import holm
from distilled_experts.report.formats import fixed
from distilled_experts.report.values import Record
from distilled_experts.reproduction.changes import Change, change_of, forest_of, mostly, steady
from distilled_experts.reproduction.piece import Claim, Figures, Finding, Piece
from distilled_experts.reproduction.studies import COMPARISONS
from distilled_experts.reproduction.text import points, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ARMS", "PIECES", "gains", "not_worse"]

ARMS = {"dense": "dense network", "moe": "MoE", "mode": "MoDE"}


def gains(records: Sequence[Record], before: str = "moe") -> list[Change]:
    """Test scores of MoDE against those of another arm."""
    return [change_of(r, r["arms"]["mode"]["scores"], r["arms"][before]["scores"]) for r in records]


def not_worse(changes: Sequence[Change]) -> Claim:
    """The statement that MoDE is significantly below MoE nowhere."""
    pairs = zip(changes, _adjusted(changes), strict=True)
    lost = sum(p is not None and p < LEVEL and change.found.mean < 0 for change, p in pairs)
    return Claim(f"MoDE is significantly below MoE on no arm (Holm, p < {LEVEL:g})", lost == 0, f"on {lost}")


def _adjusted(changes: Sequence[Change]) -> list[float | None]:
    """P after Holm; None where one seed gives none."""
    adjusted = iter(holm([change.found.p for change in changes if change.found.p is not None]))
    return [None if change.found.p is None else next(adjusted) for change in changes]


def _compare(records: Sequence[Record]) -> Finding:
    changes = gains(records)
    above_dense = [change.found.mean > 0 for change in gains(records, before="dense")]
    claims = [
        *steady("MoDE is above MoE", changes),
        not_worse(changes),
        mostly("MoDE is above a dense network of its size", above_dense),
    ]
    note = f"Accuracy in percent, means of {records[0]['seeds']} seeds; p adjusted after Holm over these rows."
    figures: Figures = {
        "gain": forest_of(changes, "MoDE − MoE, points of test accuracy"),
        "ranks": partial(_ranks, records),
    }
    return Finding("\n\n".join([_table(records, changes), note, _ranks_sentence(records)]), claims, figures)


def _table(records: Sequence[Record], changes: Sequence[Change]) -> str:
    rows = [
        [
            record["data"],
            *(fixed(100 * record["arms"][arm]["mean"], 2) for arm in ARMS),
            points(change.found),
            fixed(p, 3),
        ]
        for record, change, p in zip(records, changes, _adjusted(changes), strict=True)
    ]
    return table(["data", *ARMS.values(), "MoDE − MoE (95 % interval)", "p"], rows)


def _losses(records: Sequence[Record]) -> list[list[float]]:
    return [[-record["arms"][arm]["mean"] for arm in ARMS] for record in records]


def _ranks_sentence(records: Sequence[Record]) -> str:
    found = rank_methods(_losses(records))
    shown = ", ".join(f"{name} {rank:.2f}" for name, rank in zip(ARMS.values(), found.averages, strict=True))
    tested = "" if found.p is None else f"; Friedman's test: p = {found.p:.2g}"
    return f"Average ranks: {shown}; critical difference (Nemenyi) {fixed(found.critical_difference, 2)}{tested}."


def _ranks(records: Sequence[Record]) -> Figure:
    from distilled_experts.report import figures

    found = rank_methods(_losses(records))
    ranks = dict(zip(ARMS.values(), found.averages, strict=True))
    return figures.average_ranks(ranks, found.critical_difference, len(records), ours=("MoDE",))


PIECES = tuple(
    Piece(
        f"tabular-{gate}",
        f"Tables, {gate} gate",
        f"The distilled mixture beats the plain one on tables with {words}; it is called effective and universal.",
        (COMPARISONS.with_gate(gate),),
        _compare,
        number,
    )
    for gate, words, number in (
        ("dense", "a gate that mixes all experts", "table 1"),
        ("sparse", "a gate that activates the best few experts", "table 2"),
    )
)
