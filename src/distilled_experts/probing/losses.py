"""Log loss: how sure the experts are of what is right, each alone and all together.

Of language models the exponential of it is the perplexity.

Shape suffixes: N samples · E experts · C classes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from distilled_experts.probing.bootstrap import Measures, Statistic, resampled_mean
from distilled_experts.probing.outputs import ExpertOutputs

__all__ = ["LOG_LOSSES", "ExpertLosses", "log_losses", "loss_statistic"]

Floats = NDArray[np.floating]

LOG_LOSSES = ("log_loss", "own_domain_log_loss", "log_loss_matrix")


class ExpertLosses(NamedTuple):
    """Losses of each expert alone ``(N, E)`` and of the mixture ``(N,)`` on every sample, in nats.

    NaN where a member names a class and gives no probability.
    """

    experts: NDArray[np.float64]
    mixture: NDArray[np.float64]

    @classmethod
    def of_scores(cls, outputs: ExpertOutputs, y: NDArray[np.generic]) -> ExpertLosses:
        """Losses where the outputs are class scores, whose softmax gives the probabilities.

        Examples
        --------
        >>> outputs = ExpertOutputs(np.zeros((1, 2, 4)), np.ones((1, 2)) / 2, np.zeros((1, 4)))
        >>> ExpertLosses.of_scores(outputs, np.array([3])).mixture.round(3)  # one of four equally likely classes
        array([1.386])
        """
        scores = (np.asarray(part, dtype=np.float64) for part in (outputs.experts, outputs.mixture))
        return cls(*(log_losses(softmax(part, axis=-1), y) for part in scores))


def log_losses(probabilities: Floats, y: NDArray[np.generic]) -> NDArray[np.float64]:
    """Negative logarithm of the probability of each sample's class, in nats.

    A probability of zero counts as the spacing of numbers at one, 2.2e-16, as in ``sklearn.metrics.log_loss``: no
    sample costs more than 36.04.

    Parameters
    ----------
    probabilities : array, shape (N, C), or (N, E, C) of several experts
    y : array, shape (N,)
        Class codes.

    Returns
    -------
    array, shape (N,) or (N, E)

    Examples
    --------
    >>> log_losses(np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([0, 1])).round(2)
    array([ 0.69, 36.04])
    """
    right = np.asarray(probabilities, dtype=np.float64)[np.arange(len(y)), ..., np.asarray(y, dtype=np.int64)]
    smallest = np.finfo(np.float64).eps
    return np.asarray(-np.log(np.clip(right, smallest, 1 - smallest)))


def loss_statistic(losses: ExpertLosses, domains: NDArray[np.int64]) -> Statistic:
    """Mean losses as a function of counts ``(R, N)`` of the samples, for `bootstrap_intervals`.

    Gives ``log_loss`` of the mixture and ``own_domain_log_loss``, of each sample's dominating expert alone, ``(R,)``;
    ``log_loss_matrix`` ``(R, E, E)``, expert i (row) alone on domain j (column), NaN where the domain is empty.

    Examples
    --------
    >>> losses = ExpertLosses(np.array([[0.0, 2.0], [2.0, 1.0]]), np.array([0.5, 1.0]))
    >>> measures = loss_statistic(losses, np.array([0, 1]))(np.ones((1, 2)))
    >>> float(measures["own_domain_log_loss"][0]), measures["log_loss_matrix"][0]
    (0.5, array([[0., 2.],
           [2., 1.]]))
    """
    n_experts = losses.experts.shape[-1]
    mixture = resampled_mean(losses.mixture)
    own_domain = resampled_mean(np.take_along_axis(losses.experts, domains[:, None], axis=1)[:, 0])
    columns = [resampled_mean(losses.experts.T, domains == j) for j in range(n_experts)]

    def statistic(counts: NDArray[np.float64]) -> Measures:
        matrix = np.stack([column(counts) for column in columns], axis=-1)
        return dict(zip(LOG_LOSSES, (mixture(counts), own_domain(counts), matrix), strict=True))

    return statistic
