"""The weights of the best epoch come back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from distilled_experts.errors import TrainingError
from distilled_experts.transformers.best_epoch import BestEpoch, Curves

ANY: Any = None


def trained(losses: Sequence[float]) -> tuple[nn.Module, Curves, BestEpoch, list[int]]:
    """A module whose only weight is the number of the epoch, after epochs with these validation losses."""
    model, curves, epochs = nn.Linear(1, 1, bias=False), Curves(), list[int]()
    best = BestEpoch(model, curves, metric="eval_mine", after_epoch=epochs.append)
    for epoch, loss in enumerate(losses, 1):
        nn.init.constant_(model.weight, epoch)
        best.on_log(ANY, ANY, ANY, logs={"loss": 2 * loss, "lr": 0.1})
        best.on_log(ANY, ANY, ANY, logs={"eval_loss": -loss, "eval_mine": loss})
        best.on_evaluate(ANY, ANY, ANY)
    return model, curves, best, epochs


@pytest.mark.parametrize(
    ("losses", "epoch"), [([2, 1, 3], 2), ([3, 2, 1], 3), ([1, 2, 3], 1), ([1, 2, 1], 3), ([math.nan, 2, 3], 2)]
)
def test_the_weights_of_the_lowest_validation_loss_are_restored(losses: list[float], epoch: int) -> None:
    model, curves, best, epochs = trained(losses)
    best.restore()
    assert torch.equal(model.weight, torch.tensor([[float(epoch)]]))
    assert curves.best_epoch == epoch
    np.testing.assert_equal(curves.validation_loss, losses)
    np.testing.assert_equal(curves.train_loss, [2 * loss for loss in losses])
    assert epochs == [1, 2, 3]


def test_a_loss_that_is_never_finite_is_an_error() -> None:
    with pytest.raises(TrainingError, match="the validation loss was never finite"):
        trained([math.nan, math.nan])[2].restore()
