"""Training of one image classifier on the Trainer of Transformers.

Legend: N images, B of a batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from distilled_experts.transformers.best_epoch import Curves, train_to_best_epoch
from distilled_experts.vision.augmentation import augment

__all__ = ["Samples", "TrainingSettings", "train_model"]


@dataclass(frozen=True)
class TrainingSettings:
    """How a model is trained.

    Attributes
    ----------
    epochs, batch_size : int
    learning_rate, weight_decay : float
        Of AdamW; the rate falls to zero as a cosine after a tenth of the steps, in which it rises.
    padding : int
        Pixels by which images are shifted at most.
    mirrored : bool
        Whether half of the images are mirrored.
    bf16 : bool
        Whether products are in bfloat16 (autocast).
    device : str
    """

    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    padding: int = 2
    mirrored: bool = False
    bf16: bool = False
    device: str = "cpu"


@dataclass(frozen=True)
class Samples:
    """Images (N, C, H, W), normalised, and class codes (N); those to train on come first.

    Attributes
    ----------
    x, y : Tensor
    n_train : int
        The others validate.
    """

    x: Tensor
    y: Tensor
    n_train: int


def train_model(
    model: nn.Module,
    samples: Samples,
    settings: TrainingSettings,
    *,
    seed: int,
    after_epoch: Callable[[int], None] | None = None,
) -> Curves:
    """Train a model, which then has the weights of the epoch with the lowest validation loss.

    Parameters
    ----------
    model : Module
        As `build_model` makes them.
    samples : Samples
    settings : TrainingSettings
    seed : int
        Of the order of the images and of their augmentation.
    after_epoch : callable, optional
        Called with the number of epochs done.

    Returns
    -------
    Curves
        Training losses are the whole loss with all its parts; validation losses the task's alone.

    Raises
    ------
    TrainingError
        The validation loss was never finite.
    """
    return train_to_best_epoch(
        model,
        {
            "num_train_epochs": settings.epochs,
            "per_device_train_batch_size": settings.batch_size,
            "per_device_eval_batch_size": 4 * settings.batch_size,
            "learning_rate": settings.learning_rate,
            "weight_decay": settings.weight_decay,
            "use_cpu": settings.device == "cpu",
            "bf16": settings.bf16,
            "prediction_loss_only": True,
        },
        seed=seed,
        after_epoch=after_epoch,
        data_collator=_Batches(samples, settings, torch.Generator().manual_seed(seed)),
        train_dataset=range(samples.n_train),
        eval_dataset=range(samples.n_train, len(samples.y)),
    )


class _Batches:
    """From positions to batches: one gather from a tensor that holds all images; those to train on are augmented."""

    def __init__(self, samples: Samples, settings: TrainingSettings, generator: torch.Generator) -> None:
        self.samples = samples
        self.settings = settings
        self.generator = generator

    def __call__(self, positions: list[int]) -> dict[str, Tensor]:
        rows = torch.tensor(positions)
        x, s = self.samples.x[rows], self.settings
        if positions[0] < self.samples.n_train:
            x = augment(x, padding=s.padding, mirrored=s.mirrored, generator=self.generator)
        return {
            "pixel_values": x.contiguous(memory_format=torch.channels_last),
            "labels": self.samples.y[rows],
        }
