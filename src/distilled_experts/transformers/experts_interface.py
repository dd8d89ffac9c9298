"""Experts that are one module, called with tokens, the chosen experts and their weights.

Legend: T tokens, E experts, k active, C compared, D width of the model.

The module is called with tokens (T, D), the chosen experts (T, k) and their weights (T, k), and returns the mixture
(T, D). Called with every token C times, each time with one expert and the weight one, the same module returns what
each expert says: (T · C, D). So whatever computes the experts, grouped products or a loop, stays in charge, and so does
whatever carries tokens to experts on other processes.
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from distilled_experts.transformers.mixtures import Distiller, Mixture, Routing
from distilled_experts.transformers.passes import uncompiled


class ExpertsMixture(Mixture):
    """Experts on the interface of Transformers, and those that are called in the same way."""

    may_be_spread: ClassVar[bool] = True

    def connect(self, distiller: Distiller) -> list[RemovableHandle]:
        """Put the hooks in place."""
        return [
            self.layer.register_forward_pre_hook(partial(self._expand, distiller), with_kwargs=True),
            # First, so that other hooks see the mixture.
            self.layer.register_forward_hook(partial(self._mix, distiller), prepend=True),
        ]

    def read(self, hidden: Tensor, indices: Tensor, weights: Tensor) -> Routing:
        """Routing of a call."""
        return Routing(indices, weights)

    def write(self, rows: Tensor, routing: Routing) -> tuple[Tensor, ...]:
        """Arguments of a call in which row t · C + i goes to expert (t, i) alone, with the weight one."""
        return rows, routing.indices.reshape(-1, 1), routing.weights.new_ones(len(rows), 1)

    @uncompiled
    def _expand(
        self, distiller: Distiller, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Tensor, ...], dict[str, Any]] | None:
        """Before the experts run: every token C times, each time for one expert."""
        forward_pass = distiller.pass_of(self)
        if forward_pass is None:
            return None
        arguments = inspect.signature(layer.forward).bind(*args, **kwargs).args if kwargs else args
        routing = distiller.compared(self, self.read(*arguments))
        hidden = arguments[0]
        forward_pass.pending[layer] = routing, hidden.shape
        rows = hidden.reshape(-1, hidden.shape[-1]).repeat_interleave(routing.indices.shape[-1], 0)
        return self.write(rows, routing), {}

    @uncompiled
    def _mix(self, distiller: Distiller, layer: nn.Module, args: tuple[Any, ...], rows: Tensor) -> Tensor | None:
        """After the experts ran: mix what they said, and distil."""
        forward_pass = distiller.pass_of(self)
        if forward_pass is None:
            return None
        routing, shape = forward_pass.pending.pop(layer)
        output_TD, loss = distiller.mix(self, rows.reshape(*routing.weights.shape, -1), routing)
        carried_TD = forward_pass.add(layer, output_TD, loss)
        # FSDP warns of views.
        return carried_TD if carried_TD.shape == shape else carried_TD.reshape(shape)


class OneHotMixture(ExpertsMixture):
    """Switch Transformers: the chosen expert as one-hot vector (T, 1, E), all zero where it has no room left."""

    may_be_spread: ClassVar[bool] = False

    def read(self, hidden: Tensor, indices: Tensor, weights: Tensor) -> Routing:
        """Routing of a call."""
        return Routing(indices.argmax(-1), weights, indices.any(-1))

    def write(self, rows: Tensor, routing: Routing) -> tuple[Tensor, ...]:
        """Arguments of a call with one expert a row."""
        one_hot = F.one_hot(routing.indices.reshape(-1, 1), self.n_experts)
        if routing.kept is not None:
            one_hot = one_hot * routing.kept.reshape(-1, 1, 1)
        return rows, one_hot, routing.weights.new_ones(len(rows), 1)


class SlotMixture(ExpertsMixture):
    """NLLB: (T, E) slots, of which at most two have a weight; a slot's entry is the expert that works for it."""

    may_be_spread: ClassVar[bool] = False

    def read(self, hidden: Tensor, indices: Tensor, weights: Tensor) -> Routing:
        """Routing of the two slots."""
        slots = weights.detach().topk(2).indices
        weights = weights.gather(-1, slots)
        return Routing(indices.gather(-1, slots), weights, weights > 0)
