"""Why it works: narrow vision, experts under one gate, gate and experts apart, attention, similarity."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from scipy.stats import spearmanr

from distilled_experts.experiments.statistics import Difference
from distilled_experts.report.formats import fixed
from distilled_experts.report.values import Record
from distilled_experts.reproduction.changes import Change, change_of, forest_of, mostly, over_sets, steady
from distilled_experts.reproduction.piece import Claim, Finding, Piece
from distilled_experts.reproduction.studies import REASONS
from distilled_experts.reproduction.text import points, table

__all__ = ["PIECES"]

_RISES, _MANY_SEEDS, _LARGEST = 0.9, 0.5, 1.0


def _at(record: Record, name: str, alphas: Sequence[float]) -> list[float]:
    """A measure of every seed at the α given for it."""
    path = record["by_alpha"]
    return [row[path["alpha"].index(alpha)] for row, alpha in zip(path[name], alphas, strict=True)]


def _plain(record: Record, name: str) -> list[float]:
    return _at(record, name, [0.0] * record["seeds"])


def _vision(records: Sequence[Record], loss: str) -> list[Change]:
    """The narrow-vision index at the chosen α against MoE's."""
    return [change_of(r, _at(r, f"vision_{loss}", r["alpha"]), _plain(r, f"vision_{loss}")) for r in records]


def _narrow_vision(records: Sequence[Record]) -> Finding:
    whole, task = _vision(records, "whole"), _vision(records, "task")
    rows = [
        [
            *(record["data"], record["gate"]),
            fixed(fmean(_plain(record, "vision_whole")), 3),
            *(points(change.found, factor=1, places=3) for change in (first, second)),
        ]
        for record, first, second in zip(records, whole, task, strict=True)
    ]
    heads = ["data", "gate", "index of MoE", "change, whole loss", "change, task loss alone"]
    note = "Index 0: all experts learn from all classes alike; 1: every class has one expert. At the chosen α."
    claims = [
        mostly("The index of the whole loss falls", [change.found.mean < 0 for change in whole]),
        over_sets("The index of the whole loss falls", whole, sign=-1),
        mostly("The index of the task loss alone falls", [change.found.mean < 0 for change in task]),
    ]
    figures = {"": forest_of(whole, "narrow-vision index of the whole loss, MoDE − MoE", factor=1)}
    return Finding(f"{table(heads, rows)}\n\n{note}", claims, figures)


def _recorded(record: Record, *keys: str) -> Change:
    """A difference that the record holds."""
    found = record
    for key in keys:
        found = found[key]
    return Change(record["data"], record["gate"], Difference(**found))


def _shared_gate(records: Sequence[Record]) -> Finding:
    changes = [_recorded(record, "parallel", "difference") for record in records]
    rows = [
        [
            *(record["data"], record["gate"]),
            *(fixed(100 * fmean(record["parallel"]["own_domain"][arm]), 2) for arm in ("moe", "mode")),
            points(change.found),
        ]
        for record, change in zip(records, changes, strict=True)
    ]
    note = "Own-domain accuracy in percent of experts trained anew under the frozen gate of MoE, at the chosen α."
    claims = steady("Under one frozen gate each expert alone is better on its own domain", changes)
    figures = {"": forest_of(changes, "own-domain accuracy under one gate, MoDE − MoE, points")}
    return Finding(f"{table(['data', 'gate', 'MoE', 'MoDE', 'change'], rows)}\n\n{note}", claims, figures)


def _gain_split(records: Sequence[Record]) -> Finding:
    gate, experts, gain = ([_recorded(r, "exchange", part) for r in records] for part in ("gate", "experts", "gain"))
    rows = [
        [record["data"], record["gate"], *(points(change.found) for change in changes)]
        for record, *changes in zip(records, gate, experts, gain, strict=True)
    ]
    note = "Points of test accuracy: what the exchange of the gates and of the experts of MoE and MoDE contributes."
    claims = [*steady("The experts contribute to the gain", experts), *steady("The gate contributes to the gain", gate)]
    figures = {
        "experts": forest_of(experts, "contribution of the experts, points"),
        "gate": forest_of(gate, "contribution of the gate, points"),
    }
    return Finding(
        f"{table(['data', 'gate', 'of the gate', 'of the experts', 'gain'], rows)}\n\n{note}", claims, figures
    )


