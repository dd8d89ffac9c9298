"""Images and translation: the same comparison where models are trained one by one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from statistics import fmean

from distilled_experts.experiments.statistics import Difference
from distilled_experts.report.formats import fixed
from distilled_experts.report.values import Record
from distilled_experts.reproduction.changes import Change, everywhere, forest_of
from distilled_experts.reproduction.piece import Claim, Finding, Piece
from distilled_experts.reproduction.pieces.tabular import ARMS
from distilled_experts.reproduction.studies import IMAGES, TRANSLATION
from distilled_experts.reproduction.text import points, strengths, table

__all__ = ["PIECES", "gain_of"]


def _factor(record: Record) -> float:
    """Accuracy is a share; BLEU is in points already."""
    return 1 if record["metric"] == "bleu" else 100


def _name(record: Record) -> str:
    return f"{record['data']}, {record['pair']}" if "pair" in record else str(record["data"])


def gain_of(record: Record, key: str = "difference") -> Difference:
    """A recorded difference in points."""
    found, factor = record[key], _factor(record) if key == "difference" else 100
    low, high, detectable = (
        None if found[end] is None else factor * found[end] for end in ("low", "high", "detectable")
    )
    scores = [factor * score for score in found["scores"]]
    return Difference(factor * found["mean"], low, high, found["p"], detectable, scores)


def _compare(records: Sequence[Record], what: str) -> Finding:
    rows = [
        [
            *(_name(record), record["gate"]),
            *(fixed(_factor(record) * record["arms"][arm]["mean"], 2) for arm in ARMS),
            points(gain_of(record), factor=1),
            strengths(record["alpha"]),
            points(gain_of(record, "own_domain_difference"), factor=1),
            fixed(fmean(record["arms"][arm]["seconds"] for arm in ARMS) / 60, 1),
        ]
        for record in records
    ]
    heads = ["data", "gate", *ARMS.values(), "MoDE − MoE (95 % interval)", "α", "own domain, change", "minutes a model"]
    changes = [Change(_name(record), record["gate"], gain_of(record)) for record in records]
    own = [gain_of(record, "own_domain_difference").mean for record in records]
    sure = [(change.found.low or 0.0) > 0 for change in changes]
    claims = [
        everywhere("MoDE is above MoE on every arm", [change.found.mean > 0 for change in changes]),
        Claim(
            "The 95 % interval is above zero on at least half of the arms",
            2 * sum(sure) >= len(sure),
            f"{sum(sure)} of {len(sure)}",
        ),
        everywhere("Each expert alone is better on its own domain on every arm", [mean > 0 for mean in own]),
    ]
    note = f"{what}, means of {records[0]['seeds']} seeds."
    figures = {"gain": forest_of(changes, "MoDE − MoE, points", factor=1)}
    return Finding(f"{table(heads, rows)}\n\n{note}", claims, figures)


PIECES = (
    Piece(
        "images",
        "Images",
        "Distillation improves mixtures on images.",
        (IMAGES,),
        partial(_compare, what="Accuracy in percent"),
        "table 4",
    ),
    Piece(
        "translation",
        "Translation",
        "Distillation improves mixtures in natural language processing; which data are used is not known.",
        (TRANSLATION,),
        partial(_compare, what="BLEU"),
        "table 3",
    ),
)
