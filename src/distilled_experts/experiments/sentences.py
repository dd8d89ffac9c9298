"""The answer in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distilled_experts.experiments.specification import Specification

__all__ = ["comparison_sentence", "notes_for", "sweep_sentence"]

_LEVEL = 0.05
_POINTS = {"accuracy", "balanced_accuracy", "roc_auc", "r2"}


def comparison_sentence(record: Mapping[str, Any]) -> str:
    """One sentence: helps, hurts, or no difference found, and which difference could have been seen."""
    found, metric = record["difference"], record["metric"]
    change = _amount(found["mean"], metric, signed=True)
    where = f"on {record['data']} ({record['seeds']} {'seed' if record['seeds'] == 1 else 'seeds'})"
    if found["p"] is None:
        return (
            f"With one seed nothing can be said beyond chance {where}: MoDE − MoE = {change}; use --seeds 10 for an "
            "interval."
        )
    between = f"95 % interval {_amount(found['low'], metric)} to {_amount(found['high'], metric)}, p = {found['p']:.2g}"
    if found["p"] < _LEVEL:
        verb = "helps" if found["mean"] > 0 else "hurts"
        return f"Mutual distillation {verb} {where}: MoDE − MoE = {change} ({between})."
    return (
        f"No difference found {where}: MoDE − MoE = {change} ({between}); a true difference of "
        f"{_amount(found['detectable'], metric)} would have been found four times out of five."
    )


def sweep_sentence(record: Mapping[str, Any]) -> str:
    """The best cell, as a description: picked on test rows, so it is optimistic."""
    best = max(record["cells"], key=lambda cell: cell["mean"])
    change = _amount(best["difference"]["mean"], record["metric"], signed=True)
    return (
        f"On {record['data']} {best['experts']} experts with α = {best['alpha']:g} have the highest mean: {change} "
        "against α = 0 with as many experts. It was picked on the test rows and so is optimistic; "
        "mode compare chooses α on validation rows."
    )


def notes_for(specification: Specification) -> list[str]:
    """What a reader must know of this specification."""
    if specification.experts == 1:
        return ["one expert: there is nothing to distil, MoDE is MoE"]
    if specification.top_k == 1:
        return ["top-k 1: a single expert is active per row, there is nothing to distil; use top-k 2 or more"]
    return []


def _amount(value: float, metric: str, *, signed: bool = False) -> str:
    """Scores between 0 and 1 in points (hundredths), others in their own unit."""
    sign = "+" if signed else ""
    if metric in _POINTS:
        return f"{100 * value:{sign}.2f} points"
    return f"{value:{sign}.4g}"
