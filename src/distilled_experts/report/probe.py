"""What the record of one probed model says, as plain lists."""

from __future__ import annotations

from typing import Any

from distilled_experts.report.values import Number, Record, finite, known, mean

ERRORS = {"gate_error": "gate error", "expert_error": "expert error", "combination_error": "combination error"}
ENDS = ("value", "low", "high")
LOSSES = {"whole": "whole training loss", "task": "task loss alone"}


def own_scores(record: Record, matrix: str = "matrix") -> dict[str, list[Number]]:
    """Return the score, or the ``perplexity_matrix``, of each expert alone on its own domain (E,), with its interval.

    Lists are empty where the record has no such matrix.
    """
    found = record.get(matrix) or {}
    return {end: [finite(row[i]) for i, row in enumerate(found.get(end) or ())] for end in ENDS}


def expert_rows(record: Record) -> list[dict[str, Any]]:
    """Return one row an expert: its number, share and own-domain score with intervals, and its mean score elsewhere.

    Of language models also its perplexity on its own domain; None otherwise.
    """
    shares, own, perplexity = record["shares"], own_scores(record), own_scores(record, "perplexity_matrix")
    return [
        {
            "expert": i,
            "share": {end: shares[end][i] for end in ENDS},
            "own": {end: own[end][i] for end in ENDS},
            "perplexity": {end: perplexity[end][i] for end in ENDS} if perplexity["value"] else None,
            "others": mean(score for j, score in enumerate(record["matrix"]["value"][i]) if j != i),
        }
        for i in range(record["experts"])
    ]


def composition_of(record: Record) -> tuple[list[str], list[list[Number]]]:
    """Return the names of the subsets, and which share of each (column) every expert (row) dominates, (E, S)."""
    counts = record.get("composition") or []
    totals = [sum(known(column)) for column in zip(*counts, strict=True)]
    shares = [[_share(count, total) for count, total in zip(row, totals, strict=True)] for row in counts]
    return [str(name) for name in record.get("subsets") or ()], shares


def visions_of(record: Record) -> dict[str, list[list[Number]]]:
    """Return each expert's share of the gradients of every subset, (E, S), by loss; none where not measured."""
    vision = record.get("narrow_vision") or {}
    shares = {loss: (vision.get(loss) or {}).get("shares") for loss in LOSSES}
    return {
        loss: [[finite(share) for share in expert] for expert in zip(*found, strict=True)]
        for loss, found in shares.items()
        if found
    }


def vision_index(record: Record, loss: str) -> Number:
    """Return the narrow-vision index of a loss."""
    return finite(((record.get("narrow_vision") or {}).get(loss) or {}).get("index"))


def _share(count: Any, total: float) -> Number:
    number = finite(count)
    return None if number is None or not total else number / total
