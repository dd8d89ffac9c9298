"""What to see in the experts of one probed model, with its numbers."""

from __future__ import annotations

from distilled_experts.report import words
from distilled_experts.report.captions.caption import Caption
from distilled_experts.report.formats import clean, fixed, percent, upper_first
from distilled_experts.report.probe import (
    ERRORS,
    LOSSES,
    composition_of,
    losses_of,
    own_scores,
    vision_index,
    visions_of,
)
from distilled_experts.report.values import Record, diagonal, finite, known, mean, off_diagonal

MEANINGS = {
    "log loss": "Log loss: the mean of −log of the probability that the right class was given, 0 for one that is sure",
    "perplexity": "Perplexity: among how many equally likely tokens a model would be as unsure",
}


def domains(record: Record) -> Caption:
    """Describe the domain shares."""
    shares = known(record["shares"]["value"])
    largest, smallest = max(shares), min(shares)
    span = f"From {percent(smallest)} to {percent(largest)} of the {words.sample_name(record)}s"
    numbers = f"{span}; an even split would be {percent(1 / len(shares))}"
    caption = f"{numbers}. Bars are 95 % intervals. An expert with almost none is one that the gate has forgotten."
    alt = f"Bars of the share of the {words.sample_name(record)}s that each expert dominates. {numbers}."
    return Caption(caption, alt)


def own_domain(record: Record) -> Caption:
    """Describe each expert alone on its own domain."""
    scores = [(score, expert) for expert, score in enumerate(own_scores(record)["value"]) if score is not None]
    (low, worst), (high, best) = min(scores), max(scores)
    numbers = (
        f"All experts on their own domains {words.measure_line(record['own_domain'])}; the mixture "
        f"{words.measure_line(record['score'])}; the best is expert {best} ({fixed(high, 3)}), the worst expert "
        f"{worst} ({fixed(low, 3)})"
    )
    caption = f"{numbers}. An expert far below the mixture lives on the answers of the others."
    return Caption(caption, f"Dots of the {words.own_domain_name(record)} of each expert. {numbers}.")


def expert_domain_matrix(record: Record) -> Caption:
    """Describe the expert × domain scores."""
    matrix = [[finite(score) for score in row] for row in record["matrix"]["value"]]
    numbers = (
        f"{fixed(mean(diagonal(matrix)), 3)} on own domains, {fixed(mean(off_diagonal(matrix)), 3)} on the others’"
    )
    caption = (
        f"Mean score of experts that answer alone: {numbers}. Rows are experts, columns domains; the outlined diagonal "
        "is each expert on its own domain. Stronger colour off the diagonal means that experts see more than their "
        "own slice."
    )
    return Caption(caption, f"Heat map of the score of each expert on each domain. {numbers}.")


def loss_matrix(record: Record) -> Caption:
    """Describe the expert × domain losses."""
    found, places = losses_of(record), words.loss_places(record)
    matrix = [[finite(value) for value in row] for row in found["matrix"]["value"]]
    numbers = (
        f"All experts on their own domains {words.measure_line(found['own_domain'], places)}; the mixture "
        f"{words.measure_line(found['mixture'], places)}; mean of the experts on the others’ domains "
        f"{fixed(mean(off_diagonal(matrix)), places)}"
    )
    caption = (
        f"{numbers}. {MEANINGS[words.loss_name(record)]}; paler is better. "
        "Rows are experts that answer alone, columns domains; the outlined diagonal is each expert on its own domain."
    )
    return Caption(caption, f"Heat map of the {words.loss_name(record)} of each expert on each domain. {numbers}.")


def composition(record: Record) -> Caption:
    """Describe which expert dominates which class."""
    names, shares = composition_of(record)
    found = [
        (share, clean(name), expert)
        for expert, row in enumerate(shares)
        for name, share in zip(names, row, strict=True)
        if share is not None
    ]
    share, name, expert = max(found)
    numbers = f"Most clearly divided: {percent(share)} of “{name}” go to expert {expert}"
    caption = (
        f"{numbers}. A column shows how the {words.sample_name(record)}s of one {words.subset_name(record)} are "
        "divided among the experts: one deep cell is an expert for it, an even column none."
    )
    return Caption(caption, f"Heat map of how the experts share out each {words.subset_name(record)}. {numbers}.")


def errors(record: Record) -> Caption:
    """Describe the types of error."""
    numbers = "; ".join(f"{name} {words.measure_line(record['errors'][key])}" for key, name in ERRORS.items())
    caption = (
        f"{upper_first(numbers)}. Gate error: some expert was right, but not the one with the largest weight: a better "
        "gate would help. Expert error: none was right: better experts would. Combination error: the one with the "
        "largest weight was right, but the others outweighed it."
    )
    return Caption(
        caption, f"Bars of the share of the {words.sample_name(record)}s with each type of error. {numbers}."
    )


def narrow_vision(record: Record) -> Caption:
    """Describe what the experts learn from."""
    indices = (f"{fixed(vision_index(record, loss), 3)} of the {LOSSES[loss]}" for loss in visions_of(record))
    numbers = f"Narrow-vision index: {', '.join(indices)}"
    caption = (
        f"{numbers} (0: every expert learns from every {words.subset_name(record)}; 1: each teaches one expert). "
        f"A cell is the expert’s share of the gradients of that column’s {words.sample_name(record)}s."
    )
    return Caption(
        caption, f"Heat map of each expert’s share of the gradients, by {words.subset_name(record)}. {numbers}."
    )


def similarity(record: Record) -> Caption:
    """Describe how alike the experts are."""
    found = record["similarity"]
    numbers = f"Mean CKA {fixed(found['mean_cka'], 3)}, mean agreement {fixed(found['mean_agreement'], 3)}"
    alarm = f"{clean(found['warning'])}." if found.get("warning") else "The experts still differ."
    caption = (
        f"{numbers}. Linear CKA compares what two experts compute, agreement how often they give the same answer. "
        f"{upper_first(alarm)}"
    )
    return Caption(caption, f"Heat maps of CKA and agreement of every pair of experts. {numbers}.")
