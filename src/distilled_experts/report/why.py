"""What the record of a comparison says about the reasons for its result; an older record says nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from distilled_experts.report.probe import ERRORS
from distilled_experts.report.records import MIXTURES
from distilled_experts.report.values import Number, Record, by_share, columns, finite, known, mean

IGNORED = 0.1
ANSWERS = {"right": "right", **ERRORS}


def why_of(record: Record, part: str) -> dict[str, Any]:
    """Return one part of the reasons, empty where the record does not hold it."""
    return (record.get("why") or {}).get(part) or {}


def flow_of(record: Record) -> tuple[list[str], list[list[float]]]:
    """Return the types of answers, and the share of the samples (4, 4) that changes from one to another.

    Samples that both models answer rightly count as none: nothing changes there.
    """
    found = why_of(record, "flow")
    types = [ANSWERS.get(name, str(name)) for name in found.get("types") or ()]
    shares = [[finite(share) or 0.0 for share in row] for row in found.get("shares") or ()]
    if shares:
        shares[0][0] = 0.0
    return types, shares


def along_alpha(record: Record, quantity: str) -> list[tuple[float, list[Any]]]:
    """Return each α with the values of a quantity in all seeds."""
    path = why_of(record, "by_alpha")
    return list(zip(path.get("alpha") or (), columns(path.get(quantity)), strict=False))


def over_training(record: Record, quantity: str) -> dict[str, list[tuple[float, Number]]]:
    """Return epoch and value of a quantity, mean over the seeds, of MoE and MoDE as far as measured."""
    courses = {arm: why_of(record, "course").get(arm) or {} for arm in MIXTURES}
    found = {
        arm: [(epoch, finite(value)) for epoch, value in zip(course["epoch"], course[quantity], strict=False)]
        for arm, course in courses.items()
        if course.get(quantity)
    }
    return {arm: points for arm, points in found.items() if any(value is not None for _, value in points)}


def attention_of(record: Record) -> tuple[list[str], dict[str, list[list[Number]]]]:
    """Return the columns, and the attention (E, columns) of MoE's and MoDE's experts, mean over the seeds.

    In every seed the experts are ranked by the size of their domains under the gate that both share.
    """
    found = why_of(record, "attention")
    shares = [seed[0] for seed in why_of(record, "by_alpha").get("shares") or ()]
    names = [str(name) for name in found.get("columns") or ()]
    return names, {arm: _ranked_mean(found[arm], shares) for arm in MIXTURES if found.get(arm)}


def ignored_columns(record: Record) -> dict[str, Number]:
    """Return how many columns an expert of each arm ignores, mean over experts and seeds.

    Ignored is an attention below a tenth of an even share.
    """
    ignored = {arm: [_ignored(expert) for expert in experts] for arm, experts in _attentive(record).items()}
    return {arm: mean(map(sum, experts)) for arm, experts in ignored.items()}


def column_rows(record: Record) -> list[dict[str, Any]]:
    """Return one row a column: how many experts ignore it in each arm, as shares, and how many pick it up.

    Over all seeds and experts; columns that more of them pick up come first, then those that MoE's ignore. None where
    the record does not hold the attention.
    """
    found, arms = why_of(record, "attention"), _attentive(record)
    picked = Counter(str(name) for seed in found.get("picked_up") or () for expert in seed for name in expert)
    ignored = {arm: columns([_ignored(expert) for expert in experts]) for arm, experts in arms.items()}
    rows = [
        {
            "column": str(name),
            "picked_up": picked[str(name)],
            **{arm: mean(ignored[arm][place]) if arm in ignored else None for arm in MIXTURES},
        }
        for place, name in enumerate(found.get("columns") or () if arms else ())
    ]
    return sorted(rows, key=lambda row: (-row["picked_up"], -(row["moe"] or 0.0)))


def _attentive(record: Record) -> dict[str, list[Sequence[Any]]]:
    """The attention of all experts of all seeds to the columns, by arm; without experts that have no domain."""
    found = why_of(record, "attention")
    return {arm: [e for seed in found[arm] for e in seed if known(e)] for arm in MIXTURES if found.get(arm)}


def _ignored(expert: Sequence[Any]) -> list[bool]:
    return [share is not None and share < IGNORED / len(expert) for share in map(finite, expert)]


def _ranked_mean(attention: Sequence[Sequence[Sequence[Any]]], shares: Sequence[Sequence[Any]]) -> list[list[Number]]:
    ranked = [[experts[i] for i in by_share(share)] for experts, share in zip(attention, shares, strict=False)]
    return [[mean(values) for values in columns(seeds)] for seeds in columns(ranked)]
