"""Training epoch by epoch on the Trainer: the losses of the epochs, and the weights of the best one."""

from __future__ import annotations

import copy
import math
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from distilled_experts.errors import TrainingError
from distilled_experts.probing import plain_numbers
from distilled_experts.transformers.random_state import seeded

__all__ = ["BestEpoch", "Curves", "train_to_best_epoch"]

_ARGUMENTS: Mapping[str, Any] = {
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.1,
    "eval_strategy": "epoch",
    "logging_strategy": "epoch",
    "save_strategy": "no",
    "remove_unused_columns": False,
    "dataloader_pin_memory": False,
    "report_to": "none",
    "disable_tqdm": True,
}


@dataclass
class Curves:
    """Losses by epoch, the epoch (from 1) with the lowest validation loss, and how long the training took."""

    train_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    best_epoch: int = 0
    seconds: float = 0.0

    def to_dict(self) -> dict[str, list[float | None]]:
        """Losses as plain values; None for those that are no numbers."""
        return {name: plain_numbers(getattr(self, name)) for name in ("train_loss", "validation_loss")}


class BestEpoch(TrainerCallback):
    """Notes the losses that a Trainer logs after each epoch, and keeps the weights that were best on validation data.

    Parameters
    ----------
    model : Module
        The one that is trained.
    curves : Curves
        Is filled.
    metric : str
        Name of the validation loss in the log.
    after_epoch : callable, optional
        Called with the number of epochs done.
    """

    def __init__(
        self,
        model: nn.Module,
        curves: Curves,
        *,
        metric: str = "eval_loss",
        after_epoch: Callable[[int], None] | None = None,
    ) -> None:
        self.model = model
        self.curves = curves
        self.after_epoch = after_epoch
        self._columns = {"loss": curves.train_loss, metric: curves.validation_loss}
        self._best: dict[str, Tensor] = {}
        self._lowest = math.inf

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Note the losses."""
        for name, losses in self._columns.items():
            if logs is not None and name in logs:
                losses.append(logs[name])

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Keep the weights if they are the best so far."""
        losses = self.curves.validation_loss
        if losses[-1] <= self._lowest:
            self._lowest = losses[-1]
            self._best = copy.deepcopy(self.model.state_dict())
            self.curves.best_epoch = len(losses)
        if self.after_epoch is not None:
            self.after_epoch(len(losses))

    def restore(self) -> None:
        """Give the model its best weights.

        Raises
        ------
        TrainingError
            The validation loss was never finite.
        """
        if not self._best:
            raise TrainingError("the validation loss was never finite; a smaller learning rate or α may help")
        self.model.load_state_dict(self._best)


def train_to_best_epoch(
    model: nn.Module,
    arguments: Mapping[str, Any],
    *,
    seed: int,
    metric: str = "eval_loss",
    after_epoch: Callable[[int], None] | None = None,
    **trainer: Any,
) -> Curves:
    """Train a model, which then has the weights of the epoch with the lowest validation loss.

    The learning rate rises in the first tenth of the steps, and falls to zero as a cosine. Nothing is written.

    Parameters
    ----------
    model : Module
    arguments : mapping
        Further ones of `transformers.TrainingArguments`.
    seed : int
        Of all that is random in the training.
    metric, after_epoch
        As in `BestEpoch`.
    **trainer
        Further arguments of `transformers.Trainer`.

    Raises
    ------
    TrainingError
        The validation loss was never finite.
    """
    start = time.perf_counter()
    curves = Curves()
    best = BestEpoch(model, curves, metric=metric, after_epoch=after_epoch)
    with seeded(seed), tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(output_dir=folder, seed=seed, **_ARGUMENTS, **arguments)
        training = Trainer(model, settings, callbacks=[best], **trainer)
        training.remove_callback(PrinterCallback)
        training.train()
    best.restore()
    curves.seconds = time.perf_counter() - start
    return curves
