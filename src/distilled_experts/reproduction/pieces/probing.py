"""Tables, expert by expert: own domains, routing, types of error, and the gap between training and test."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from distilled_experts.report.formats import fixed
from distilled_experts.report.values import Record
from distilled_experts.reproduction.changes import Change, change_of, forest_of, steady
from distilled_experts.reproduction.piece import Finding, Piece
from distilled_experts.reproduction.studies import COMPARISONS
from distilled_experts.reproduction.text import points, table

__all__ = ["FIXED_ALPHA", "PIECES"]

# The same for all arms, so that nothing is chosen for any of them.
FIXED_ALPHA = 0.03
_ERRORS = {"gate_error": "gate", "expert_error": "experts", "combination_error": "combination"}


def _probed(records: Sequence[Record], measure: str) -> list[Change]:
    """A measure of probing at the chosen α against plain MoE."""
    return [change_of(r, r["probing"]["mode"][measure], r["probing"]["moe"][measure]) for r in records]


def _mean(record: Record, arm: str, measure: str) -> str:
    return fixed(100 * fmean(record["probing"][arm][measure]), 2)


def _at_fixed_alpha(record: Record) -> Change:
    path = record["alpha_path"]
    fixed_place, plain = (path["alpha"].index(alpha) for alpha in (FIXED_ALPHA, 0.0))
    columns = ([row[place] for row in path["own_domain"]] for place in (fixed_place, plain))
    return change_of(record, *columns)


def _own_domain(records: Sequence[Record]) -> Finding:
    at_fixed, chosen = [_at_fixed_alpha(record) for record in records], _probed(records, "own_domain")
    rows = [
        [record["data"], record["gate"], _mean(record, "moe", "own_domain"), points(first.found), points(second.found)]
        for record, first, second in zip(records, at_fixed, chosen, strict=True)
    ]
    alpha = f"α = {FIXED_ALPHA:g}"
    claims = [
        *steady(f"At {alpha} each expert alone is better on its own domain", at_fixed),
        *steady("At the chosen α each expert alone is better on its own domain", chosen),
    ]
    figures = {"gain": forest_of(at_fixed, f"own-domain accuracy, {alpha} − MoE, points")}
    heads = ["data", "gate", "MoE", f"change at {alpha}", "change at the chosen α"]
    return Finding(
        table(heads, rows) + "\n\nAccuracy in percent of each expert alone on its own domain.", claims, figures
    )


def _routing(records: Sequence[Record]) -> Finding:
    changes, oracle = _probed(records, "routing_accuracy"), _probed(records, "oracle")
    rows = [
        [
            *(record["data"], record["gate"]),
            *(_mean(record, arm, "routing_accuracy") for arm in ("moe", "mode")),
            *(points(change.found), points(best.found)),
        ]
        for record, change, best in zip(records, changes, oracle, strict=True)
    ]
    claims = steady("The gate prefers an expert that is right more often, where some expert is,", changes)
    figures = {"gain": forest_of(changes, "routing accuracy, MoDE − MoE, points")}
    note = (
        "Percent of the samples that some expert gets right, on which the expert that the gate prefers is right; "
        "oracle: some expert is right. Experts that are more alike are right on the same samples, so the accuracy "
        "rises even where the gate chooses no better: see their similarity, and what the gate contributes to the gain."
    )
    heads = ["data", "gate", "MoE", "MoDE", "change", "change of the oracle"]
    return Finding(f"{table(heads, rows)}\n\n{note}", claims, figures)


def _errors(records: Sequence[Record]) -> Finding:
    found = {name: _probed(records, name) for name in _ERRORS}
    rows = [
        [
            *(record["data"], record["gate"]),
            *(cell for name in _ERRORS for cell in (_mean(record, "moe", name), points(found[name][place].found))),
        ]
        for place, record in enumerate(records)
    ]
    heads = ["data", "gate", *(head for name in _ERRORS.values() for head in (f"{name}, MoE", "change"))]
    claims = [
        claim
        for name, changes in found.items()
        for claim in steady(f"Fewer answers are wrong because of the {_ERRORS[name]}", changes, sign=-1)
    ]
    note = "Percent of the test rows that are wrong because of gate, experts or their combination."
    return Finding(f"{table(heads, rows)}\n\n{note}", claims)


def _train_test(records: Sequence[Record]) -> Finding:
    gaps = [change_of(record, _gaps(record, "mode"), _gaps(record, "moe")) for record in records]
    rows = [
        [
            *(record["data"], record["gate"]),
            *(fixed(100 * record["arms"][arm][key], 2) for arm in ("moe", "mode") for key in ("train_mean", "mean")),
            points(gap.found),
        ]
        for record, gap in zip(records, gaps, strict=True)
    ]
    claims = steady("The gap between training and test score is smaller with distillation", gaps, sign=-1)
    heads = ["data", "gate", "MoE, training", "MoE, test", "MoDE, training", "MoDE, test", "change of the gap"]
    figures = {"gap": forest_of(gaps, "training − test accuracy, MoDE − MoE, points")}
    return Finding(table(heads, rows), claims, figures)


def _gaps(record: Record, arm: str) -> list[float]:
    of_arm = record["arms"][arm]
    return [train - test for train, test in zip(of_arm["train_scores"], of_arm["scores"], strict=True)]


_USED = (COMPARISONS,)
PIECES = (
    Piece(
        "own-domain",
        "Each expert alone on its own domain",
        "Moderate distillation makes individual experts better at the sub-tasks that the gate gives them.",
        _USED,
        _own_domain,
    ),
    Piece(
        "routing",
        "Routing accuracy",
        "With distillation the gate finds the right expert more often.",
        _USED,
        _routing,
        "table 7",
    ),
    Piece(
        "train-test",
        "Training against test score",
        "Narrow vision limits generalisation; distillation improves it.",
        _USED,
        _train_test,
        "table 10",
    ),
    Piece(
        "error-types",
        "Types of error",
        "Wrong answers are sorted by type, and distillation makes them fewer; the paper's definitions are not known, "
        "so the types are those of this package.",
        _USED,
        _errors,
    ),
)
