"""Domains ``DS_i``: the samples on which expert i has the largest gate weight ("dominating samples")."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["domain_shares", "dominating_experts"]


def dominating_experts(weights: NDArray[np.floating]) -> NDArray[np.int64]:
    """Expert with the largest gate weight for every sample; the first one where weights tie.

    Parameters
    ----------
    weights : array, shape (*, N, E)
        Gate weights.

    Returns
    -------
    array, shape (*, N)

    Examples
    --------
    >>> dominating_experts(np.array([[0.2, 0.8], [0.9, 0.1]]))
    array([1, 0])
    """
    return np.asarray(np.asarray(weights).argmax(-1))


def domain_shares(domains: NDArray[np.int64], n_experts: int) -> NDArray[np.float64]:
    """Share of the samples in every expert's domain.

    Parameters
    ----------
    domains : array, shape (*, N)
        As from `dominating_experts`.
    n_experts : int
        E.

    Returns
    -------
    array, shape (*, E)
        Sums to one over the experts.

    Examples
    --------
    >>> domain_shares(np.array([1, 0, 1, 1]), 3)
    array([0.25, 0.75, 0.  ])
    """
    return np.stack([(domains == i).mean(-1) for i in range(n_experts)], axis=-1)
