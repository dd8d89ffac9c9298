"""Batches of a language model: what is predicted where.

Legend: B sequences, S positions, V vocabulary, N predicted tokens of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilled_experts.errors import DataError
from distilled_experts.transformers.tokens import (
    IGNORED,
    Tokens,
    is_encoder_decoder,
    shifts_labels,
    tokens_of_batch,
)

# Positions whose scores of the whole vocabulary are in memory at a time, beside those that the model returns.
_POSITIONS = 1024


@dataclass(frozen=True)
class TokenBatch:
    """One batch.

    Attributes
    ----------
    inputs : dict
        Arguments of the model's forward.
    tokens : Tokens
        Which tokens of the batch are no padding.
    positions : Tensor (N)
        Where the model predicts, in its B · S positions.
    labels : Tensor (N)
        What it ought to predict there.
    shape : tuple of int
        B and S.
    """

    inputs: dict[str, Any]
    tokens: Tokens
    positions: Tensor
    labels: Tensor
    shape: tuple[int, int]

    @property
    def sequences(self) -> Tensor:
        """Sequence (N) of each predicted token."""
        return self.positions // self.shape[1]

    def only(self, kept: Tensor) -> TokenBatch:
        """The same batch with some of its predicted tokens, (N) of bool."""
        return TokenBatch(self.inputs, self.tokens, self.positions[kept], self.labels[kept], self.shape)

    def answers(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Token (N) that is held for the most probable, and loss (N) in nats, from scores (B, S, V)."""
        if logits.dim() != 3 or logits.shape[:2] != self.shape:
            raise DataError(f"model: logits of shape {tuple(logits.shape)} for tokens of shape {self.shape}")
        said, losses = [], []
        rows = logits.flatten(0, 1)
        for positions, labels in zip(self.positions.split(_POSITIONS), self.labels.split(_POSITIONS), strict=True):
            scores = rows[positions]
            scores = scores if scores.dtype == torch.float64 else scores.float()
            said.append(scores.argmax(-1))
            losses.append(F.cross_entropy(scores, labels, reduction="none"))
        return torch.cat(said), torch.cat(losses)


def token_batch(model: nn.Module, batch: Any) -> TokenBatch:
    """Read a batch as it goes to a model in training.

    Labels of −100 and padding are not predicted. A causal language model without labels predicts its own input.

    Raises
    ------
    DataError
        The batch is no mapping to tensors, or has no labels where the model needs them.
    """
    if not (isinstance(batch, Mapping) and isinstance(batch.get("input_ids"), Tensor)):
        raise DataError(f"batches: {type(batch).__name__}; mappings to tensors are needed, with input_ids")
    device = next(model.parameters()).device
    inputs = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()}
    shifted, paired = shifts_labels(model), is_encoder_decoder(model)
    given = inputs.get("labels", inputs["input_ids"] if shifted else None)
    if given is None or given.dim() != 2:
        raise DataError("batches: labels of shape (batch, length) are needed for this model")
    tokens = tokens_of_batch(model, {**inputs, "labels": given})
    if not paired:
        inputs.pop("labels", None)
    if hasattr(getattr(model, "config", None), "use_cache"):
        inputs["use_cache"] = False  # nothing is generated
    mask = tokens.masks["decoder"]
    labels = given if mask is None else given.masked_fill(~mask, IGNORED)
    if shifted:
        labels = F.pad(labels[:, 1:], (0, 1), value=IGNORED)
        # What padding predicts, on the left, is no prediction.
        labels = labels if mask is None else labels.masked_fill(~mask, IGNORED)
    positions = (labels != IGNORED).flatten().nonzero()[:, 0]
    return TokenBatch(inputs, tokens, positions, labels.flatten()[positions], (labels.shape[0], labels.shape[1]))
