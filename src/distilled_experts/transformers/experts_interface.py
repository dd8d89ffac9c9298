"""Experts that are one module, called with tokens, the chosen experts and their weights.

Legend: T tokens, E experts, k active, C compared, D width of the model.

The module is called with tokens (T, D), the chosen experts (T, k) and their weights (T, k), and returns the mixture
(T, D). Called with every token C times, each time with one expert and the weight one, the same module returns what
each expert says: (T · C, D). So whatever computes the experts, grouped products or a loop, stays in charge, and so does
whatever carries tokens to experts on other processes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from distilled_experts.transformers.mixtures import Distiller, Mixture, TokenRouting, call_arguments
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

    def watch(self, note: Callable[[TokenRouting], None]) -> list[RemovableHandle]:
        """Hooks that tell who works on the tokens of each call."""

        def read(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            note(self.read(*call_arguments(layer, args, kwargs)))

        return [self.layer.register_forward_pre_hook(read, with_kwargs=True)]

    def force(self, expert: int, note: Callable[[Tensor], None]) -> list[RemovableHandle]:
        """Hooks that send every token to one expert alone, and tell what it says (T, D) in each call."""
        pending: list[tuple[Tensor, torch.Size]] = []

        def send(
            layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
            arguments = call_arguments(layer, args, kwargs)
            hidden, routing = arguments[0], self.read(*arguments)
            pending.append((routing.kept_weights.sum(-1, keepdim=True), hidden.shape))
            chosen = torch.full_like(routing.indices[:, :1], expert)
            served = None if routing.served is None else routing.served.unsqueeze(-1)
            alone = TokenRouting(chosen, torch.ones_like(routing.weights[:, :1]), served)
            return self.write(hidden.reshape(-1, hidden.shape[-1]), alone), {}

        def weigh(layer: nn.Module, args: tuple[Any, ...], said: Tensor) -> Tensor:
            weight_T1, shape = pending.pop()
            rows = said.reshape(-1, said.shape[-1])
            note(rows)
            return (rows * weight_T1.to(rows.dtype)).reshape(shape)

        return [
            self.layer.register_forward_pre_hook(send, with_kwargs=True),
            self.layer.register_forward_hook(weigh, prepend=True),
        ]

    def read(self, hidden: Tensor, indices: Tensor, weights: Tensor) -> TokenRouting:
        """Routing of a call."""
        return TokenRouting(indices, weights)

    def write(self, rows: Tensor, routing: TokenRouting) -> tuple[Tensor, ...]:
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
        arguments = call_arguments(layer, args, kwargs)
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

    def read(self, hidden: Tensor, indices: Tensor, weights: Tensor) -> TokenRouting:
        """Routing of a call."""
        return TokenRouting(indices.argmax(-1), weights, indices.any(-1))

    def write(self, rows: Tensor, routing: TokenRouting) -> tuple[Tensor, ...]:
        """Arguments of a call with one expert a row."""
        one_hot = F.one_hot(routing.indices.reshape(-1, 1), self.n_experts)
        if routing.kept is not None:
            one_hot = one_hot * routing.kept.reshape(-1, 1, 1)
        return rows, one_hot, routing.weights.new_ones(len(rows), 1)


class SlotMixture(ExpertsMixture):
    """NLLB: (T, E) slots, of which at most two have a weight; a slot's entry is the expert that works for it."""

    may_be_spread: ClassVar[bool] = False

    def read(self, hidden: Tensor, indices: Tensor, weights: Tensor) -> TokenRouting:
        """Routing of the two slots."""
        slots = weights.detach().topk(2).indices
        weights = weights.gather(-1, slots)
        return TokenRouting(indices.gather(-1, slots), weights, weights > 0)
