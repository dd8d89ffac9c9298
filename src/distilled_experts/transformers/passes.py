"""The forward passes of a model in training: opened before it runs, closed with what it returns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from distilled_experts.errors import TrainingError
from distilled_experts.transformers.checkpointing import Checkpoints
from distilled_experts.transformers.forward_pass import ForwardPass, PassStack
from distilled_experts.transformers.outputs import report
from distilled_experts.transformers.tokens import tokens_of_batch

Hook = TypeVar("Hook", bound=Callable[..., Any])


def uncompiled(hook: Hook) -> Hook:
    """Keep a hook out of compiled graphs: what it finds out in one pass must not become a constant of all."""
    disabled: Hook = torch.compiler.disable(hook)
    return disabled


class ModelPasses:
    """Opens a pass whenever a model is called in training, and reports its losses in what the model returns.

    Parameters
    ----------
    model : Module
        The one that is called in training.
    name : str
        Of the loss: the outputs get ``<name>_loss`` and ``<name>_losses``.
    layers : mapping of int to Module
        Those with a loss, by their number in the model.
    strengths : callable
        Gives the strength of each layer that has a loss now.
    """

    def __init__(
        self,
        model: nn.Module,
        name: str,
        layers: Mapping[int, nn.Module],
        strengths: Callable[[], Mapping[nn.Module, float]],
    ) -> None:
        self.model = model
        self.name = name
        self.layers = dict(layers)
        self._strengths = strengths
        self._told: dict[str, Any] = {}
        self._stack = PassStack()
        self._checkpoints = Checkpoints(model, self._stack)

    def connect(self) -> list[RemovableHandle]:
        """Put the hooks in place."""
        return [
            self.model.register_forward_pre_hook(self._open, with_kwargs=True),
            # First: what was opened last is closed first.
            self.model.register_forward_hook(self._close, always_call=True, prepend=True),
        ]

    @contextmanager
    def told(self, arguments: Mapping[str, Any]) -> Iterator[None]:
        """Take these for arguments of the model's forward, where it is called without them."""
        self._told = dict(arguments)
        try:
            yield
        finally:
            self._told = {}

    def of(self, layer: nn.Module) -> ForwardPass | None:
        """Give the open pass in which a layer has a loss; None where it has none.

        Raises
        ------
        TrainingError
            The layer is trained, but not by a call of the model.
        """
        if not layer.training:
            return None
        forward_pass = self._stack.current()
        if forward_pass is not None:
            return forward_pass if layer in forward_pass.strengths else None
        if torch.is_grad_enabled():
            raise TrainingError(
                f"{self.name}: a mixture is trained outside a forward pass of {type(self.model).__name__}; "
                "call that model itself, and checkpoint with its activation_checkpointing_enable"
            )
        return None

    @uncompiled
    def _open(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # Before anything can go wrong: what was opened is always closed.
        self._stack.push(None)
        if model is not self.model:
            raise TrainingError(f"{self.name}: replicas of a model cannot be trained; use DistributedDataParallel")
        if not (model.training and torch.is_grad_enabled()):
            return
        tokens = tokens_of_batch(model, {**self._told, **_arguments(model.forward, args, kwargs)})
        forward_pass = ForwardPass(self._strengths(), tokens, self.name)
        self._checkpoints.bind(forward_pass)
        self._stack.replace(forward_pass)

    @uncompiled
    def _close(self, model: nn.Module, args: tuple[Any, ...], outputs: Any) -> Any:
        forward_pass = self._stack.pop()
        if forward_pass is None:
            return None
        self._checkpoints.release()
        if outputs is None:
            return None
        losses = {i: forward_pass.losses.get(layer) for i, layer in self.layers.items()}
        return report(outputs, forward_pass, {i: loss for i, loss in losses.items() if loss is not None})


def _arguments(forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a call by name."""
    positional = inspect.signature(forward).bind_partial(*args).arguments if args else {}
    return {**positional, **kwargs}
