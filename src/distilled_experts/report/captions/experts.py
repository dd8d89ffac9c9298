"""What to see in the experts: who is right where, and how the samples are shared out."""

from __future__ import annotations

from collections.abc import Sequence

from distilled_experts.report.captions.caption import Caption
from distilled_experts.report.experts import contrasted_alphas, experts_of
from distilled_experts.report.formats import fixed, percent, strength
from distilled_experts.report.values import Number, Record, diagonal, mean, off_diagonal
from distilled_experts.report.why import along_alpha
from distilled_experts.report.words import arm_name


def expert_domain_matrix(record: Record, alpha: Number = None) -> Caption:
    """Describe the expert × domain scores of a comparison."""
    found = []
    for arm, (_, matrix) in experts_of(record, alpha).items():
        own, other = mean(diagonal(matrix)), mean(off_diagonal(matrix))
        found.append(f"{arm_name(arm, alpha)}: {fixed(own, 3)} on own domains and {fixed(other, 3)} on the others’")
    numbers = "; ".join(found)
    caption = (
        f"Mean score of experts that answer alone, {numbers}. Rows are experts, columns domains, both ranked "
        "by size in each seed; the outlined diagonal is each expert on its own domain. Stronger colour off "
        "the diagonal means that experts see more than their own slice. Here every cell counts the same; "
        "the table weighs domains by their size."
    )
    return Caption(caption, f"Heat maps of the score of each expert on each domain. {numbers}.")


def domains(record: Record, alpha: Number = None) -> Caption:
    """Describe the domain shares of MoE and MoDE."""
    numbers = _largest_to_smallest(record, [alpha])
    caption = f"{numbers} An expert with almost no rows of its own is one that the gate has forgotten."
    return Caption(caption, f"Bars of the share of test rows that each expert dominates. {numbers}")


def contrasted_domains(record: Record) -> Caption:
    """Describe the domain shares of MoE beside those with little and with much distillation."""
    numbers = _largest_to_smallest(record, contrasted_alphas(record))
    caption = (
        f"{numbers}{_overlap(record)} Where the experts have become alike, it no longer matters which of them the gate "
        "prefers."
    )
    return Caption(caption, f"Bars of the share of test rows that each expert dominates. {numbers}")


def _overlap(record: Record) -> str:
    """How much of MoE's division of the rows is left, of the small and the large α."""
    found = {alpha: mean(values) for alpha, values in along_alpha(record, "adjusted_rand")}
    parts = [f"{fixed(found.get(alpha), 2)} at α = {strength(alpha)}" for alpha in contrasted_alphas(record)]
    return f" Agreement with the domains of MoE (adjusted Rand index, 1: the same): {', '.join(parts)}."


def _largest_to_smallest(record: Record, alphas: Sequence[Number]) -> str:
    arms = {arm_name(arm, alpha): found for alpha in alphas for arm, found in experts_of(record, alpha).items()}
    ranked = {name: [mean(share) for share in experts.shares] for name, experts in arms.items()}
    found = [f"{name}: {percent(shares[0])} to {percent(shares[-1])}" for name, shares in ranked.items()]
    even = percent(1 / max(map(len, ranked.values())))
    return f"Largest to smallest domain, {'; '.join(found)}; an even split would be {even}."
