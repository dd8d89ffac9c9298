"""What to see in the reasons for the result of a comparison, with the numbers of this record."""

from __future__ import annotations

from distilled_experts.report import words
from distilled_experts.report.captions.caption import Caption
from distilled_experts.report.formats import clean, counted, fixed, percent, strength
from distilled_experts.report.records import MIXTURES
from distilled_experts.report.values import Record, finite, known, mean
from distilled_experts.report.why import along_alpha, attention_of, flow_of, ignored_columns, over_training, why_of
from distilled_experts.report.words import ARM_NAMES


def exchange(record: Record) -> Caption:
    """Describe the contributions of gate and experts."""
    found = why_of(record, "exchange")
    lines = {key: words.difference_line(found.get(key), 4) for key in ("experts", "gate", "gain")}
    numbers = f"Better experts contribute {lines['experts']}; the gate {lines['gate']}; together {lines['gain']}."
    caption = (
        f"{numbers} The gate of one mixture was put before the experts of the other: a bar to the right of zero says "
        "that this part alone makes the mixture better. Dots are seeds."
    )
    return Caption(caption, f"Dot plot of the contributions of experts and gate. {numbers}")


def flow(record: Record) -> Caption:
    """Describe the flow of errors."""
    _, shares = flow_of(record)
    repaired, spoilt = sum(row[0] for row in shares[1:]), sum(shares[0][1:])
    remaining = sum(share for row in shares[1:] for share in row[1:])
    numbers = (
        f"Of all test rows {_points(repaired)} are repaired, {_points(spoilt)} go wrong that were right, "
        f"{_points(remaining)} stay wrong"
    )
    caption = (
        f"{numbers}. Gate error: some expert was right, but not the one with the largest weight. Expert error: none "
        "was. Combination error: the one with the largest weight was right, but the others outweighed it. "
        "A band shows how many answers change from one kind to another."
    )
    return Caption(caption, f"Bands from the errors of MoE to the answers of MoDE. {numbers}.")


def _points(share: float) -> str:
    return f"{100 * share:.2f} %"


def parallel_study(record: Record) -> Caption:
    """Describe the study under one frozen gate."""
    study = why_of(record, "parallel")
    experts = [finite((expert.get("difference") or {}).get("mean")) for expert in study.get("by_expert") or ()]
    better = sum(change > 0 for change in known(experts))
    numbers = (
        f"All experts together: {words.difference_line(study.get('difference'), 4)}. "
        f"{better} of {counted(len(known(experts)), 'expert')} are better with distillation"
    )
    caption = (
        f"{numbers}. The gate of the trained MoE was frozen and the experts of both arms were trained anew under it, "
        "from the same initial weights: every expert has the same domain in both, so this is the gain of the experts "
        "alone. In brackets the share of the rows."
    )
    return Caption(caption, f"Dot plot of differences in {words.own_domain_name(record)}, by expert. {numbers}.")


def narrow_vision_over_training(record: Record) -> Caption:
    """Describe the course of the narrow-vision index."""
    whole, task = _ends(record, "vision_whole", "of the whole loss"), _ends(record, "vision_task", "of the task loss")
    numbers = f"At the end: {whole}; {task}"
    caption = (
        f"{numbers}. 0: every expert learns from every {words.subset_name(record)}; 1: each teaches one expert. The "
        "whole loss is what the experts really learn from; the dashed lines are what the gate alone leaves to them."
    )
    return Caption(caption, f"Lines of the narrow-vision index over the epochs. {numbers}.")


def similarity_over_training(record: Record) -> Caption:
    """Describe the course of the similarity of the experts."""
    numbers = f"At the end: {_ends(record, 'cka', 'CKA')}; {_ends(record, 'agreement', 'agreement')}"
    alarms = {arm: mean(values[-1:]) for arm, values in _alarms(record).items()}
    alarmed = "; ".join(f"{ARM_NAMES[arm]} in {percent(share)} of the seeds" for arm, share in alarms.items() if share)
    caption = (
        f"{numbers}. Linear CKA compares what two experts compute, agreement how often they give the same answer. "
        + (f"Experts have become alike: {alarmed}." if alarmed else "In no seed have the experts become alike.")
    )
    return Caption(caption, f"Lines of the similarity of the experts over the epochs. {numbers}.")


def _alarms(record: Record) -> dict[str, list[object]]:
    courses = {arm: why_of(record, "course").get(arm) or {} for arm in MIXTURES}
    return {arm: course["homogenised"] for arm, course in courses.items() if course.get("homogenised")}


def _ends(record: Record, quantity: str, name: str) -> str:
    ends = [
        f"{ARM_NAMES[arm]} {fixed(points[-1][1], 3)}"
        for arm, points in over_training(record, quantity).items()
        if points
    ]
    return f"{name} {' and '.join(ends)}" if ends else f"{name} not measured"


def narrow_vision_against_alpha(record: Record) -> Caption:
    """Describe the narrow-vision index along α."""
    whole = _from_to(record, "vision_whole")
    numbers = f"The index of the whole loss goes {whole}; that of the task loss alone {_from_to(record, 'vision_task')}"
    caption = (
        f"{numbers}. Distillation widens the vision of the experts where the solid line falls. The dashed line may "
        "rise: it leaves out what the experts learn from each other."
    )
    return Caption(caption, f"Lines of the narrow-vision index against α. {numbers}.")


def similarity_against_alpha(record: Record) -> Caption:
    """Describe the similarity of the experts along α."""
    numbers = f"CKA goes {_from_to(record, 'cka')}; agreement {_from_to(record, 'agreement')}"
    caption = (
        f"{numbers}. The stronger the distillation, the more alike the experts; where both come near 1, nothing is "
        "left of their specialisation."
    )
    return Caption(caption, f"Lines of the similarity of the experts against α. {numbers}.")


def _from_to(record: Record, quantity: str) -> str:
    points = [(alpha, mean(values)) for alpha, values in along_alpha(record, quantity)]
    points = [(alpha, value) for alpha, value in points if value is not None]
    if not points:
        return "unmeasured"
    (first, before), (last, after) = points[0], points[-1]
    return f"from {fixed(before, 3)} at α = {strength(first)} to {fixed(after, 3)} at α = {strength(last)}"


def attention(record: Record) -> Caption:
    """Describe the attention to the columns: how many are ignored, and which are picked up."""
    names, _ = attention_of(record)
    counts = [f"{ARM_NAMES[arm]}’s {fixed(number, 1)}" for arm, number in ignored_columns(record).items()]
    numbers = f"Of {counted(len(names), 'column')} an expert ignores on average: {' and '.join(counts)}"
    caption = (
        f"{numbers}. The deeper the colour, the more the expert’s answer on its own domain hangs on the column. "
        f"Ignored: less than a tenth of an even share. {_picked_up(record)}"
    )
    return Caption(caption, f"Heat maps of attention, columns by experts, of MoE and MoDE. {numbers}.")


def _picked_up(record: Record) -> str:
    found = [name for seed in why_of(record, "attention").get("picked_up") or () for expert in seed for name in expert]
    if not found:
        return "No column that MoE’s expert ignores is picked up by MoDE’s."
    often = sorted(set(found), key=lambda name: (-found.count(name), str(name)))[:3]
    listed = ", ".join(f"{clean(name)} ({found.count(name)})" for name in often)
    return f"Ignored by MoE’s expert and picked up by MoDE’s, over all seeds and experts: {listed}."
