"""Task losses of a stack, one value for every model and row."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["TASK_LOSSES", "classification_loss", "regression_loss"]


def classification_loss(output_SABC: Tensor, target_SB: Tensor) -> Tensor:
    """Cross-entropy of class scores with class codes, ``(S, A, B)``."""
    S, A, B, C = output_SABC.shape
    scores_CB = output_SABC.mT.reshape(S * A, C, B)
    codes = target_SB.unsqueeze(1).expand(S, A, B).reshape(S * A, B)
    return F.cross_entropy(scores_CB, codes, reduction="none").view(S, A, B)


def regression_loss(output_SABC: Tensor, target_SBC: Tensor) -> Tensor:
    """Squared error of standardised targets, mean over the targets, ``(S, A, B)``."""
    return (output_SABC - target_SBC.unsqueeze(1)).square().mean(-1)


TASK_LOSSES = {"classification": classification_loss, "regression": regression_loss}
