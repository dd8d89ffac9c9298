"""Synthetic records: the shape of result.json, with numbers from a formula instead of training."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

Record = dict[str, Any]
GRID = [0.0, 0.01, 0.03, 0.1]


def _wave(seed: int, salt: float) -> float:
    """Return a number in [-1, 1] that looks random and is the same everywhere."""
    return math.sin(12.9898 * (seed + 1) + 78.233 * salt)


def _se(values: list[float]) -> float | None:
    if len(values) < 2:
        return None
    centre = sum(values) / len(values)
    return math.sqrt(sum((value - centre) ** 2 for value in values) / (len(values) - 1) / len(values))


def _difference(scores: list[float]) -> Record:
    mean, se = sum(scores) / len(scores), _se(scores)
    if se is None:
        return {"mean": mean, "low": None, "high": None, "p": None, "detectable": None, "scores": scores}
    half = 2.26 * se * 1.5
    return {
        "mean": mean, "low": mean - half, "high": mean + half,
        "p": 0.012, "detectable": 1.2 * half, "scores": scores,
    }  # fmt: skip


def _arm(centre: float, gain: float, seeds: int, salt: float, parameters: int, scale: float) -> Record:
    scores = [scale * (centre + gain + 0.006 * _wave(seed, 1) + 0.002 * _wave(seed, salt)) for seed in range(seeds)]
    train = [scale * min(0.9995, centre + 0.03 + 0.001 * _wave(seed, salt + 9)) for seed in range(seeds)]
    return {
        "scores": scores, "train_scores": train,
        "mean": sum(scores) / seeds, "se": _se(scores),
        "train_mean": sum(train) / seeds, "train_se": _se(train),
        "seconds": 0.4 + salt / 10, "parameters": parameters,
        "epochs": [40 + 3 * seed for seed in range(seeds)],
    }  # fmt: skip


def _shares(experts: int, seed: int, salt: float) -> list[float]:
    raw = [1.6 + _wave(seed + 3 * expert, salt) for expert in range(experts)]
    return [value / sum(raw) for value in raw]


def _probing(experts: int, seeds: int, own: float, other: float, salt: float) -> Record:
    def cell(seed: int, i: int, j: int) -> float | None:
        if experts > 2 and seed == 0 and i != j and j == experts - 1:
            return None  # an empty domain in one seed
        return (own if i == j else other) + 0.03 * _wave(seed + 5 * i, salt + j)

    return {
        "own_domain": [own + 0.01 * _wave(seed, salt) for seed in range(seeds)],
        "routing_accuracy": [own + 0.02 + 0.004 * _wave(seed, salt) for seed in range(seeds)],
        "oracle": [min(1.0, own + 0.05) for _ in range(seeds)],
        "shares": [_shares(experts, seed, salt) for seed in range(seeds)],
        "matrix": [[[cell(s, i, j) for j in range(experts)] for i in range(experts)] for s in range(seeds)],
    }


def _curve(final: float, epochs: int) -> Record:
    train = [final + 2.3 * math.exp(-epoch / 6) for epoch in range(1, epochs + 1)]
    return {
        "epoch": list(range(1, epochs + 1)), "train_loss": train,
        "validation_loss": [loss + 0.08 + 0.002 * epoch for epoch, loss in enumerate(train)],
    }  # fmt: skip


def _why(experts: int, seeds: int, grid: list[float]) -> Record:
    """The reasons, as `mode compare` writes them: distillation widens vision and makes the experts alike."""
    strength = [min(1.0, alpha**0.5) for alpha in grid]

    def path(start: float, end: float, salt: float) -> list[list[float]]:
        return [[start + (end - start) * s + 0.01 * _wave(seed, salt) for s in strength] for seed in range(seeds)]

    def matrix(other: float, seed: int) -> list[list[float | None]]:
        return [[0.95 if i == j else other + 0.02 * _wave(seed + i, j) for j in range(experts)] for i in range(experts)]

    epochs = [1, 2, 5, 10, 20, 40]
    columns = ["age", "income", "height", "weight", "city", "since"]

    def course(end: float) -> Record:
        fall = [math.exp(-epoch / 9) for epoch in epochs]
        return {
            "epoch": epochs, "vision_task": [0.5 - 0.2 * f for f in fall],
            "vision_whole": [end + (0.3 - end) * f for f in fall], "cka": [1 - end + 0.1 * f for f in fall],
            "agreement": [0.9 - end * (1 - f) for f in fall], "homogenised": [0.0] * len(epochs),
        }  # fmt: skip

    def attend(ignored: float) -> list[list[float]]:
        raw = [[ignored if c % experts == i else 1 + c / 4 for c in range(len(columns))] for i in range(experts)]
        return [[value / sum(row) for value in row] for row in raw]

    def spread(size: float, salt: float) -> list[float]:
        return [size + 0.004 * _wave(seed, salt) for seed in range(seeds)]

    return {
        "by_alpha": {
            "alpha": grid, "own_domain": path(0.93, 0.96, 1),
            "shares": [[_shares(experts, seed, 0.2 + s) for s in strength] for seed in range(seeds)],
            "matrix": [[matrix(0.4 + 0.5 * s, seed) for s in strength] for seed in range(seeds)],
            "cka": path(0.5, 0.99, 2), "agreement": path(0.6, 0.98, 3), "adjusted_rand": path(1.0, 0.6, 4),
            "homogenised": [[alpha > 10 for alpha in grid] for _ in range(seeds)],
            "vision_task": path(0.4, 0.5, 5), "vision_whole": path(0.4, 0.05, 6),
        },
        "exchange": {
            "scores": [[[0.95, 0.96], [0.952, 0.964]] for _ in range(seeds)],
            "gate": _difference(spread(0.002, 1)), "experts": _difference(spread(0.012, 2)),
            "gain": _difference(spread(0.014, 3)),
        },
        "flow": {
            "types": ["right", "gate_error", "expert_error", "combination_error"],
            "shares": [[0.945, 0.004, 0.003, 0.001], [0.012, 0.006, 0, 0], [0.005, 0.001, 0.011, 0],
                       [0.009, 0, 0, 0.003]],
        },
        "course": {"moe": course(0.5), "mode": course(0.12)},
        "parallel": {
            "own_domain": {"moe": spread(0.93, 1), "mode": spread(0.955, 2)},
            "score": {"moe": spread(0.95, 1), "mode": spread(0.96, 2)}, "difference": _difference(spread(0.025, 4)),
            "by_expert": [
                {"share": 1 / experts, "difference": _difference(spread(0.02 + 0.01 * _wave(i, 1), 5)) if i else None}
                for i in range(experts)
            ],
        },
        "attention": {
            "columns": columns, "moe": [attend(0.01) for _ in range(seeds)],
            "mode": [attend(0.5) for _ in range(seeds)],
            "picked_up": [[[columns[i % len(columns)]] for i in range(experts)] for _ in range(seeds)],
        },
    }  # fmt: skip


def make_probe(
    *, experts: int = 4, classes: tuple[str, ...] = ("a", "b", "c"), task: str = "classification", **more: object
) -> Record:
    """Build a record as ``ProbeRecord.to_dict`` gives it, with what `mode probe` adds in ``more``."""

    def measure(value: float) -> Record:
        return {"value": value, "low": value - 0.02, "high": min(1.0, value + 0.02)}

    def table(own: float, other: float) -> list[list[float]]:
        return [[own if i == j else other + 0.05 * _wave(i, j) for j in range(experts)] for i in range(experts)]

    shares, alike = _shares(experts, 1, 0.3), experts < 2
    ends = {"value": 0.0, "low": -0.02, "high": 0.02}
    weights = [[1 + (3 if i == s % experts else 0) for i in range(experts)] for s in range(len(classes))]
    vision = {"index": None if alike else 0.2, "shares": [[w / sum(row) for w in row] for row in weights]}
    return {
        "format": 1, "kind": "probe", "task": task, "metric": "accuracy" if task == "classification" else "r2",
        "samples": 450, "experts": experts, "layer": None, "layers": [],
        "score": measure(0.95), "own_domain": measure(0.92), "routing_accuracy": measure(0.97),
        "oracle": measure(0.99),
        **({} if task == "regression" else {
            "log_loss": measure(0.12), "own_domain_log_loss": measure(0.31),
            "log_loss_matrix": {end: [[x + d for x in row] for row in table(0.3, 1.5)] for end, d in ends.items()},
        }),
        "errors": {f"{kind}_error": measure(0.015) for kind in ("gate", "expert", "combination")},
        "shares": {end: [share + step for share in shares] for end, step in ends.items()},
        "matrix": {end: [[x + step for x in row] for row in table(0.92, 0.5)] for end, step in ends.items()},
        "subsets": list(classes), "subset_kind": "cluster of the inputs" if task == "regression" else "class",
        "composition": [[row[i] * 10 for row in weights] for i in range(experts)],
        "similarity": {
            "cka": table(1.0, 0.6), "agreement": table(1.0, 0.7), "mean_cka": None if alike else 0.6,
            "mean_agreement": None if alike else 0.7, "threshold": 0.95, "homogenised": False, "warning": None,
        },
        "narrow_vision": {"alpha": 0.1, "sizes": [150] * len(classes), "task": vision, "whole": vision},
        **more,
    }  # fmt: skip


def make_compare(
    *,
    seeds: int = 10,
    experts: int = 4,
    grid: list[float] | None = None,
    task: str = "classification",
    metric: str = "accuracy",
    scale: float = 1.0,
    classes: list[str] | None = None,
    data: str = "digits",
    why: bool = False,
) -> Record:
    """Build a record as `mode compare` writes it; a negative ``scale`` makes the score a negated loss.

    ``why`` adds the reasons, which a page shows in many more figures.
    """
    grid = GRID if grid is None else grid
    gain = [0.006 - 0.0011 * abs(math.log10(max(alpha, 1e-4) / 0.03)) ** 2 for alpha in grid]
    arms = {
        "dense": _arm(0.958, -0.004, seeds, 1, 25_738, scale),
        "moe": _arm(0.958, 0.0, seeds, 2, 25_804, scale),
        "mode": _arm(0.958, 0.0052, seeds, 3, 25_804, scale),
    }
    pairs = {name: arms[name]["scores"] for name in arms}
    difference = _difference([after - before for before, after in zip(pairs["moe"], pairs["mode"], strict=True)])
    mixture = _difference([after - before for before, after in zip(pairs["dense"], pairs["moe"], strict=True)])
    probing: Record | None = None
    own: Record = {"moe": None, "mode": None}
    own_difference = None
    if experts > 1:
        probing = {
            "moe": _probing(experts, seeds, 0.931, 0.41, 0.2),
            "mode": _probing(experts, seeds, 0.957, 0.63, 0.7),
        }
        alone = [probing[arm]["own_domain"] for arm in ("moe", "mode")]
        own = {"moe": sum(alone[0]) / seeds, "mode": sum(alone[1]) / seeds}
        own_difference = _difference([after - before for before, after in zip(*alone, strict=True)])
    return {
        "format": 1, "kind": "compare", "data": data, "task": task, "metric": metric, "negated": scale < 0,
        "seeds": seeds, "gate": "dense", "experts": experts, "top_k": None, "rows": 1797, "features": 64,
        "classes": classes if classes is not None else ([str(i) for i in range(10)] if scale == 1 else None),
        "split": "stratified, 70/30", "arms": arms,
        "difference": difference, "mixture_difference": mixture,
        "generalisation_gap": {arm: arms[arm]["train_mean"] - arms[arm]["mean"] for arm in arms},
        "alpha": [grid[(len(grid) // 2 + seed % 2) % len(grid)] for seed in range(seeds)], "alpha_grid": grid,
        "alpha_path": {
            "alpha": grid,
            "validation_loss": [[0.2 - g + 0.01 * _wave(seed, 1) for g in gain] for seed in range(seeds)],
            "test_scores": [
                [scale * (0.958 + g + 0.006 * _wave(seed, 1) + 0.001 * _wave(seed, place))
                 for place, g in enumerate(gain)]
                for seed in range(seeds)
            ],
            "own_domain": [
                [0.93 + 0.004 * i + 0.004 * _wave(seed, i) if experts > 1 else None for i in range(len(grid))]
                for seed in range(seeds)
            ],
        },
        "own_domain": own,
        "own_domain_difference": own_difference,
        "probing": probing,
        "why": _why(experts, seeds, grid) if why and experts > 1 else None,
        "curves": {"dense": _curve(0.03, 60), "moe": _curve(0.02, 50), "mode": _curve(0.04, 67)},
        "sentence": "On digits, MoDE scores higher than MoE by 0.0052 (95 % interval 0.0041 to 0.0063).",
        "notes": ["3 rows without a target were left out."], "run": "runs/digits-1a2b3c", "seconds": 31.4,
        "environment": {"python": "3.11.4", "torch": "2.13.0", "distilled_experts": "0.1.0", "threads": 2},
    }  # fmt: skip


def make_sweep(*, seeds: int = 5, experts: tuple[int, ...] = (2, 4, 8, 16), grid: list[float] | None = None) -> Record:
    """Build a record as `mode sweep` writes it; α = 100 is far below the others."""
    grid = [0.0, 0.001, 0.01, 0.1, 1.0, 10.0, 100.0] if grid is None else grid
    cells = []
    for size in experts:
        plain: list[float] = []
        for alpha in grid:
            gain = 0.002 * size**0.5 * (1 - 0.2 * abs(math.log10(max(alpha, 1e-3) / 0.1)) ** 2)
            centre = 0.40 if alpha >= 100 else 0.95 + gain
            scores = [centre + 0.005 * _wave(seed, 1) + 0.001 * _wave(seed, size + alpha) for seed in range(seeds)]
            plain = scores if alpha == 0 else plain
            own = [centre - 0.05 * (size / 16) + 0.004 * _wave(seed, size) for seed in range(seeds)]
            changes = [after - before for before, after in zip(plain, scores, strict=False)]
            cells.append({
                "experts": size, "alpha": alpha,
                "scores": scores, "mean": sum(scores) / seeds, "se": _se(scores),
                "own_domain": own, "own_domain_mean": sum(own) / seeds,
                **{
                    name: [min(1.0, start + alpha**0.5 + 0.01 * _wave(seed, size)) for seed in range(seeds)]
                    for name, start in (("cka", 0.4), ("agreement", 0.6), ("vision_task", 0.3), ("vision_whole", 0.2))
                },
                "difference": _difference(changes) if alpha and changes else None,
            })  # fmt: skip
    return {
        "format": 1, "kind": "sweep", "data": "digits", "task": "classification", "metric": "accuracy",
        "negated": False, "seeds": seeds, "gate": "sparse", "top_k": 2,
        "experts": list(experts), "alpha": grid, "cells": cells,
        "sentence": "The best α is 0.1 at every number of experts; α = 100 hurts.", "notes": [],
        "run": "runs/sweep-9f8e", "environment": {"python": "3.11.4", "torch": "2.13.0", "threads": 2},
    }  # fmt: skip


@pytest.fixture
def compare_record() -> Callable[..., Record]:
    """Return the builder of comparison records."""
    return make_compare


@pytest.fixture
def probe_record() -> Callable[..., Record]:
    """Return the builder of probing records."""
    return make_probe


@pytest.fixture
def sweep_record() -> Callable[..., Record]:
    """Return the builder of sweep records."""
    return make_sweep
