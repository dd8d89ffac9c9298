"""Losses with the opposite aim of distillation: they drive experts apart.

Shapes: N samples, k or E experts, outputs of width D; ``*`` stands for any leading axes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from distilled_experts.functional.distances import unit_vectors
from distilled_experts.functional.factors import loss_factors, per_expert


def orthogonality(expert_outputs: Tensor, mask: Tensor | None = None, sample_weight: Tensor | None = None) -> Tensor:
    """Mean squared cosine between the outputs of two experts of a sample, over all pairs.

    Parameters
    ----------
    expert_outputs : Tensor (*, N, k, D)
        Unweighted outputs.
    mask : Tensor (*, N, k) of bool, optional
        True for the compared experts. Default: all.
    sample_weight : Tensor (*, N), optional
        The mean over n is weighted with these.

    Returns
    -------
    Tensor (*)
        From zero (orthogonal) to one (parallel); zero where no sample has two experts.

    Notes
    -----
    Guo et al., Advancing Expert Specialization for Better MoE, arXiv 2505.22323, penalise
    projections upon each other; this is their aim without the dependence on scale.

    Examples
    --------
    >>> orthogonality(torch.eye(2).unsqueeze(0))
    tensor(0.)
    """
    factors = loss_factors(expert_outputs, mask, sample_weight)
    units = unit_vectors(expert_outputs)
    cosines = units @ units.transpose(-1, -2)
    off_diagonal = 1 - torch.eye(units.shape[-2], dtype=units.dtype, device=units.device)
    squares = cosines.square() * off_diagonal
    share = factors.share
    if isinstance(share, Tensor):
        pairs = (share.unsqueeze(-1) * share.unsqueeze(-2) * squares).sum((-2, -1))
    else:
        pairs = share**2 * squares.sum((-2, -1))
    # Shares count the k² pairs with repetition; pair_scale counts twice what k(k − 1) over k² gives.
    return (pairs * factors.row_factor(pair_scale=True)).sum(-1) / 2


def gate_variance(weights: Tensor, sample_weight: Tensor | None = None) -> Tensor:
    """Minus the variance over the samples of the gate's weights, mean over experts: small where gates decide.

    Parameters
    ----------
    weights : Tensor (*, N, E)
        The gate's weights.
    sample_weight : Tensor (*, N), optional
        The mean over n is weighted with these.

    Returns
    -------
    Tensor (*)
        From −1/4 to zero; zero where every sample has the same gate.

    Notes
    -----
    After the variance loss of Guo et al., arXiv 2505.22323.

    Examples
    --------
    >>> gate_variance(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    tensor(-0.2500)
    """
    rows = per_expert(loss_factors(weights.unsqueeze(-1), None, sample_weight).rows)
    mean = (weights * rows).sum(-2, keepdim=True)
    return -((weights - mean).square() * rows).sum(-2).mean(-1)
