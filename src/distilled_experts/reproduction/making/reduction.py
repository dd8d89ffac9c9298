"""Which part of a result a record keeps: small enough to be committed, and all that its pieces need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from distilled_experts.report.values import Record

__all__ = ["REDUCTIONS"]

_HEADING = ("data", "gate", "metric", "seeds", "alpha", "seconds", "environment")
# What grows with experts × experts.
_LARGE = ("shares", "matrix")


def _scores(result: Record) -> Record:
    """Scores and probing, without reasons and learning curves."""
    return {name: value for name, value in result.items() if name not in ("why", "curves")}


def _reasons(result: Record) -> Record:
    """The reasons, without what grows with experts × experts or with the columns of the table."""
    why = dict(result["why"])
    attention = why.pop("attention")
    picked_up = [[len(names) for names in seed] for seed in attention["picked_up"]]
    why["by_alpha"] = {name: values for name, values in why["by_alpha"].items() if name not in _LARGE}
    return {
        **{name: result[name] for name in _HEADING},
        **why,
        "columns": len(attention["columns"]),
        "picked_up": picked_up,
    }


def _domains(result: Record) -> Record:
    """How the samples are shared out at every α."""
    path = result["why"]["by_alpha"]
    kept: dict[str, Any] = {name: path[name] for name in ("alpha", "shares", "adjusted_rand")}
    return {**{name: result[name] for name in ("format", "kind", *_HEADING)}, "why": {"by_alpha": kept}}


REDUCTIONS: Mapping[str, Callable[[Record], Record]] = {"scores": _scores, "reasons": _reasons, "domains": _domains}
"""What `Run.keep` may be."""
