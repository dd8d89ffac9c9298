"""What the record of one probed model says, as plain lists."""

from __future__ import annotations

from typing import Any

from distilled_experts.report.values import Number, Record, finite, known, mean

ERRORS = {"gate_error": "gate error", "expert_error": "expert error", "combination_error": "combination error"}
ENDS = ("value", "low", "high")
LOSSES = {"whole": "whole training loss", "task": "task loss alone"}


def own_scores(record: Record) -> dict[str, list[Number]]:
    """Return the score of each expert alone on its own domain (E,), with its interval."""
    return _own(record["matrix"])


def losses_of(record: Record) -> dict[str, Record]:
    """Return the log loss, or of a language model the perplexity; nothing where the record knows none.

    Measures of the ``mixture``, of each sample's dominating expert alone as ``own_domain``, and the ``matrix``.
    """
    name = "perplexity" if record.get("task") == "language" else "log_loss"
    keys = {"mixture": name, "own_domain": f"own_domain_{name}", "matrix": f"{name}_matrix"}
    found = {part: record.get(key) or {} for part, key in keys.items()}
    return found if any(known(row) for row in found["matrix"].get("value") or ()) else {}


def expert_rows(record: Record) -> list[dict[str, Any]]:
    """Return one row an expert: its number, share and own-domain score with intervals, and its mean score elsewhere.

    With its loss on its own domain, as from `losses_of`, or None.
    """
    shares, own, losses = record["shares"], own_scores(record), losses_of(record)
    loss = _own(losses["matrix"]) if losses else None
    return [
        {
            "expert": i,
            "share": {end: shares[end][i] for end in ENDS},
            "own": {end: own[end][i] for end in ENDS},
            "loss": {end: loss[end][i] for end in ENDS} if loss else None,
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


def _own(matrix: Record) -> dict[str, list[Number]]:
    return {end: [finite(row[i]) for i, row in enumerate(matrix.get(end) or ())] for end in ENDS}


def _share(count: Any, total: float) -> Number:
    number = finite(count)
    return None if number is None or not total else number / total
