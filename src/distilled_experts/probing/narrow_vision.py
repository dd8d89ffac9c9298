"""Narrow vision: how unequally the experts learn from the subsets of the training data.

Shape suffixes: N samples · E experts · S subsets · D features · H hidden units · C classes or targets; ``*`` stands for
any leading axes of models.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distilled_experts.probing.quotient import quotient

__all__ = ["NarrowVision", "gradient_shares", "narrow_vision", "narrow_vision_index", "two_layer_gradient_norms"]

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class NarrowVision:
    """From which subsets of the training data each expert learns.

    Parameters
    ----------
    shares : array, shape (*, S, E)
        Each expert's share of the gradient norms of a subset; NaN where no gradient comes from it.
    sizes : array, shape (*, S)
        Samples of each subset, counted by their weights.
    index : array, shape (*)
        0: all experts learn from all subsets; 1: one expert per subset; NaN with one expert.
    """

    shares: NDArray[np.float64]
    sizes: NDArray[np.float64]
    index: NDArray[np.float64]


def narrow_vision(
    norms: Floats, subsets: NDArray[np.integer], n_subsets: int, sample_weight: Floats | None = None
) -> NarrowVision:
    """Shares and index from the gradient norms of single samples.

    Take the norms of the whole training loss for what the experts really learn from, those of the task loss alone for
    what the gate leaves to them.

    Source: MoDE (Xie et al., AAAI 2024), figure 1; the index is this package's own.

    Parameters
    ----------
    norms : array, shape (*, N, E)
        Norm of the gradient of each sample's loss by the parameters of each expert.
    subsets : array, shape (*, N) or (N,)
        Class or cluster of every sample, from 0.
    n_subsets : int
        S.
    sample_weight : array, shape (N,), optional
        How much each sample counts; its norms are of its loss without the weight.

    Examples
    --------
    >>> norms = np.array([[3.0, 1.0], [3.0, 1.0], [0.0, 5.0], [0.0, 5.0]])
    >>> vision = narrow_vision(norms, np.array([0, 0, 1, 1]), 2)
    >>> vision.shares
    array([[0.75, 0.25],
           [0.  , 1.  ]])
    >>> round(float(vision.index), 3)
    0.594
    """
    shares = gradient_shares(norms, subsets, n_subsets, sample_weight)
    sizes = _members(subsets, n_subsets, sample_weight).sum(-2)
    return NarrowVision(shares, sizes, narrow_vision_index(shares, sizes))


def gradient_shares(
    norms: Floats, subsets: NDArray[np.integer], n_subsets: int, sample_weight: Floats | None = None
) -> NDArray[np.float64]:
    r"""Expert i's share of a subset, :math:`\sum_{n \in S} \|g_{ni}\| / \sum_j \sum_{n \in S} \|g_{nj}\|`.

    Parameters and shapes as in `narrow_vision`; gives ``(*, S, E)``, NaN where no gradient comes from the subset.

    Examples
    --------
    >>> gradient_shares(np.array([[3.0, 1.0], [1.0, 3.0]]), np.array([0, 0]), 1)
    array([[0.5, 0.5]])
    """
    members = _members(subsets, n_subsets, sample_weight)
    sums = np.swapaxes(members, -1, -2) @ np.asarray(norms, dtype=np.float64)
    return quotient(sums, sums.sum(-1, keepdims=True))


def narrow_vision_index(shares: Floats, sizes: NDArray[np.generic]) -> NDArray[np.float64]:
    """One minus the size-weighted mean of the normalised entropy of the shares, ``(*, S, E)`` to ``(*)``.

    The entropy over the experts is divided by log E. Subsets without shares (NaN) or samples do not count. NaN with one
    expert, or where no subset counts.

    Examples
    --------
    >>> float(narrow_vision_index(np.eye(2), np.array([3, 1])))
    1.0
    >>> float(narrow_vision_index(np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([3, 1])))
    0.25
    """
    n_experts = shares.shape[-1]
    if n_experts == 1:
        return np.full(shares.shape[:-2], np.nan)
    positive = np.where(shares > 0, shares, 1)
    entropy = -(positive * np.log(positive)).sum(-1) / np.log(n_experts)
    counted = np.where(np.isnan(shares).any(-1), 0, sizes)
    return np.asarray(np.clip(1 - quotient((entropy * counted).sum(-1), counted.sum(-1)), 0, 1))


def two_layer_gradient_norms(
    upstream: Floats, inputs: Floats, hidden: Floats, output_weight: Floats, *, slope: Floats | None = None
) -> NDArray[np.float64]:
    r"""Norm of each sample's gradient by all parameters of each two-layer expert, in closed form.

    Expert ``e = W₂ h + b₂``, ``h = φ(W₁ x + b₁)``. The gradient by a weight is an outer product, whose norm is the
    product of two norms: with :math:`u = ∂ℓ/∂e` and :math:`δ = φ' ⊙ W_2^T u` the square is
    :math:`\|u\|^2 (\|h\|^2 + 1) + \|δ\|^2 (\|x\|^2 + 1)`, the ones being the biases'.

    Source: Goodfellow, Efficient Per-Example Gradient Computations, 2015, arXiv 1510.01799.

    Parameters
    ----------
    upstream : array, shape (*, N, E, C)
        Gradient of each sample's own loss (not of a mean) by the expert outputs.
    inputs : array, shape (*, N, D)
        What all experts get.
    hidden : array, shape (*, N, E, H)
        Hidden activations.
    output_weight : array, shape (*, E, C, H)
    slope : array, shape (*, N, E, H), optional
        Derivative of the activation. Default: ReLU's, 1 where `hidden` is positive.

    Returns
    -------
    array, shape (*, N, E)

    Examples
    --------
    >>> upstream, hidden = np.array([[[2.0]]]), np.array([[[3.0, 0.0]]])
    >>> two_layer_gradient_norms(upstream, np.array([[1.0, 1.0]]), hidden, np.array([[[0.5, 4.0]]])) ** 2
    array([[43.]])
    """
    slope = np.asarray(hidden > 0) if slope is None else slope
    # Experts before samples: one matrix product for each expert.
    back = np.swapaxes(np.swapaxes(upstream, -2, -3) @ output_weight, -2, -3) * slope
    of_inputs = _square_norm(inputs)[..., None]
    square = _square_norm(upstream) * (_square_norm(hidden) + 1) + _square_norm(back) * (of_inputs + 1)
    return np.asarray(np.sqrt(square), dtype=np.float64)


def _square_norm(x: Floats) -> Floats:
    return np.asarray(np.einsum("...i,...i->...", x, x))


def _members(subsets: NDArray[np.integer], n_subsets: int, sample_weight: Floats | None) -> NDArray[np.float64]:
    """Weight of each sample in its subset, zero in the others, ``(*, N, S)``."""
    member = np.asarray(subsets)[..., None] == np.arange(n_subsets)
    return np.asarray(member * (1.0 if sample_weight is None else np.asarray(sample_weight)[:, None]))
