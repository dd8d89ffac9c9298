"""Losses that keep all experts in use.

Shapes: N samples, E experts; ``*`` stands for any leading axes, each with a loss of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from distilled_experts.functional.factors import accumulation_dtype


def load_balance(probabilities: Tensor, mask: Tensor, sample_weight: Tensor | None = None) -> Tensor:
    r"""Switch Transformer's loss :math:`E \sum_i f_i P_i`.

    f_i is expert i's share of all assignments (samples times active experts), P_i the mean of its
    probabilities.

    Parameters
    ----------
    probabilities : Tensor (*, N, E)
        Softmax over all experts.
    mask : Tensor (*, N, E) of bool
        The active experts.
    sample_weight : Tensor (*, N), optional
        Zero for padding.

    Returns
    -------
    Tensor (*)
        One where the load is uniform, whatever the number of active experts; up to E where one expert takes
        it all.

    References
    ----------
    Fedus, Zoph & Shazeer, Switch Transformers, JMLR 2022, equations 4 to 6.

    Examples
    --------
    >>> load_balance(torch.full((4, 2), 0.5), torch.tensor([[True, False], [False, True]]).repeat(2, 1))
    tensor(1.)
    """
    rows = _rows(probabilities, sample_weight).unsqueeze(-1)
    assignments = (mask * rows).sum(-2)
    load = assignments / _nonzero(assignments.sum(-1, keepdim=True))
    return probabilities.shape[-1] * (load * (probabilities * rows).sum(-2)).sum(-1)


def z_loss(scores: Tensor, sample_weight: Tensor | None = None) -> Tensor:
    """Mean squared log of the softmax's denominator; keeps the gate's scores small.

    Parameters
    ----------
    scores : Tensor (*, N, E)
        The gate's scores.
    sample_weight : Tensor (*, N), optional
        Zero for padding.

    Returns
    -------
    Tensor (*)
        One loss for each leading index.

    References
    ----------
    Zoph et al., ST-MoE, arXiv 2202.08906, equation 5.

    Examples
    --------
    >>> z_loss(torch.zeros(3, 1))
    tensor(0.)
    """
    rows = _rows(scores, sample_weight)
    return (scores.to(rows.dtype).logsumexp(-1).square() * rows).sum(-1)


def importance(weights: Tensor, sample_weight: Tensor | None = None) -> Tensor:
    """Squared coefficient of variation of the experts' total gate weights.

    Parameters
    ----------
    weights : Tensor (*, N, E)
        The gate's weights, zero for experts that are not active.
    sample_weight : Tensor (*, N), optional
        Zero for padding.

    Returns
    -------
    Tensor (*)
        Zero where all experts have the same total, up to E − 1 where one has it all.

    References
    ----------
    Shazeer et al., Outrageously Large Neural Networks, ICLR 2017, equations 6 and 7.

    Examples
    --------
    >>> importance(torch.tensor([[1.0, 0.0]]))
    tensor(1.)
    """
    totals = (weights * _rows(weights, sample_weight).unsqueeze(-1)).sum(-2)
    mean = totals.mean(-1)
    return totals.var(-1, correction=0) / _nonzero(mean.square())


def _rows(values: Tensor, sample_weight: Tensor | None) -> Tensor:
    """Each sample's part of the mean over N, (*, N) or (N)."""
    dtype = accumulation_dtype(values.dtype)
    if sample_weight is None:
        n_samples = values.shape[-2]
        return torch.full((n_samples,), 1 / max(n_samples, 1), dtype=dtype, device=values.device)
    sample_weight = sample_weight.to(dtype)
    return sample_weight / _nonzero(sample_weight.sum(-1, keepdim=True))


def _nonzero(total: Tensor) -> Tensor:
    return torch.where(total == 0, 1, total)
