"""The answer in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distilled_experts.experiments.comparison import Comparison

__all__ = ["comparison_sentence", "notes_for", "sweep_sentence"]

_LEVEL = 0.05
_POINTS = {"accuracy", "balanced_accuracy", "roc_auc"}


def comparison_sentence(record: Mapping[str, Any]) -> str:
    """One sentence: whether it helps or hurts, or that no difference was found and which could have been seen."""
    found, metric = record["difference"], record["metric"]
    change = _amount(found["mean"], metric)
    where = f"on {record['data']} ({record['seeds']} {'seed' if record['seeds'] == 1 else 'seeds'})"
    if found["p"] is None:
        return (
            f"With one seed nothing can be said beyond chance {where}: MoDE − MoE = {change}; use --seeds 10 for an "
            "interval."
        )
    if not any(record["alpha"]):
        return (
            f"Distillation did not lower the validation loss of any seed {where}: α = 0 was chosen, MoDE is plain MoE."
        )
    between = f"95 % interval {_span(found['low'], found['high'], metric)}, p = {found['p']:.2g}"
    if found["p"] < _LEVEL:
        verb = "helps" if found["mean"] > 0 else "hurts"
        return f"Mutual distillation {verb} {where}: MoDE − MoE = {change} ({between})."
    sentence = f"No difference found {where}: MoDE − MoE = {change} ({between})"
    if found["detectable"] is None:
        return sentence + "."
    detectable = _amount(found["detectable"], metric).lstrip("+")
    return f"{sentence}; a true difference of {detectable} would have been found four times out of five."


def sweep_sentence(record: Mapping[str, Any]) -> str:
    """The best cell, as a description: picked on test rows, so it is optimistic."""
    best = max(record["cells"], key=lambda cell: cell["mean"])
    change = _amount(best["difference"]["mean"], record["metric"])
    return (
        f"On {record['data']} {best['experts']} experts with α = {best['alpha']:g} have the highest mean: {change} "
        "against α = 0 with as many experts. It was picked on the test rows and so is optimistic; "
        "mode compare chooses α on validation rows."
    )


def notes_for(specification: Comparison) -> list[str]:
    """What a reader must know of this specification."""
    if specification.experts == 1:
        return ["one expert: there is nothing to distil, MoDE is MoE"]
    if specification.top_k == 1:
        return ["top-k 1: a single expert is active per row, there is nothing to distil; use top-k 2 or more"]
    return []


def _amount(value: float, metric: str) -> str:
    """A difference with its sign: of shares in points (hundredths), of others in their own unit."""
    return f"{_number(value, metric)} points" if metric in _POINTS else _number(value, metric)


def _span(low: float, high: float, metric: str) -> str:
    return f"{_number(low, metric)} to {_amount(high, metric)}"


def _number(value: float, metric: str) -> str:
    return (f"{100 * value:+.2f}" if metric in _POINTS else f"{value:+.3g}").replace("-", "−")
