"""Gate and experts apart: how much of a gain comes from better experts, how much from better routing.

The gate of one model is put before the experts of another. That has a meaning only where expert i of one corresponds to
expert i of the other. Two models trained from the same initial weights (such as MoE and MoDE of one seed) correspond by
index. Others must be matched first: put the experts of the second, with its gate's columns, into the order in which
they fit the experts of the first best.

Shapes: N samples, E experts, C classes or targets; ``*`` stands for any leading axes of models.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distilled_experts.errors import DataError
from distilled_experts.probing.bootstrap import Interval, Measures, Statistic, bootstrap_intervals, resampled_score
from distilled_experts.probing.outputs import ExpertOutputs

__all__ = ["contributions", "exchange_scores", "exchange_intervals"]


def exchange_scores(moe: ExpertOutputs, mode: ExpertOutputs, y: NDArray[np.generic], task: str) -> Measures:
    """Scores of all four pairs of gate and experts, and what each part contributes.

    For an output mixture, whose experts do not depend on the gate: no model is run again.

    Parameters
    ----------
    moe, mode : ExpertOutputs
        Of two models for the same samples; expert i of one corresponds to expert i of the other (see above). The
        mixture is taken to be the weighted sum of the experts.
    y : array, shape (N,) of class codes, or (N, C) of targets
    task : {"classification", "regression"}
        The score is accuracy or R².

    Returns
    -------
    dict
        ``scores`` (*, 2, 2): row 0 is MoE's gate, 1 MoDE's; column 0 MoE's experts, 1 MoDE's · ``gate``, ``experts``
        (*): contributions as in `contributions` · ``gain`` (*): their sum, MoDE's score minus MoE's.

    Raises
    ------
    DataError
        When the two models have other shapes.

    Examples
    --------
    >>> y = np.array([0, 1])
    >>> experts = np.broadcast_to(np.eye(2), (2, 2, 2))  # the first always says 0, the second always 1
    >>> wrong, right = np.array([[0.1, 0.9], [0.9, 0.1]]), np.array([[0.9, 0.1], [0.1, 0.9]])
    >>> before, after = (ExpertOutputs(experts, g, g) for g in (wrong, right))
    >>> record = exchange_scores(before, after, y, "classification")
    >>> record["scores"].tolist(), float(record["gate"]), float(record["experts"])
    ([[0.0, 0.0], [1.0, 1.0]], 1.0, 0.0)
    """
    record = _statistic(moe, mode, y, task)(np.ones((1, len(y))))
    return {name: values[0] for name, values in record.items()}


def exchange_intervals(
    moe: ExpertOutputs,
    mode: ExpertOutputs,
    y: NDArray[np.generic],
    task: str,
    generator: np.random.Generator,
    *,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Bootstrap intervals over samples of all that `exchange_scores` gives; the four pairs see the same resamples.

    Examples
    --------
    >>> y = np.array([0, 1] * 20)
    >>> experts, gate = np.broadcast_to(np.eye(2), (40, 2, 2)), np.eye(2)[y]
    >>> before, after = ExpertOutputs(experts, 1 - gate, 1 - gate), ExpertOutputs(experts, gate, gate)
    >>> low, high = exchange_intervals(before, after, y, "classification", np.random.default_rng(0))["gain"]
    >>> float(low), float(high)
    (1.0, 1.0)
    """
    return bootstrap_intervals(_statistic(moe, mode, y, task), len(y), generator, n_resamples=n_resamples, level=level)


def contributions(scores: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What gate and experts contribute to a gain: the mean over both orders of exchange (Shapley value).

    Source: Shapley, A value for n-person games, 1953; with two players the mean over the two orders.

    Parameters
    ----------
    scores : array, shape (*, 2, 2)
        Gate (old, new) × experts (old, new).

    Returns
    -------
    gate, experts : array, shape (*)
        Their sum is the gain, ``scores[1, 1] − scores[0, 0]``.

    Examples
    --------
    >>> gate, experts = contributions(np.array([[0.5, 0.75], [0.5, 1.0]]))
    >>> float(gate), float(experts)
    (0.125, 0.375)
    """
    old, new_experts, new_gate, new = (scores[..., g, e] for g in (0, 1) for e in (0, 1))
    gate = ((new_gate - old) + (new - new_experts)) / 2
    experts = ((new_experts - old) + (new - new_gate)) / 2
    return np.asarray(gate), np.asarray(experts)


def _statistic(moe: ExpertOutputs, mode: ExpertOutputs, y: NDArray[np.generic], task: str) -> Statistic:
    for part in ("experts", "weights"):
        shapes = [getattr(outputs, part).shape for outputs in (moe, mode)]
        if shapes[0] != shapes[1]:
            raise DataError(f"{part}: shapes {shapes[0]} and {shapes[1]} cannot be exchanged")
    pairs = [
        [resampled_score((gate.weights[..., None, :] @ of.experts)[..., 0, :], y, task) for of in (moe, mode)]
        for gate in (moe, mode)
    ]

    def statistic(counts: NDArray[np.float64]) -> Measures:
        scores = np.stack([np.stack([score(counts) for score in row], axis=-1) for row in pairs], axis=-2)
        gate, experts = contributions(scores)
        return {"scores": scores, "gate": gate, "experts": experts, "gain": scores[..., 1, 1] - scores[..., 0, 0]}

    return statistic
