"""What the templates of the page are filled with, worked out from a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distilled_experts.report import formats, words
from distilled_experts.report.experts import arm_measures
from distilled_experts.report.findings import findings, measures, sentence
from distilled_experts.report.images import by_class, sheets
from distilled_experts.report.probe import expert_rows, losses_of
from distilled_experts.report.records import alpha_counts, arms_of
from distilled_experts.report.translations import domains, translations
from distilled_experts.report.values import Record, change, finite
from distilled_experts.report.why import column_rows

CLASSES_SHOWN = 30
COLUMNS_SHOWN = 40
# A template may ask for these whether the record holds them or not; everything else must be there.
OPTIONAL = (
    "sentence", "notes", "run", "environment", "specification", "generalisation_gap", "seconds", "rows",
    "features", "experts", "alpha_grid", "alpha", "negated", "task", "split", "data", "model", "target",
    "layer", "why", "by_class", "log_loss",
)  # fmt: skip
FOUND = ("mean", "low", "high", "p", "detectable")


def context_of(record: Record) -> dict[str, Any]:
    """Return the variables of the template for a record."""
    make = {"compare": _compare_context, "probe": _probe_context, "sweep": _sweep_context}[record["kind"]]
    filled = {**dict.fromkeys(OPTIONAL), **record}
    return {"record": filled, "heading": words.heading(record), "sentence": sentence(record), **make(record)}


def _probe_context(record: Record) -> dict[str, Any]:
    return {
        "findings": findings(record)[1:],
        "measures": measures(record),
        "experts": expert_rows(record),
        "losses": losses_of(record),
    }


def _compare_context(record: Record) -> dict[str, Any]:
    digits = words.places(record)
    return {
        "digits": digits,
        "gain": _filled(record.get("difference")),
        "arms": [(name, record["arms"][name]) for name in arms_of(record)],
        "differences": _differences(record, digits),
        "measures": arm_measures(record),
        "seeds": _seeds(record),
        "alphas": alpha_counts(record),
        "classes": [formats.clean(name) for name in record.get("classes") or ()],
        "classes_shown": CLASSES_SHOWN,
        "columns": column_rows(record),
        "columns_shown": COLUMNS_SHOWN,
        "sheets": sheets(record),
        "domains": domains(record),
        "translations": translations(record),
        "by_class": by_class(record),
    }


def _sweep_context(record: Record) -> dict[str, Any]:
    best = words.best_cell(record)
    cells = [(cell, _filled(cell.get("difference")), cell is best) for cell in record.get("cells") or ()]
    return {
        "digits": words.places(record),
        "cells": cells,
        "best": next((row for row in cells if row[2]), None),
    }


def _filled(difference: Record | None) -> Record:
    return {**dict.fromkeys(FOUND), **(difference or {})}


def _differences(record: Record, digits: int) -> list[tuple[str, Mapping[str, Any], int]]:
    rows = [
        ("MoDE − MoE, test score", record.get("difference"), digits),
        ("MoE − dense, test score", record.get("mixture_difference"), digits),
        (f"MoDE − MoE, {words.own_domain_name(record)}", record.get("own_domain_difference"), 4),
    ]
    known = [(name, _filled(found), places) for name, found, places in rows]
    return [row for row in known if finite(row[1]["mean"]) is not None]


def _seeds(record: Record) -> list[dict[str, Any]]:
    """Return one row per seed: the score of each arm, the paired difference and the chosen α."""
    arms = {name: record["arms"][name].get("scores") or [] for name in arms_of(record)}
    alphas = record.get("alpha") or []
    rows = []
    for seed in range(max(map(len, arms.values()), default=0)):
        scores = {name: (column[seed] if seed < len(column) else None) for name, column in arms.items()}
        gain = change(scores.get("moe"), scores.get("mode"))
        alpha = alphas[seed] if seed < len(alphas) else None
        rows.append({"seed": seed, "scores": scores, "gain": gain, "alpha": alpha})
    return rows
