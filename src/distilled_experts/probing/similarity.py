"""How alike experts are: linear CKA and agreement of their predictions, and an alarm when they become one.

Shape suffixes: N samples · E experts · C classes or targets; ``*`` stands for any leading axes of models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilled_experts.checks import check_share
from distilled_experts.probing.quotient import quotient

__all__ = [
    "ExpertSimilarity",
    "answer_agreement",
    "expert_similarity",
    "linear_cka",
    "mean_off_diagonal",
    "prediction_agreement",
    "similarity_of",
]

Floats = NDArray[np.floating]

# Outputs that spread less than this, measured by their largest value, are rounding errors of a constant.
_CONSTANT = 1e-13


@dataclass(frozen=True)
class ExpertSimilarity:
    """Similarity of the experts of a mixture, and whether they have lost their specialisation.

    Parameters
    ----------
    cka, agreement : array, shape (*, E, E)
        As from `linear_cka` and `prediction_agreement`.
    mean_cka, mean_agreement : array, shape (*)
        Means over the pairs of different experts; NaN with one expert.
    threshold : float
        Where the alarm begins.
    homogenised : array of bool, shape (*)
        True: both means lie above the threshold. Where no CKA is defined the agreement decides alone. One measure
        alone is no alarm: good experts agree on easy samples, and CKA does not see shift and scale.
    """

    cka: NDArray[np.float64]
    agreement: NDArray[np.float64]
    mean_cka: NDArray[np.float64]
    mean_agreement: NDArray[np.float64]
    threshold: float
    homogenised: NDArray[np.bool_]

    def headline(self) -> dict[str, NDArray[Any]]:
        """``cka`` and ``agreement``, the means, and ``homogenised``: each (*)."""
        return {"cka": self.mean_cka, "agreement": self.mean_agreement, "homogenised": self.homogenised}

    def warning(self) -> str | None:
        """One line about models whose experts have become alike; None where there are none."""
        alarmed, models = int(self.homogenised.sum()), self.homogenised.size
        if not alarmed:
            return None
        whose = "the experts" if models == 1 else f"in {alarmed} of {models} models the experts"
        return f"{whose} have become alike: similarity and agreement above {self.threshold:g}; a smaller α may help"


def expert_similarity(
    experts: Floats, task: str, *, threshold: float = 0.95, sample_weight: Floats | None = None
) -> ExpertSimilarity:
    """Compare the experts of a mixture in pairs on held-out samples.

    Parameters
    ----------
    experts : array, shape (*, N, E, C)
        Class scores, or predicted targets, of each expert alone.
    task : {"classification", "regression"}
    threshold : float
        Between 0 and 1; the alarm sounds above it.
    sample_weight : array, shape (N,), optional

    Raises
    ------
    InvalidParameterError
        When the threshold lies elsewhere.

    Examples
    --------
    >>> scores = np.random.default_rng(0).normal(size=(50, 1, 3))
    >>> alike = expert_similarity(np.concatenate([scores, 1.01 * scores], axis=1), "classification")
    >>> round(float(alike.mean_cka), 6), float(alike.mean_agreement), bool(alike.homogenised)
    (1.0, 1.0, True)
    """
    cka, agreement = linear_cka(experts, sample_weight), prediction_agreement(experts, task, sample_weight)
    return similarity_of(cka, agreement, threshold)


def similarity_of(
    cka: NDArray[np.float64], agreement: NDArray[np.float64], threshold: float = 0.95
) -> ExpertSimilarity:
    """The same from CKA and agreement (*, E, E) that are there already.

    Examples
    --------
    >>> bool(similarity_of(np.ones((2, 2)), np.eye(2)).homogenised)
    False
    """
    check_share("threshold", threshold)
    mean_cka, mean_agreement = mean_off_diagonal(cka), mean_off_diagonal(agreement)
    homogenised = (mean_agreement > threshold) & ~(mean_cka <= threshold)
    return ExpertSimilarity(cka, agreement, mean_cka, mean_agreement, threshold, np.asarray(homogenised))


def linear_cka(experts: Floats, sample_weight: Floats | None = None) -> NDArray[np.float64]:
    r"""Linear centred kernel alignment of the outputs of every pair of experts, in [0, 1].

    For outputs X and Y, centred over the samples, :math:`\|X^T Y\|_F^2 / (\|X^T X\|_F \|Y^T Y\|_F)`. Shift, scale and
    rotation of an expert's outputs change nothing.

    Source: Kornblith et al., Similarity of Neural Network Representations Revisited, ICML 2019.

    Parameters
    ----------
    experts : array, shape (*, N, E, C)
    sample_weight : array, shape (N,), optional

    Returns
    -------
    array, shape (*, E, E)
        NaN for an expert whose outputs are the same for all samples.

    Examples
    --------
    >>> first, second = np.array([1.0, -1.0, 1.0, -1.0]), np.array([1.0, 1.0, -1.0, -1.0])
    >>> linear_cka(np.stack([first, 3 * first + 1, second], axis=-1)[..., None])
    array([[1., 1., 0.],
           [1., 1., 0.],
           [0., 0., 1.]])
    """
    x, weight = _experts_first(experts), _column(sample_weight, experts.shape[-3])
    size = np.abs(x).max((-1, -2), keepdims=True, initial=0)
    # Fourth powers follow: outputs of any scale have to stay within the range of numbers.
    x = _unit_scale(x, size)
    x = (x - (x * weight).sum(-2, keepdims=True) / weight.sum()) * np.sqrt(weight / weight.max())
    spread = np.abs(x).max((-1, -2), keepdims=True, initial=0)
    x = _unit_scale(np.where(spread > _CONSTANT, x, 0), spread)
    n_experts = len(x)
    alignment: NDArray[np.float64] = np.empty((*x.shape[1:-2], n_experts, n_experts))
    for i in range(n_experts):
        for j in range(i + 1):
            product = np.swapaxes(x[i], -1, -2) @ x[j]
            alignment[..., i, j] = alignment[..., j, i] = (product**2).sum((-1, -2))
    own = np.sqrt(np.diagonal(alignment, axis1=-2, axis2=-1))
    return np.asarray(np.clip(quotient(alignment, own[..., :, None] * own[..., None, :]), 0, 1))


def prediction_agreement(experts: Floats, task: str, sample_weight: Floats | None = None) -> NDArray[np.float64]:
    r"""How far every pair of experts predicts the same, in [0, 1].

    For classes the share of samples to which both give the same class. For regression Lin's (1989) concordance
    :math:`1 - \sum(a-b)^2 / (\sum(a-\bar a)^2 + \sum(b-\bar b)^2 + N(\bar a-\bar b)^2)`, sums over samples and targets,
    and zero where it is negative: one for equal predictions, zero for unrelated ones.

    Parameters
    ----------
    experts : array, shape (*, N, E, C)
    task : {"classification", "regression"}
    sample_weight : array, shape (N,), optional

    Returns
    -------
    array, shape (*, E, E)

    Examples
    --------
    >>> answers = np.eye(2)[[[0, 0], [1, 1], [0, 1], [1, 1]]]  # four samples, two experts
    >>> prediction_agreement(answers, "classification")
    array([[1.  , 0.75],
           [0.75, 1.  ]])
    """
    weight = _column(sample_weight, experts.shape[-3])
    if task == "classification":
        return answer_agreement(experts.argmax(-1), sample_weight)
    x = _experts_first(experts)
    mean = (x * weight).sum(-2) / weight.sum()
    spread = ((x - mean[..., None, :]) ** 2 * weight).sum((-1, -2))
    agreement: NDArray[np.float64] = np.ones((*x.shape[1:-2], len(x), len(x)))
    for i in range(len(x)):
        for j in range(i):
            apart = ((x[i] - x[j]) ** 2 * weight).sum((-1, -2))
            most = spread[i] + spread[j] + weight.sum() * ((mean[i] - mean[j]) ** 2).sum(-1)
            # Nothing apart at most: both give the same constant.
            concordance = 1 - apart / np.where(most > 0, most, 1)
            agreement[..., i, j] = agreement[..., j, i] = np.clip(concordance, 0, 1)
    return agreement


def answer_agreement(answers: NDArray[np.generic], sample_weight: Floats | None = None) -> NDArray[np.float64]:
    """Share of the samples to which every pair of experts gives the same answer, ``(*, N, E)`` to ``(*, E, E)``.

    Examples
    --------
    >>> answer_agreement(np.array([[7, 7], [7, 9]]))
    array([[1. , 0.5],
           [0.5, 1. ]])
    """
    weight = _column(sample_weight, answers.shape[-2])
    # One expert at a time: of many experts and samples, all pairs at once would not fit into memory.
    rows = [((answers[..., i, None] == answers) * weight).sum(-2) for i in range(answers.shape[-1])]
    return np.asarray(np.stack(rows, axis=-2) / weight.sum())


def mean_off_diagonal(similarity: Floats) -> NDArray[np.float64]:
    """Mean over the pairs of different experts, ``(*, E, E)`` to ``(*)``; undefined pairs are left out.

    NaN with one expert, or where no pair is defined.

    Examples
    --------
    >>> float(mean_off_diagonal(np.array([[1.0, 0.5], [0.5, 1.0]])))
    0.5
    """
    counted = ~np.eye(similarity.shape[-1], dtype=bool) & ~np.isnan(similarity)
    total = np.where(counted, similarity, 0).sum((-1, -2))
    return quotient(total, np.broadcast_to(counted, similarity.shape).sum((-1, -2)))


def _experts_first(experts: Floats) -> NDArray[np.float64]:
    return np.moveaxis(np.asarray(experts, dtype=np.float64), -2, 0)


def _column(sample_weight: Floats | None, n_samples: int) -> NDArray[np.float64]:
    """Weights ``(N, 1)``; ones where none are given."""
    weight = np.ones(n_samples) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    return weight[:, None]


def _unit_scale(x: Floats, size: Floats) -> NDArray[np.float64]:
    return np.asarray(x / np.where(size > 0, size, 1))
