"""From the models of a run to its answer: pure functions of records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from distilled_experts.experiments.comparison import Comparison
from distilled_experts.experiments.evidence import explain
from distilled_experts.experiments.large_tables import large_table
from distilled_experts.experiments.parallel_study import summarise_attention, summarise_parallel
from distilled_experts.experiments.statistics import difference, standard_error
from distilled_experts.probing import plain_numbers

__all__ = ["chosen_models", "models_by_arm", "summarise_comparison", "summarise_sweep"]

Model = dict[str, Any]

_EXPERTS = ("cka", "agreement", "vision_task", "vision_whole")
_PROBED = ("own_domain", "routing_accuracy", "oracle", "gate_error", "expert_error", "combination_error")


def chosen_models(models: Sequence[Model], specification: Comparison) -> list[Model]:
    """Per seed the mixture with the lowest validation loss among the grid's α; the smaller α where losses tie."""
    grid = specification.alpha if specification.distils else (0.0,)
    by_seed: dict[int, list[Model]] = {}
    for model in models:
        if model["arm"] == "mixture" and model["alpha"] in grid:
            by_seed.setdefault(model["seed"], []).append(model)
    return [min(by_seed[s], key=lambda m: (m["validation_loss"], m["alpha"])) for s in sorted(by_seed)]


def models_by_arm(models: Sequence[Model], specification: Comparison) -> dict[str, list[Model]]:
    """The models of "dense", "moe" and "mode", each in the order of the seeds; MoDE's are those that were chosen."""
    return {
        "dense": _by_seed(models, "dense"),
        "moe": [m for m in _by_seed(models, "mixture") if m["alpha"] == 0],
        "mode": chosen_models(models, specification),
    }


def summarise_comparison(models: Sequence[Model], specification: Comparison, test_share: float) -> dict[str, Any]:
    """Arms, differences, α and probing of a comparison.

    Parameters
    ----------
    models : sequence of dict
        Of all arms, seeds and α, as in ``metrics.jsonl``.
    specification : Comparison
    test_share : float
        Test rows divided by training rows, for the corrected t.
    """
    arms = models_by_arm(models, specification)
    scores = {name: [m["test_score"] for m in arm] for name, arm in arms.items()}
    own = {name: _values(arms[name], "own_domain") for name in ("moe", "mode")}
    probed = specification.experts > 1
    own_difference = difference(own["mode"], own["moe"], test_share).to_dict() if probed else None
    path = [[m for m in _by_seed(models, "mixture") if m["alpha"] == a] for a in specification.alphas]
    return {
        "seeds": len(arms["mode"]),
        "arms": {name: _arm(arm) for name, arm in arms.items()},
        "difference": difference(scores["mode"], scores["moe"], test_share).to_dict(),
        "mixture_difference": difference(scores["moe"], scores["dense"], test_share).to_dict(),
        "generalisation_gap": {
            name: _mean(_values(a, "train_score")) - _mean(scores[name]) for name, a in arms.items()
        },
        "alpha": [m["alpha"] for m in arms["mode"]],
        "alpha_grid": list(specification.alpha),
        "alpha_path": {
            "alpha": list(specification.alphas),
            "validation_loss": _transposed(path, "validation_loss"),
            "test_scores": _transposed(path, "test_score"),
            "own_domain": _transposed(path, "own_domain") if probed else None,
        },
        "own_domain": {name: _mean(values) for name, values in own.items()} if probed else None,
        "own_domain_difference": own_difference,
        "probing": {name: _probing(arms[name]) for name in ("moe", "mode")} if probed else None,
        "why": _why(models, path, arms, test_share) if probed else None,
        "curves": {name: _curves(arm) for name, arm in arms.items()},
    }


def _why(
    models: Sequence[Model], path: Sequence[Sequence[Model]], arms: dict[str, list[Model]], test_share: float
) -> dict[str, Any]:
    return {
        **explain(path, arms["moe"], arms["mode"], test_share),
        "parallel": summarise_parallel(models, test_share),
        "attention": summarise_attention(models),
    }


def summarise_sweep(models: Sequence[Model], specification: Comparison, test_share: float) -> dict[str, Any]:
    """One cell for every number of experts and every α, each against α = 0 with as many experts."""
    counts = sorted({m["experts"] for m in models})
    cells = []
    for experts in counts:
        plain = [m for m in models if m["experts"] == experts and m["alpha"] == 0]
        for alpha in sorted({m["alpha"] for m in models if m["experts"] == experts}):
            cell = [m for m in models if m["experts"] == experts and m["alpha"] == alpha]
            scores = _values(cell, "test_score")
            own = _values(cell, "own_domain") if experts > 1 else None
            cells.append(
                {
                    "experts": experts,
                    "alpha": alpha,
                    "scores": scores,
                    "mean": _mean(scores),
                    "se": standard_error(scores),
                    "own_domain": own,
                    "own_domain_mean": None if own is None else _mean(own),
                    **{name: _values(cell, name) for name in (_EXPERTS if experts > 1 else ())},
                    "difference": difference(scores, _values(plain, "test_score"), test_share).to_dict(),
                }
            )
    return {"experts": counts, "alpha": list(specification.alphas), "cells": cells}


def _by_seed(models: Sequence[Model], arm: str) -> list[Model]:
    return sorted((m for m in models if m["arm"] == arm), key=lambda m: (m["seed"], m["alpha"]))


def _values(models: Sequence[Model], name: str) -> list[Any]:
    return [m.get(name) for m in models]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _transposed(path: Sequence[Sequence[Model]], name: str) -> list[list[Any]]:
    """Values as one list of α a seed."""
    return [list(row) for row in zip(*(_values(models, name) for models in path), strict=True)]


def _arm(models: Sequence[Model]) -> dict[str, Any]:
    test, train = _values(models, "test_score"), _values(models, "train_score")
    return {
        "scores": test,
        "mean": _mean(test),
        "se": standard_error(test),
        "train_scores": train,
        "train_mean": _mean(train),
        "train_se": standard_error(train),
        "seconds": _mean(_values(models, "seconds")),
        "parameters": models[0]["parameters"],
        "epochs": _values(models, "best_epoch"),
    }


def _probing(models: Sequence[Model]) -> dict[str, Any]:
    measures = {name: _values(models, name) for name in (*_PROBED, "shares")}
    return measures | {"matrix": large_table(_values(models, "matrix"))}


def _curves(models: Sequence[Model]) -> dict[str, list[Any]]:
    """Mean learning curves over the seeds, as far as all of them go."""
    names = list(models[0]["curves"])
    length = min(len(m["curves"][names[0]]) for m in models)
    curves = {n: np.array([m["curves"][n][:length] for m in models], dtype=float) for n in names}
    return {"epoch": list(range(1, length + 1)), **{n: plain_numbers(of_all.mean(0)) for n, of_all in curves.items()}}
