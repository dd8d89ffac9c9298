"""For Trainers that calculate the loss themselves: label smoothing and ``compute_loss_func``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from distilled_experts.transformers.distillation import Distillation

if TYPE_CHECKING:
    from transformers import Trainer
else:
    Trainer = object


class DistillationTrainerMixin(Trainer):
    """Adds the distillation loss where a Trainer takes the labels away from the model.

    With ``label_smoothing_factor`` or ``compute_loss_func``, the model gets no labels and returns no loss that could
    carry the gradient of distillation. Put this class before a Trainer; without such losses it changes nothing.

    Examples
    --------
    >>> from transformers import Trainer
    >>> class DistillationTrainer(DistillationTrainerMixin, Trainer):
    ...     pass
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("label_smoother", "compute_loss_func"):
            loss = getattr(self, name)
            if loss is not None:
                setattr(self, name, _WithDistillation(loss))

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Calculate the loss as the Trainer does; distillation is told what the model is not."""
        distillation = Distillation.of(model)
        if distillation is None:
            return super().compute_loss(model, inputs, *args, **kwargs)
        told = {"labels": inputs.get("labels"), "num_items_in_batch": kwargs.get("num_items_in_batch")}
        with distillation.passes.told(told):
            return super().compute_loss(model, inputs, *args, **kwargs)


class _WithDistillation:
    """A loss of outputs and labels, plus the distillation loss that the outputs carry in training."""

    def __init__(self, loss: Callable[..., Tensor]) -> None:
        self.loss = loss

    def __call__(self, outputs: Any, *args: Any, **kwargs: Any) -> Tensor:
        distillation: Tensor | None = getattr(outputs, "distillation_loss", None)
        loss = self.loss(outputs, *args, **kwargs)
        return loss if distillation is None else loss + distillation