def _attention(records: Sequence[Record]) -> Finding:
    """Columns that an expert ignores without distillation and not with it."""
    picked = [fmean(n for seed in record["picked_up"] for n in seed) for record in records]
    rows = [
        [record["data"], record["gate"], str(record["columns"]), fixed(mean, 2)]
        for record, mean in zip(records, picked, strict=True)
    ]
    mean = fmean(picked)
    claims = [
        mostly("Experts pick up columns", [n > 0 for n in picked]),
        Claim("An expert picks up at least one column in the mean over the arms", mean >= 1, f"{mean:.2f}"),
    ]
    heads = ["data", "gate", "columns", "picked up by an expert"]
    note = (
        "Picked up: a column with less than a tenth of an equal share of attention without distillation, not with it."
    )
    return Finding(f"{table(heads, rows)}\n\n{note}", claims)


def _trend(record: Record, name: str) -> float:
    """Spearman's correlation of α and the mean of a measure, over α in [0, 1]."""
    path = record["by_alpha"]
    within = [place for place, alpha in enumerate(path["alpha"]) if alpha <= _LARGEST]
    means = [fmean(row[place] for row in path[name]) for place in within]
    return float(spearmanr([path["alpha"][place] for place in within], means).statistic)


def _similarity(records: Sequence[Record]) -> Finding:
    trends = [_trend(record, "cka") for record in records]
    alarms = [fmean(_at(record, "homogenised", record["alpha"])) for record in records]
    rows = [
        [
            *(record["data"], record["gate"]),
            *(
                fixed(fmean(values), 2)
                for name in ("cka", "agreement")
                for values in (_plain(record, name), _at(record, name, record["alpha"]))
            ),
            fixed(trend, 2),
            fixed(alarm, 1),
        ]
        for record, trend, alarm in zip(records, trends, alarms, strict=True)
    ]
    claims = [
        mostly(
            f"Experts grow more alike with α in [0, {_LARGEST:g}] (CKA, Spearman's correlation {_RISES:g} or more)",
            [trend >= _RISES for trend in trends],
        ),
        mostly(
            "At the chosen α experts still differ (homogenised in less than half of the seeds)",
            [alarm < _MANY_SEEDS for alarm in alarms],
        ),
    ]
    heads = ["data", "gate", "CKA, MoE", "MoDE", "agreement, MoE", "MoDE", "CKA and α, Spearman", "homogenised"]
    note = "At the chosen α. Homogenised: share of the seeds in which CKA and agreement are both above 0.95."
    return Finding(f"{table(heads, rows)}\n\n{note}", claims)


_USED = (REASONS,)
PIECES = (
    Piece(
        "narrow-vision",
        "Narrow vision",
        "Of two subsets of the training samples, the share of the gradient that falls to each of two experts: uneven "
        "in MoE, more even in MoDE.",
        _USED,
        _narrow_vision,
        "figure 1",
    ),
    Piece(
        "shared-gate",
        "Expert probing under a shared gate",
        "A parallel study in which both arms share their sub-tasks: experts are better at them with distillation.",
        _USED,
        _shared_gate,
        "table 6",
    ),
    Piece(
        "gain-split",
        "How much of the gain is the experts' and how much the gate's",
        "Better experts and better routing both contribute to the gain.",
        _USED,
        _gain_split,
        "table 9",
    ),
    Piece(
        "attention",
        "Attention to features",
        "With distillation experts pay attention to features that they ignored before.",
        _USED,
        _attention,
        "table 8",
    ),
    Piece(
        "similarity",
        "Similarity of the experts against α",
        "Distillation makes experts more alike, and a moderate one leaves them specialised.",
        _USED,
        _similarity,
    ),
)
