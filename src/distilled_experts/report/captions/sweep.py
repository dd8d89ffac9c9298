"""What to see in the measures of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from distilled_experts.report import words
from distilled_experts.report.captions.caption import Caption, cut_note
from distilled_experts.report.data.sweep import SCORES, swept
from distilled_experts.report.formats import counted, fixed, strength
from distilled_experts.report.values import Record

# Columns of the data.
EXPERTS, ALPHA, MEAN = 0, 1, 2
MEANINGS = {
    "score": "The best α is read off the test rows here, so its gain is optimistic.",
    "own_domain": "Each expert answers alone, on the test rows that it dominates.",
    "similarity": "Linear CKA of pairs of experts on test rows: near 1, nothing is left of their specialisation.",
    "narrow_vision": "Of the whole loss. 0: every expert learns from every {subset}; 1: each teaches one expert.",
}


def against_alpha(record: Record, measure: str = "score") -> Caption:
    """Describe a measure against α, by number of experts."""
    lines = _lines(record, measure, EXPERTS)
    if measure in SCORES:
        digits = words.places(record) if measure == "score" else 4
        best = {size: max(rows, key=lambda row: row[MEAN]) for size, rows in lines.items()}
        found = [f"E = {size}: {fixed(row[MEAN], digits)} at α = {strength(row[ALPHA])}" for size, row in best.items()]
        numbers = f"Highest mean by number of experts (E): {'; '.join(found)}."
    else:
        ends = {f"E = {size}": (rows[0], rows[-1]) for size, rows in lines.items()}
        numbers = _numbers(ends, lambda row: f"at α = {strength(row[ALPHA])}")
    return _caption(record, measure, numbers, "against α, one for each number of experts", "more experts")


def against_experts(record: Record, measure: str = "score") -> Caption:
    """Describe a measure against the number of experts: without distillation, and at the α of the best cell."""
    best = (words.best_cell(record) or {}).get("alpha")
    lines = {alpha: rows for alpha, rows in _lines(record, measure, ALPHA).items() if alpha in (0, best)}
    ends = {f"α = {strength(alpha)}": (rows[0], rows[-1]) for alpha, rows in lines.items()}
    numbers = _numbers(ends, lambda row: f"with {counted(row[EXPERTS], 'expert')}")
    return _caption(record, measure, numbers, "against the number of experts, one for each α", "more distillation")


def _lines(record: Record, measure: str, by: int) -> dict[Any, list[Any]]:
    """Rows of the data by one of their columns."""
    lines: dict[Any, list[Any]] = {}
    for row in swept(record, measure).rows:
        lines.setdefault(row[by], []).append(row)
    return lines


def _numbers(ends: Mapping[str, tuple[Any, Any]], where: Callable[[Any], str]) -> str:
    """First and last point of each line."""
    found = [
        f"{line}: {fixed(first[MEAN], 3)} {where(first)}, {fixed(last[MEAN], 3)} {where(last)}"
        for line, (first, last) in ends.items()
    ]
    return f"{'; '.join(found)}."


def _caption(record: Record, measure: str, numbers: str, lines: str, stronger: str) -> Caption:
    meaning = MEANINGS[measure].format(subset=words.subset_name(record))
    note = cut_note(swept(record, measure)) if measure in SCORES else ""
    caption = f"{numbers} {meaning} Stronger lines are {stronger}, bars ± one standard error.{note}"
    return Caption(caption, f"Lines of {words.swept_name(record, measure)} {lines}. {numbers}")
