"""A translator's model on the Trainer of Transformers.

Legend: B pairs of a batch, T tokens of a target, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor
from transformers import EvalPrediction, PreTrainedModel

from distilled_experts.transformers.best_epoch import Curves, train_to_best_epoch
from distilled_experts.transformers.tokens import IGNORED
from distilled_experts.translation.batches import PairBatches

__all__ = ["TrainingSettings", "fit"]

_LOSS = "token_loss"


@dataclass(frozen=True)
class TrainingSettings:
    """How a model is trained.

    Attributes
    ----------
    epochs : int
    tokens : int
        Tokens of targets in a batch, about; sources come on top.
    learning_rate : float
        Of Adam; the rate falls to zero as a cosine after a tenth of the steps, in which it rises.
    bf16 : bool
        Whether products are in bfloat16 (autocast).
    device : str
    """

    epochs: int = 10
    tokens: int = 1250
    learning_rate: float = 3e-3
    bf16: bool = False
    device: str = "cpu"


def fit(
    model: PreTrainedModel,
    pairs: PairBatches,
    validation: PairBatches,
    settings: TrainingSettings,
    *,
    seed: int,
    after_epoch: Callable[[int], None] | None = None,
) -> Curves:
    """Train a model, which then has the weights of the epoch with the lowest validation loss.

    Parameters
    ----------
    model : PreTrainedModel
        As `build_model` makes them.
    pairs, validation : PairBatches
    settings : TrainingSettings
    seed : int
        Of what dropout leaves out.
    after_epoch : callable, optional
        Called with the number of epochs done.

    Returns
    -------
    Curves
        Training losses are means over batches; validation losses means over tokens, in nats.

    Raises
    ------
    TrainingError
        The validation loss was never finite.
    """
    return train_to_best_epoch(
        model,
        {
            "num_train_epochs": settings.epochs,
            # An item is a batch, in an order that the seed and the epoch have drawn.
            "per_device_train_batch_size": 1,
            "per_device_eval_batch_size": 1,
            "train_sampling_strategy": "sequential",
            "learning_rate": settings.learning_rate,
            "adam_beta2": 0.98,
            "use_cpu": settings.device == "cpu",
            "bf16": settings.bf16,
        },
        seed=seed,
        metric=f"eval_{_LOSS}",
        after_epoch=after_epoch,
        data_collator=_only,
        train_dataset=pairs,
        eval_dataset=validation,
        compute_metrics=_mean_loss,
        preprocess_logits_for_metrics=_token_losses,
    )


def _only(batches: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return batches[0]


def _token_losses(outputs: Tensor | tuple[Tensor, ...], labels: Tensor) -> Tensor:
    """Loss (B, T) of every label, from the scores (B, T, V) that come first in what a model returns."""
    scores = outputs if isinstance(outputs, Tensor) else outputs[0]
    return F.cross_entropy(scores.float().transpose(1, 2), labels, ignore_index=IGNORED, reduction="none")


def _mean_loss(found: EvalPrediction) -> dict[str, float]:
    losses: Any = found.predictions
    return {_LOSS: float(losses[np.asarray(found.label_ids) != IGNORED].mean())}
