"""Routing: whether the gate chooses an expert that is right, and where wrong answers come from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distilled_experts.probing.quotient import quotient

__all__ = ["ANSWER_TYPES", "answer_types", "error_types", "oracle_score", "routing_accuracy", "sample_right"]

Bools = NDArray[np.bool_]

ANSWER_TYPES = ("right", "gate_error", "expert_error", "combination_error")
ERRORS = ANSWER_TYPES[1:]


def sample_right(
    experts: NDArray[np.floating],
    mixture: NDArray[np.floating],
    y: NDArray[np.generic],
    task: str,
    sample_weight: NDArray[np.floating] | None = None,
) -> tuple[Bools, Bools]:
    """Which experts, and whether the mixture, are right on each sample: ``(*, N, E)`` and ``(*, N)``.

    In regression "right" means a squared error below the median of the mixture's, to which `sample_weight` (N)
    belongs.

    Examples
    --------
    >>> experts = np.array([[[2.0, 0.0], [0.0, 2.0]]])
    >>> right, mixture_right = sample_right(experts, experts.mean(1), np.array([1]), "classification")
    >>> right.tolist(), mixture_right.tolist()
    ([[False, True]], [False])
    """
    if task == "classification":
        return experts.argmax(-1) == y[:, None], mixture.argmax(-1) == y
    target = np.asarray(y, dtype=np.float64)
    expert_loss = ((experts - target[:, None]) ** 2).mean(-1)
    mixture_loss = ((mixture - target) ** 2).mean(-1)
    limit = _median(mixture_loss, sample_weight)[..., None]
    return expert_loss < limit[..., None], mixture_loss < limit


def oracle_score(right: Bools) -> NDArray[np.float64]:
    """Share of the samples on which some expert is right, ``(*)``.

    Examples
    --------
    >>> float(oracle_score(np.array([[True, False], [False, False]])))
    0.5
    """
    return np.asarray(right.any(-1).mean(-1))


def routing_accuracy(right: Bools, domains: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of the samples that some expert gets right, the share on which the dominating one is right, ``(*)``.

    NaN where no expert is right on any sample.

    Examples
    --------
    >>> float(routing_accuracy(np.array([[True, False], [False, True], [False, False]]), np.array([0, 0, 0])))
    0.5
    """
    chosen = np.take_along_axis(right, domains[..., None], axis=-1)[..., 0]
    return quotient(chosen.sum(-1), right.any(-1).sum(-1))


def answer_types(right: Bools, mixture_right: Bools, domains: NDArray[np.int64]) -> NDArray[np.int64]:
    """Type of every answer of a mixture, as a position in `ANSWER_TYPES`; the errors are those of `error_types`.

    Parameters
    ----------
    right : array of bool, shape (*, N, E)
        Which experts are right, as from `sample_right`.
    mixture_right : array of bool, shape (*, N)
    domains : array, shape (*, N)
        Dominating expert of every sample.

    Returns
    -------
    array, shape (*, N)

    Examples
    --------
    >>> right = np.array([[True, False], [True, False], [False, False], [True, False]])
    >>> codes = answer_types(right, np.array([True, False, False, False]), np.array([0, 1, 0, 0]))
    >>> [ANSWER_TYPES[code] for code in codes]
    ['right', 'gate_error', 'expert_error', 'combination_error']
    """
    chosen = np.take_along_axis(right, domains[..., None], axis=-1)[..., 0]
    error = np.where(chosen, 3, np.where(right.any(-1), 1, 2))
    return np.where(mixture_right, 0, error).astype(np.int64)


def error_types(right: Bools, mixture_right: Bools, domains: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Shares of the samples that the mixture gets wrong, by cause; they add up to its error rate.

    *Gate error*: some expert is right, the dominating one wrong. *Expert error*: no expert is right. *Combination
    error*: the dominating expert is right, the mixture wrong.

    Examples
    --------
    >>> right = np.array([[True, False], [False, False], [True, False]])
    >>> errors = error_types(right, np.array([False, False, False]), np.array([1, 0, 0]))
    >>> {name: round(float(share), 2) for name, share in errors.items()}
    {'gate_error': 0.33, 'expert_error': 0.33, 'combination_error': 0.33}
    """
    types = answer_types(right, mixture_right, domains)
    return {name: np.asarray((types == i).mean(-1)) for i, name in enumerate(ERRORS, 1)}


def _median(values: NDArray[np.floating], weight: NDArray[np.floating] | None) -> NDArray[np.float64]:
    """Median over the last axis; with whole weights that of values repeated as often."""
    if weight is None:
        return np.asarray(np.median(values, axis=-1))
    order = values.argsort(-1)
    ordered, below = np.take_along_axis(values, order, -1), weight[order].cumsum(-1)
    half = below[..., -1:] / 2
    ends = [(test(below, half)).argmax(-1)[..., None] for test in (np.greater_equal, np.greater)]
    return np.asarray(np.mean([np.take_along_axis(ordered, end, -1)[..., 0] for end in ends], axis=0))
