"""Teachers: what an expert is pulled towards.

Shapes: N samples, k experts, outputs of width D; ``*`` stands for any leading axes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from distilled_experts.functional.factors import LossFactors, per_expert


def expert_mean(outputs: Tensor, share: Tensor | float) -> Tensor:
    """Mean over the compared experts: (*, N, k, D) and shares (*, N, k) → (*, N, 1, D)."""
    if isinstance(share, Tensor):
        return (outputs * share.unsqueeze(-1)).sum(-2, keepdim=True)
    return outputs.mean(-2, keepdim=True)


def gate_mean(outputs: Tensor, weights: Tensor, share: Tensor | float) -> Tensor:
    """Mean over the compared experts, weighted with the gate (*, N, k): (*, N, k, D) → (*, N, 1, D).

    The weights are divided by their sum over the compared experts, so the result is a mean also where a gate
    keeps only a part of its softmax. Where all of them are zero it is the plain mean.
    """
    if isinstance(share, Tensor):
        weights = weights * (share > 0)
    total = weights.sum(-1, keepdim=True)
    empty = total == 0
    weights = torch.where(empty, share, weights / torch.where(empty, 1, total))
    return (outputs * weights.unsqueeze(-1)).sum(-2, keepdim=True)


def leave_one_out(outputs: Tensor, factors: LossFactors) -> Tensor:
    """Mean over the other compared experts: (*, N, k, D) → (*, N, k, D)."""
    mean = expert_mean(outputs, factors.share)
    # = mean − (output − mean) / (|C| − 1): no digits are lost where the experts agree.
    return mean - (outputs - mean) / per_expert(per_expert(n_others(factors.size)))


def n_others(size: Tensor | float) -> Tensor | float:
    """``|C| − 1``, at least one."""
    return (size - 1).clamp_min(1) if isinstance(size, Tensor) else max(size - 1, 1.0)
