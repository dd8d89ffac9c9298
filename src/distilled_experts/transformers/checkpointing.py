"""Checkpointed layers run again in the backward pass, where they have to find the forward pass that they belong to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from distilled_experts.transformers.forward_pass import ForwardPass, PassStack

# Where modules keep the function that checkpoints them: layers of Transformers, PyTorch's wrapper of any module.
_FUNCTION_NAMES = ("_gradient_checkpointing_func", "checkpoint_fn")


class Checkpoints:
    """The functions that checkpoint the layers of a model, tied to a forward pass while it is open.

    Parameters
    ----------
    model : Module
    passes : PassStack
        Where a pass is opened again.
    """

    def __init__(self, model: nn.Module, passes: PassStack) -> None:
        self.model = model
        self.passes = passes
        self._bound: list[list[tuple[nn.Module, str, Callable[..., Any]]]] = []

    def bind(self, forward_pass: ForwardPass) -> None:
        """Let all that is checkpointed from now on run in this pass, also when it runs again."""
        bound = [
            (module, name, module.__dict__[name])
            for module in self.model.modules()
            for name in _FUNCTION_NAMES
            if name in module.__dict__
        ]
        for module, name, checkpoint in bound:
            setattr(module, name, partial(self._checkpoint, forward_pass, checkpoint))
        self._bound.append(bound)

    def release(self) -> None:
        """Undo the last `bind`."""
        for module, name, checkpoint in self._bound.pop():
            setattr(module, name, checkpoint)

    def _checkpoint(
        self,
        forward_pass: ForwardPass,
        checkpoint: Callable[..., Any],
        function: Callable[..., Any],
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        return checkpoint(partial(self._run, forward_pass, function), *args, **kwargs)

    def _run(self, forward_pass: ForwardPass, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self.passes.reopened(forward_pass):
            return function(*args, **kwargs)
