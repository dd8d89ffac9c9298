"""Measures of a sweep, cell by cell."""

from __future__ import annotations

from distilled_experts.report.data.rows import Data
from distilled_experts.report.values import Record, mean, standard_error

# What figures can show of the cells, and where a cell holds it: values of all seeds.
MEASURES = {"score": "scores", "own_domain": "own_domain", "similarity": "cka", "narrow_vision": "vision_whole"}
SCORES = ("score", "own_domain")


def swept(record: Record, measure: str = "score", along: str | None = None) -> Data:
    """Return mean and standard error of a measure for each number of experts and α.

    ``along`` is "experts" or "alpha": no rows where there is only one of these.
    """
    rows: list[tuple[object, ...]] = []
    for cell in record.get("cells") or ():
        values = cell.get(MEASURES[measure]) or ()
        if mean(values) is not None:
            rows.append((cell.get("experts"), cell.get("alpha"), mean(values), standard_error(values)))
    header = ("experts", "alpha", "mean", "standard_error")
    varies = along is None or len({row[header.index(along)] for row in rows}) > 1
    return Data(header, rows if varies else [])
