"""Expert probing: the score of each expert alone on every domain.

Source: MoDE (Xie et al., AAAI 2024), "expert probing"; accuracy for classes, R² for regression.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distilled_experts.probing.quotient import quotient

__all__ = ["expert_scores", "own_domain_score"]

Floats = NDArray[np.floating]


def expert_scores(
    experts: Floats, domains: NDArray[np.int64], y: NDArray[np.generic], task: str
) -> NDArray[np.float64]:
    """Score of every expert on every domain.

    Parameters
    ----------
    experts : array, shape (*, N, E, C)
        Class scores, or predicted targets, of each expert alone.
    domains : array, shape (*, N)
        Dominating expert of every sample.
    y : array, shape (N,) of class codes, or (N, C) of targets
    task : {"classification", "regression"}

    Returns
    -------
    array, shape (*, E, E)
        Entry (i, j): expert i on the domain of expert j; NaN where the domain is empty (for R² also where its
        targets do not vary).

    Examples
    --------
    >>> experts = np.array([[[1.0, 0.0], [0.0, 1.0]]] * 3)  # the first always says 0, the second always 1
    >>> expert_scores(experts, np.array([0, 0, 1]), np.array([0, 1, 1]), "classification")
    array([[0.5, 0. ],
           [0.5, 1. ]])
    """
    n_experts = experts.shape[-2]
    member_NE = domains[..., None] == np.arange(n_experts)
    if task == "classification":
        right_NE = (experts.argmax(-1) == y[:, None]).astype(np.float64)
        hits = np.swapaxes(right_NE, -1, -2) @ member_NE.astype(np.float64)
        return quotient(hits, member_NE.sum(-2)[..., None, :])
    columns = [_r2(experts, y, member_NE[..., j]) for j in range(n_experts)]
    return np.stack(columns, axis=-1)


def own_domain_score(
    experts: Floats, domains: NDArray[np.int64], y: NDArray[np.generic], task: str
) -> NDArray[np.float64]:
    """Score of the predictions that each sample's dominating expert makes alone, ``(*)``.

    For classes the share of samples whose dominating expert is right: the size-weighted mean of the diagonal of
    `expert_scores`. For regression R² over all samples.

    Examples
    --------
    >>> experts = np.array([[[1.0, 0.0], [0.0, 1.0]]] * 3)
    >>> float(own_domain_score(experts, np.array([0, 1, 1]), np.array([0, 1, 0]), "classification"))
    0.6666666666666666
    """
    alone = np.take_along_axis(experts, domains[..., None, None], axis=-2)[..., 0, :]
    if task == "classification":
        return np.asarray((alone.argmax(-1) == y).mean(-1))
    everywhere = np.ones(alone.shape[:-1], dtype=bool)
    return _r2(alone[..., None, :], y, everywhere)[..., 0]


def _r2(experts: Floats, y: NDArray[np.generic], member: NDArray[np.bool_]) -> NDArray[np.float64]:
    """R² of every expert on the member samples, mean over the targets, ``(*, E)``."""
    target = np.asarray(y, dtype=np.float64)
    inside = member[..., None].astype(np.float64)
    count = inside.sum(-2)
    mean = quotient((target * inside).sum(-2), count)
    total = ((target - mean[..., None, :]) ** 2 * inside).sum(-2)
    residual = ((experts - target[:, None]) ** 2 * inside[..., None]).sum(-3)
    return np.asarray((1 - quotient(residual, total[..., None, :])).mean(-1))
