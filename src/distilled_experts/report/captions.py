"""Captions and alternative texts: what to see in a figure, with the numbers of this record."""

from __future__ import annotations

from typing import NamedTuple

from distilled_experts.report import data, words
from distilled_experts.report.figures.axes import visible_range
from distilled_experts.report.formats import counted, fixed, percent, signed, strength
from distilled_experts.report.records import MIXTURES, has_interval, probing_of
from distilled_experts.report.values import (
    Record,
    change,
    diagonal,
    finite,
    known,
    mean,
    off_diagonal,
    ranked_matrix,
    ranked_shares,
)
from distilled_experts.report.words import ARM_NAMES, metric_name


class Words(NamedTuple):
    """A caption, and the alternative text for those who cannot see the figure."""

    caption: str
    alt: str


def differences(record: Record) -> Words:
    """Describe the paired differences."""
    digits = words.places(record)
    difference, mixture = record.get("difference") or {}, record.get("mixture_difference") or {}
    scores = known(difference.get("scores"))
    better = sum(score > 0 for score in scores)
    caption = (
        f"MoDE scores higher than MoE in {better} of {counted(len(scores), 'seed')}; "
        f"mean difference {words.difference_line(difference, digits)}. "
        f"Mixture against the dense network: {words.difference_line(mixture, digits)}. "
    )
    if has_interval(difference):
        caption += "Small dots are seeds, the bar is the 95 % interval; one that holds zero shows no difference."
    alt = (
        f"Dot plot of paired differences in test {metric_name(record)} with a line at zero. "
        f"MoDE minus MoE: {words.span(difference.get('scores') or [], digits)} over the seeds, "
        f"mean {signed(difference.get('mean'), digits)}. "
        f"MoE minus dense: mean {signed(mixture.get('mean'), digits)}."
    )
    return Words(caption, alt)


def score_against_alpha(record: Record) -> Words:
    """Describe the test score along α."""
    found = _along_alpha(data.score_against_alpha(record), words.places(record))
    caption = (
        f"{found} Where distillation helps, the curve rises above plain MoE (α = 0) before too large an α "
        "makes the experts alike. The best α here is read off the test rows and so looks better than it is; "
        "the comparison above uses the α that each seed chose on its validation rows."
    )
    return Words(caption, f"Line of the mean test {metric_name(record)} against α. {found}")


def own_domain_against_alpha(record: Record) -> Words:
    """Describe the own-domain score along α."""
    found = _along_alpha(data.own_domain_against_alpha(record), 4)
    caption = (
        f"{found} Each expert answers alone on its own domain, the test rows for which its gate weight is "
        "the largest: a rise says that the experts themselves have become better, not only their mixture."
    )
    return Words(caption, f"Line of {words.own_domain_name(record)} against α. {found}")


def _along_alpha(drawn: data.Data, digits: int) -> str:
    points = [(alpha, finite(centre)) for alpha, centre, *_ in drawn.rows]
    best_alpha, best = max(points, key=lambda point: point[1] or float("-inf"))
    text = f"Highest mean at α = {strength(best_alpha)}: {fixed(best, digits)}"
    start_alpha, start = points[0]
    if start_alpha == 0 and best_alpha != 0:
        text += f", {signed(change(start, best), digits)} against α = 0"
    return f"{text}.{_cut(drawn)}"


def expert_domain_matrix(record: Record) -> Words:
    """Describe the expert × domain scores."""
    found = []
    for arm, probing in probing_of(record).items():
        matrix = ranked_matrix(probing)
        own, other = mean(diagonal(matrix)), mean(off_diagonal(matrix))
        found.append(f"{ARM_NAMES[arm]} {fixed(own, 3)} on own domains and {fixed(other, 3)} on the others’")
    numbers = "; ".join(found)
    caption = (
        f"Mean score of experts that answer alone: {numbers}. Rows are experts, columns domains, both ranked "
        "by size in each seed; the outlined diagonal is each expert on its own domain. Stronger colour off "
        "the diagonal means that experts see more than their own slice. Here every cell counts the same; "
        "the table weighs domains by their size."
    )
    return Words(caption, f"Heat maps of the score of each expert on each domain. {numbers}.")


def domain_shares(record: Record) -> Words:
    """Describe the domain shares."""
    found, experts = [], 0
    for arm, probing in probing_of(record).items():
        ranked = [mean(shares) for shares in ranked_shares(probing)]
        experts = len(ranked)
        found.append(f"{ARM_NAMES[arm]} {percent(ranked[0])} to {percent(ranked[-1])}")
    numbers = "; ".join(found)
    caption = (
        f"Largest to smallest domain: {numbers}; an even split would be {percent(1 / max(experts, 1))}. "
        "An expert with almost no rows of its own is one that the gate has forgotten."
    )
    return Words(caption, f"Bars of the share of test rows that each expert dominates. {numbers}.")


def learning_curves(record: Record) -> Words:
    """Describe the learning curves."""
    curves, found = record.get("curves") or {}, []
    for arm in ("dense", *MIXTURES):
        losses = [
            (loss, epoch)
            for epoch, loss in zip(
                (curves.get(arm) or {}).get("epoch") or (),
                map(finite, (curves.get(arm) or {}).get("validation_loss") or ()),
                strict=False,
            )
            if loss is not None
        ]
        if losses:
            lowest, epoch = min(losses)
            found.append(f"{ARM_NAMES[arm]} {fixed(lowest, 4)} (epoch {epoch})")
    numbers = "Lowest validation loss, mean over seeds: " + "; ".join(found) + "."
    caption = (
        f"{numbers} The wider the gap between solid (validation) and dashed (training), the more a network "
        "has learned by heart. A validation loss that still falls at the end asks for more epochs."
    )
    return Words(caption, f"Lines of training and validation loss over epochs. {numbers}")


def sweep_scores(record: Record) -> Words:
    """Describe the scores of a sweep."""
    drawn = data.sweep_scores(record)
    found = _best_per_size(drawn, words.places(record))
    caption = (
        f"Highest mean by number of experts (E): {found}. Stronger lines are more experts, bars ± one "
        f"standard error. The best α is read off the test rows here, so its gain is optimistic.{_cut(drawn)}"
    )
    return Words(caption, f"Lines of the mean test {metric_name(record)} against α, one for each E. {found}.")


def sweep_own_domain(record: Record) -> Words:
    """Describe the own-domain scores of a sweep."""
    drawn = data.sweep_own_domain(record)
    found = _best_per_size(drawn, 4)
    caption = (
        f"Highest mean by number of experts (E): {found}. Each expert answers alone, on the test rows that "
        f"it dominates.{_cut(drawn)}"
    )
    return Words(caption, f"Lines of {words.own_domain_name(record)} against α, one for each E. {found}.")


def _cut(drawn: data.Data) -> str:
    """Explain the mark for scores below the axis, where there are any."""
    means = [finite(row[drawn.header.index("mean")]) for row in drawn.rows]
    plain = [value for row, value in zip(drawn.rows, means, strict=True) if row[drawn.header.index("alpha")] == 0]
    return "" if visible_range(means, shown=plain) is None else " ▼ marks scores below the cut axis."


def _best_per_size(drawn: data.Data, digits: int) -> str:
    best: dict[object, tuple[float, object]] = {}
    for size, alpha, centre, _ in drawn.rows:
        score = finite(centre)
        if score is not None and (size not in best or score > best[size][0]):
            best[size] = (score, alpha)
    return "; ".join(
        f"E = {size}: {fixed(score, digits)} at α = {strength(alpha)}" for size, (score, alpha) in best.items()
    )
