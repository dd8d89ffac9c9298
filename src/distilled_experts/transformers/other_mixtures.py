"""Mixtures whose experts and routing do not meet in one call.

Legend: T tokens, E experts, k active, D width of the model, S = T · k.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from distilled_experts.errors import InvalidParameterError
from distilled_experts.transformers.mixtures import Distiller, Mixture, TokenRouting
from distilled_experts.transformers.passes import uncompiled


class JetMoeMixture(Mixture):
    """JetMoE: a router that sorts the tokens by expert, and experts that work on the sorted rows."""

    def check(self, scope: str) -> None:
        """Raise an error where these experts cannot be compared as they are."""
        super().check(scope)
        if scope != "active":
            raise InvalidParameterError("scope", scope, "active, for JetMoeMoE, which runs no other experts")

    @property
    def n_experts(self) -> int:
        """E."""
        return int(self.layer.router.num_experts)

    def connect(self, distiller: Distiller) -> list[RemovableHandle]:
        """Put the hooks in place."""
        return [
            self.layer.router.register_forward_hook(partial(self._note, distiller)),
            self.layer.output_linear.register_forward_hook(partial(self._distil, distiller), prepend=True),
        ]

    def watch(self, note: Callable[[TokenRouting], None]) -> list[RemovableHandle]:
        """Hooks that tell who works on the tokens of each call."""

        def read(router: Any, args: tuple[Any, ...], routed: tuple[Any, ...]) -> None:
            logits_Tk, indices_Tk = routed[4].topk(router.top_k)
            note(TokenRouting(indices_Tk, logits_Tk.softmax(-1)))

        return [self.layer.router.register_forward_hook(read)]

    def force(self, expert: int, note: Callable[[Tensor], None]) -> list[RemovableHandle]:
        """Hooks that send every token to one expert alone, and tell what it says (T, D) in each call."""

        def send(router: nn.Module, args: tuple[Any, ...], routed: tuple[Any, ...]) -> tuple[Any, ...]:
            logits_TE = routed[4]
            tokens = torch.arange(len(logits_TE), device=logits_TE.device)
            sizes = [len(tokens) if i == expert else 0 for i in range(self.n_experts)]
            return tokens, tokens, torch.ones_like(routed[2][: len(tokens)]), sizes, logits_TE

        def listen(linear: nn.Module, args: tuple[Any, ...], said: Tensor) -> None:
            note(said)

        layer = self.layer
        return [layer.router.register_forward_hook(send), layer.output_linear.register_forward_hook(listen)]

    @uncompiled
    def _note(self, distiller: Distiller, router: nn.Module, args: tuple[Any, ...], routed: tuple[Any, ...]) -> None:
        forward_pass = distiller.pass_of(self)
        if forward_pass is not None:
            forward_pass.pending[self.layer] = routed

    @uncompiled
    def _distil(self, distiller: Distiller, linear: nn.Module, args: tuple[Any, ...], said_SD: Tensor) -> Tensor | None:
        forward_pass = distiller.pass_of(self)
        if forward_pass is None:
            return None
        order_S, _, weights_S, counts, _ = forward_pass.pending.pop(self.layer)
        place_S: Tensor = order_S.argsort()
        n_active = int(self.layer.router.top_k)
        experts_S = torch.arange(self.n_experts, device=place_S.device).repeat_interleave(
            torch.tensor(counts, device=place_S.device)
        )

        def by_token(sorted_S: Tensor) -> Tensor:
            return sorted_S[place_S].reshape(-1, n_active, *sorted_S.shape[1:])

        routing = distiller.compared(self, TokenRouting(by_token(experts_S), by_token(weights_S)))
        _, loss = distiller.mix(self, by_token(said_SD), routing)
        return forward_pass.add(self.layer, said_SD, loss)


class Llama4Mixture(Mixture):
    """Llama 4: all experts run on all tokens, which are multiplied with the router's scores before, not afterwards.

    What an expert says about a token is its output for the token itself: training runs the experts on these, too.
    """

    weighs_inputs: ClassVar[bool] = True

    def connect(self, distiller: Distiller) -> list[RemovableHandle]:
        """Put the hooks in place."""
        return [
            self.layer.router.register_forward_hook(partial(self._note, distiller)),
            self.layer.experts.register_forward_pre_hook(partial(self._double, distiller)),
            self.layer.experts.register_forward_hook(partial(self._distil, distiller), prepend=True),
        ]

    def watch(self, note: Callable[[TokenRouting], None]) -> list[RemovableHandle]:
        """Hooks that tell who works on the tokens of each call."""

        def read(router: nn.Module, args: tuple[Any, ...], routed: tuple[Tensor, ...]) -> None:
            note(self._read(routed))

        return [self.layer.router.register_forward_hook(read)]

    def force(self, expert: int, note: Callable[[Tensor], None]) -> list[RemovableHandle]:
        """Hooks that send every token to one expert alone, and tell what it says (T, D) in each call."""

        def send(router: nn.Module, args: tuple[Any, ...], routed: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            scores_TE, *others = routed
            alone = torch.zeros_like(scores_TE)
            alone[:, expert] = scores_TE.sum(-1)
            return alone, *others

        def listen(experts: nn.Module, args: tuple[Any, ...], said: Tensor) -> None:
            note(said.unflatten(0, (self.n_experts, -1))[expert])

        layer = self.layer
        return [layer.router.register_forward_hook(send), layer.experts.register_forward_hook(listen)]

    def _read(self, routed: tuple[Tensor, ...]) -> TokenRouting:
        weights_Tk, indices_Tk = routed[0].topk(self.layer.top_k)
        return TokenRouting(indices_Tk, weights_Tk)

    @uncompiled
    def _note(self, distiller: Distiller, router: nn.Module, args: tuple[Tensor], routed: tuple[Tensor, ...]) -> None:
        forward_pass = distiller.pass_of(self)
        if forward_pass is not None:
            forward_pass.pending[self.layer] = args[0], distiller.compared(self, self._read(routed))

    @uncompiled
    def _double(self, distiller: Distiller, experts: nn.Module, args: tuple[Tensor]) -> tuple[Tensor] | None:
        forward_pass = distiller.pass_of(self)
        if forward_pass is None:
            return None
        hidden_TD, _ = forward_pass.pending[self.layer]
        scaled_ETD = args[0].unflatten(0, (self.n_experts, -1))
        return (torch.cat([scaled_ETD, hidden_TD.expand_as(scaled_ETD)], 1).flatten(0, 1),)

    @uncompiled
    def _distil(self, distiller: Distiller, experts: nn.Module, args: tuple[Tensor], both: Tensor) -> Tensor | None:
        forward_pass = distiller.pass_of(self)
        if forward_pass is None:
            return None
        _, routing = forward_pass.pending.pop(self.layer)
        output_ETD, said_ETD = both.unflatten(0, (self.n_experts, -1)).chunk(2, 1)
        chosen_TCD = routing.indices.unsqueeze(-1).expand(*routing.indices.shape, said_ETD.shape[-1])
        _, loss = distiller.mix(self, said_ETD.transpose(0, 1).gather(1, chosen_TCD), routing)
        return forward_pass.add(self.layer, output_ETD.flatten(0, 1), loss)
