"""Scores of a sweep, cell by cell."""

from __future__ import annotations

from distilled_experts.report.data.rows import Data
from distilled_experts.report.values import Record, finite, standard_error


def sweep_scores(record: Record) -> Data:
    """Return mean and standard error of the test score for each number of experts and α."""
    return _cells(record, "scores", "mean")


def sweep_own_domain(record: Record) -> Data:
    """Return mean and standard error of the own-domain score for each number of experts and α."""
    return _cells(record, "own_domain", "own_domain_mean")


def _cells(record: Record, scores: str, centre: str) -> Data:
    rows: list[tuple[object, ...]] = [
        (cell.get("experts"), cell.get("alpha"), finite(cell.get(centre)), standard_error(cell.get(scores)))
        for cell in record.get("cells") or ()
        if finite(cell.get(centre)) is not None
    ]
    return Data(("experts", "alpha", "mean", "standard_error"), rows)
