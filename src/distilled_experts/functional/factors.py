"""Who is compared with whom, and how much each sample counts.

Shapes: N samples, k experts each; ``*`` stands for any leading axes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class LossFactors(NamedTuple):
    """Factors of a distillation loss; plain numbers where neither mask nor sample weights were given.

    Attributes
    ----------
    share : Tensor (*, N, k) or float
        ``1/|C|`` for each expert of the compared set C of a sample, zero for the others.
    rows : Tensor (*, N) or float
        The part of each sample in the mean over samples; zero where C is empty.
    size : Tensor (*, N) or float
        ``|C|``.
    """

    share: Tensor | float
    rows: Tensor | float
    size: Tensor | float

    def row_factor(self, pair_scale: bool) -> Tensor | float:
        """Factor (*, N) of each sample's loss: its part of the mean, zero for ``|C| < 2``."""
        size = self.size
        if isinstance(size, Tensor):
            scale = (2 * size / (size - 1).clamp_min(1)) if pair_scale else 1.0
            return self.rows * (size > 1) * scale
        scale = 2 * size / max(size - 1, 1) if pair_scale else 1.0
        return self.rows * (scale if size > 1 else 0.0)


def loss_factors(expert_outputs: Tensor, mask: Tensor | None, sample_weight: Tensor | None) -> LossFactors:
    """Build the factors from the mask (*, N, k) of compared experts and sample weights (*, N), if any."""
    n_samples, k, _ = expert_outputs.shape[-3:]
    dtype = accumulation_dtype(expert_outputs.dtype)
    if sample_weight is not None:
        sample_weight = sample_weight.to(dtype)
    if mask is None:
        rows = 1 / max(n_samples, 1) if sample_weight is None else _normalised(sample_weight)
        return LossFactors(1 / k, rows, float(k))
    size = mask.sum(-1).to(dtype)
    occupied = (size > 0).to(dtype)
    row_weight = occupied if sample_weight is None else occupied * sample_weight
    return LossFactors(mask / size.clamp_min(1).unsqueeze(-1), _normalised(row_weight), size)


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """Precision in which sums are kept: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def per_expert(factor: Tensor | float) -> Tensor | float:
    """Give a factor (*, N) of samples an axis for the experts, a factor (*, N, k) one for the outputs."""
    return factor.unsqueeze(-1) if isinstance(factor, Tensor) else factor


def _normalised(row_weight: Tensor) -> Tensor:
    total = row_weight.sum(-1, keepdim=True)
    # All weights zero: the loss is zero, not a division by zero.
    return row_weight / torch.where(total == 0, 1, total)
