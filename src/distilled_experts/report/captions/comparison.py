"""What to see in the scores of a comparison, with the numbers of this record."""

from __future__ import annotations

from distilled_experts.report import words
from distilled_experts.report.captions.caption import Caption, cut_note
from distilled_experts.report.data import comparison as data
from distilled_experts.report.data.rows import Data
from distilled_experts.report.formats import counted, fixed, signed, strength
from distilled_experts.report.records import MIXTURES, has_interval
from distilled_experts.report.values import Record, change, finite, known
from distilled_experts.report.words import ARM_NAMES, metric_name


def differences(record: Record) -> Caption:
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
    return Caption(caption, alt)


def score_against_alpha(record: Record) -> Caption:
    """Describe the test score along α."""
    found = _along_alpha(data.score_against_alpha(record), words.places(record))
    caption = (
        f"{found} Where distillation helps, the curve rises above plain MoE (α = 0) before too large an α "
        "makes the experts alike. The best α here is read off the test rows and so looks better than it is; "
        "the comparison above uses the α that each seed chose on its validation rows."
    )
    return Caption(caption, f"Line of the mean test {metric_name(record)} against α. {found}")


def own_domain_against_alpha(record: Record) -> Caption:
    """Describe the own-domain score along α."""
    found = _along_alpha(data.own_domain_against_alpha(record), 4)
    caption = (
        f"{found} Each expert answers alone on its own domain, the test rows for which its gate weight is "
        "the largest: a rise says that the experts themselves have become better, not only their mixture."
    )
    return Caption(caption, f"Line of {words.own_domain_name(record)} against α. {found}")


def _along_alpha(drawn: Data, digits: int) -> str:
    points = [(alpha, finite(centre)) for alpha, centre, *_ in drawn.rows]
    best_alpha, best = max(points, key=lambda point: point[1] or float("-inf"))
    text = f"Highest mean at α = {strength(best_alpha)}: {fixed(best, digits)}"
    start_alpha, start = points[0]
    if start_alpha == 0 and best_alpha != 0:
        text += f", {signed(change(start, best), digits)} against α = 0"
    return f"{text}.{cut_note(drawn)}"


def learning_curves(record: Record) -> Caption:
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
    return Caption(caption, f"Lines of training and validation loss over epochs. {numbers}")
