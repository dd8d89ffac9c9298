"""What to see in the scores of a sweep."""

from __future__ import annotations

from distilled_experts.report import words
from distilled_experts.report.captions.caption import Caption, cut_note
from distilled_experts.report.data import sweep as data
from distilled_experts.report.data.rows import Data
from distilled_experts.report.formats import fixed, strength
from distilled_experts.report.values import Record, finite
from distilled_experts.report.words import metric_name


def sweep_scores(record: Record) -> Caption:
    """Describe the scores of a sweep."""
    drawn = data.sweep_scores(record)
    found = _best_per_size(drawn, words.places(record))
    caption = (
        f"Highest mean by number of experts (E): {found}. Stronger lines are more experts, bars ± one "
        f"standard error. The best α is read off the test rows here, so its gain is optimistic.{cut_note(drawn)}"
    )
    return Caption(caption, f"Lines of the mean test {metric_name(record)} against α, one for each E. {found}.")


def sweep_own_domain(record: Record) -> Caption:
    """Describe the own-domain scores of a sweep."""
    drawn = data.sweep_own_domain(record)
    found = _best_per_size(drawn, 4)
    caption = (
        f"Highest mean by number of experts (E): {found}. Each expert answers alone, on the test rows that "
        f"it dominates.{cut_note(drawn)}"
    )
    return Caption(caption, f"Lines of {words.own_domain_name(record)} against α, one for each E. {found}.")


def _best_per_size(drawn: Data, digits: int) -> str:
    best: dict[object, tuple[float, object]] = {}
    for size, alpha, centre, _ in drawn.rows:
        score = finite(centre)
        if score is not None and (size not in best or score > best[size][0]):
            best[size] = (score, alpha)
    return "; ".join(
        f"E = {size}: {fixed(score, digits)} at α = {strength(alpha)}" for size, (score, alpha) in best.items()
    )
