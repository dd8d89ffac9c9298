"""Data whose classes can be told in several ways, and data that shows one of them at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

from distilled_experts.experiments.ranks import LEVEL
from distilled_experts.report.values import Record
from distilled_experts.reproduction.piece import Claim, Finding, Piece
from distilled_experts.reproduction.studies import MULTI_VIEW
from distilled_experts.reproduction.text import table

__all__ = ["PIECES"]

# The same for all, and nobody's best on its own test rows.
_FIXED_ALPHA = 0.1
_SHOWN = {0.0: "all views", 1.0: "one view"}
_MEASURES = {"score": "accuracy", "views": "views that an expert knows"}


def _means(study: Record, name: str) -> list[float]:
    return [100 * fmean(column) for column in zip(*study[name], strict=True)]


def _multi_view(records: Sequence[Record]) -> Finding:
    rows = [
        [record["gate"], _SHOWN[study["single_view_share"]], title, *(f"{mean:.1f}" for mean in _means(study, name))]
        for record in records
        for study in record["studies"]
        for name, title in _MEASURES.items()
    ]
    alphas = records[0]["studies"][0]["alpha"]
    heads = ["gate", "samples show", "percent", *(f"α = {alpha:g}" for alpha in alphas)]
    claims = [claim for record in records for claim in _claims(record)]
    note = "Made data (Allen-Zhu & Li 2020): the views of a class are known; test samples show one view alone."
    return Finding(f"{table(heads, rows)}\n\n{note}", claims)


def _claims(record: Record) -> Iterator[Claim]:
    many, one = record["studies"]
    gate, place = f"({record['gate']} gate)", many["alpha"].index(_FIXED_ALPHA)
    known, score, known_of_one = _means(many, "views"), _means(many, "score"), _means(one, "views")
    views, scores, views_of_one = (f"{values[0]:.1f} → {values[place]:.1f}" for values in (known, score, known_of_one))
    text = f"With all views in each sample experts learn more of them at α = {_FIXED_ALPHA:g}, and the mixture gains"
    gains = known[place] > known[0] and score[place] > score[0]
    yield Claim(f"{text} {gate}", gains, f"views {views}, accuracy {scores}")
    text = f"With one view in each sample experts learn no more of them at α = {_FIXED_ALPHA:g}"
    yield Claim(f"{text} {gate}", known_of_one[place] <= known_of_one[0], f"views {views_of_one}")
    above = [found["mean"] > 0 and (found["p"] or 0.0) < LEVEL for found in one["difference"][1:]]
    text = f"With one view in each sample there is no significant gain at any α {gate}"
    yield Claim(text, not any(above), f"{sum(above)} of {len(above)} α gain")


PIECES = (
    Piece(
        "multi-view",
        "Multi-view and single-view data",
        "The structure of the data decides what there is to learn from each other: with several views in a sample "
        "experts can hand them on, with a single view they cannot.",
        (MULTI_VIEW,),
        _multi_view,
    ),
)
