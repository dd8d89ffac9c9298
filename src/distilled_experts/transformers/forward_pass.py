"""One forward pass in training: it collects losses inside a model and gives them the gradient that they are due.

A loss that is simply added inside a model is scaled wrongly as soon as a training loop divides or multiplies the loss
that the model returns: gradient accumulation, several processes, gradient scalers. Here the loss that leaves the model
goes through an identity that notes, on the way back, which gradient it receives. This is known before any layer's
backward runs, and it is the factor by which every loss inside has to be multiplied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from distilled_experts.errors import TrainingError
from distilled_experts.transformers.tokens import Tokens


class ForwardPass:
    """What the layers of one forward pass need, and what they leave behind.

    Parameters
    ----------
    strengths : mapping of Module to float
        Strength α of each layer that distils in this pass.
    tokens : Tokens
        Which tokens count, and what their sum is divided by.
    name : str
        Of the loss, as in ``outputs.<name>_loss``.

    Attributes
    ----------
    losses : dict of Module to Tensor ()
        The loss of each layer that ran, before it is multiplied with α; detached.
    pending : dict of Module to object
        What a layer keeps from its begin to its end.
    """

    def __init__(self, strengths: Mapping[nn.Module, float], tokens: Tokens, name: str = "distillation") -> None:
        self.strengths = strengths
        self.tokens = tokens
        self.name = name
        self.losses: dict[nn.Module, Tensor] = {}
        self.pending: dict[nn.Module, Any] = {}
        self._scale: Tensor | None = None
        self._returned = False

    def add(self, layer: nn.Module, output: Tensor, loss: Tensor) -> Tensor:
        """Let the gradient of a layer's loss flow in where the gradient of the layer's output flows.

        Parameters
        ----------
        layer : Module
            One of those with a strength.
        output : Tensor
            What the layer is about to return; nothing else may hold it.
        loss : Tensor ()
            The layer's loss.

        Returns
        -------
        Tensor
            The output.
        """
        self.losses[layer] = loss.detach()
        carried: Callable[..., Tensor] = _CarryLoss.apply
        return carried(output, self.strengths[layer] * loss, self)

    def total(self) -> Tensor:
        """Sum of the layers' losses, each times its strength; zero where none ran."""
        parts = [self.strengths[layer] * loss for layer, loss in self.losses.items()]
        return torch.stack([part.to(parts[0].device) for part in parts]).sum() if parts else torch.zeros(())

    def leave(self, loss: Tensor, *anchors: Tensor) -> Tensor:
        """Copy of a loss () whose incoming gradient becomes the scale of this pass.

        `anchors` are other results of the pass. Where the loss itself does not depend on the layers, they make sure
        that its gradient is known before that of any layer.
        """
        noted: Callable[..., Tensor] = _NoteScale.apply
        return noted(self, loss, *anchors)

    def begin_backward(self, scale: Tensor) -> None:
        """Note the gradient of the loss that left the pass, for the backward pass that has just begun."""
        self._scale, self._returned = scale, True
        # Another backward pass through the same layers, for a gradient of a gradient, need not contain the loss.
        torch.autograd.Variable._execution_engine.queue_callback(self._end_backward)

    def _end_backward(self) -> None:
        self._scale = None

    def gradient(self) -> Tensor | None:
        """Gradient of each layer's loss in the backward pass that is under way.

        Raises
        ------
        TrainingError
            The loss that left the pass was never part of a backward pass.
        """
        if not self._returned:
            raise TrainingError(
                f"{self.name}: the backward pass does not contain the loss that the model returned; use outputs.loss, "
                f"or call the model without labels and add outputs.{self.name}_loss to your own loss "
                "(DistillationTrainerMixin does so for a Trainer's label smoothing and compute_loss_func)"
            )
        return self._scale


class _CarryLoss(Function):
    """An output that carries a loss: (output, loss, pass) → output."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, loss: Tensor, forward_pass: ForwardPass) -> Tensor:
        """Hand on the output itself; as a view it could not be changed in place, which some models do."""
        ctx.forward_pass = forward_pass
        ctx.set_materialize_grads(False)
        ctx.mark_dirty(output)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, None]:
        """The loss receives the scale of its pass."""
        return gradients[0], ctx.forward_pass.gradient(), None


class _NoteScale(Function):
    """Identity of a loss that notes its incoming gradient: (pass, loss, *anchors) → loss."""

    @staticmethod
    def forward(ctx: Any, forward_pass: ForwardPass, loss: Tensor, *anchors: Tensor) -> Tensor:
        """Copy, because trainers scale the loss in place."""
        ctx.forward_pass = forward_pass
        ctx.n_anchors = len(anchors)
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Note the scale."""
        ctx.forward_pass.begin_backward(gradients[0])
        return None, gradients[0], *[None] * ctx.n_anchors


class PassStack:
    """The passes of a model that are open, the innermost one last; None where a pass does not distil."""

    def __init__(self) -> None:
        self._open: list[ForwardPass | None] = []

    def push(self, forward_pass: ForwardPass | None) -> None:
        """Open a pass."""
        self._open.append(forward_pass)

    def replace(self, forward_pass: ForwardPass) -> None:
        """Open another pass in the place of the innermost one."""
        self._open[-1] = forward_pass

    def pop(self) -> ForwardPass | None:
        """Close the innermost pass."""
        return self._open.pop()

    def current(self) -> ForwardPass | None:
        """Innermost open pass."""
        return self._open[-1] if self._open else None

    @contextmanager
    def reopened(self, forward_pass: ForwardPass) -> Iterator[None]:
        """Open a pass once more: a checkpoint computes a part of it again during the backward pass."""
        self.push(forward_pass)
        try:
            yield
        finally:
            self.pop()
