"""Mixtures of experts inside models of Transformers: what distillation asks of them.

Legend: T tokens, E experts, k active, C compared, D width of the model.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from distilled_experts.errors import InvalidParameterError
from distilled_experts.layers.scope import extra_experts
from distilled_experts.transformers.forward_pass import ForwardPass
from distilled_experts.transformers.tokens import Side, Tokens


class TokenRouting(NamedTuple):
    """Who works on each token.

    Attributes
    ----------
    indices : Tensor (T, k) of int64
    weights : Tensor (T, k)
    kept : Tensor (T, k) of bool, or None
        False: the expert had no room left for this token. None: all are kept.
    """

    indices: Tensor
    weights: Tensor
    kept: Tensor | None = None

    @property
    def served(self) -> Tensor | None:
        """Tokens (T) that some expert had room for; None: all."""
        return None if self.kept is None else self.kept.any(-1)

    @property
    def kept_weights(self) -> Tensor:
        """Weights (T, k), zero where the expert had no room."""
        return self.weights if self.kept is None else self.weights * self.kept

    def dense_weights(self, n_experts: int) -> Tensor:
        """Weights of all experts (T, E), zero for those that do not work on the token."""
        weights = self.kept_weights
        return weights.new_zeros(len(weights), n_experts).scatter_add(-1, self.indices, weights)

    def with_others(self, n_experts: int, n_extra: int) -> TokenRouting:
        """Add random experts that are not active, with a weight of zero: C = k + n_extra."""
        if n_extra == 0:
            return self
        lots_TE = torch.rand(len(self.indices), n_experts, device=self.indices.device)
        others = lots_TE.scatter(-1, self.indices, -1).topk(n_extra).indices
        # A token that no expert had room for takes no part at all.
        kept = None if self.kept is None else torch.cat([self.kept, self.kept.any(-1, True).expand_as(others)], -1)
        weights = torch.cat([self.weights, torch.zeros_like(others, dtype=self.weights.dtype)], -1)
        return TokenRouting(torch.cat([self.indices, others], -1), weights, kept)


class Mixture(ABC):
    """A mixture of experts in a model, and the hooks that make its experts speak one by one.

    Parameters
    ----------
    name : str
        Of the layer in the model.
    layer : Module
        What holds the experts.

    Attributes
    ----------
    may_be_spread : bool
        Whether the layer brings home what experts on other processes say.
    weighs_inputs : bool
        Whether tokens are multiplied with the weights before the experts run, not what the experts say of them.
    """

    may_be_spread: ClassVar[bool] = False
    weighs_inputs: ClassVar[bool] = False

    def __init__(self, name: str, layer: Any) -> None:
        self.name = name
        self.layer = layer

    @abstractmethod
    def connect(self, distiller: Distiller) -> list[RemovableHandle]:
        """Put the hooks in place."""

    @abstractmethod
    def watch(self, note: Callable[[TokenRouting], None]) -> list[RemovableHandle]:
        """Hooks that tell who works on the tokens of each call."""

    @abstractmethod
    def force(self, expert: int, note: Callable[[Tensor], None]) -> list[RemovableHandle]:
        """Hooks that send every token to one expert alone, and tell what it says (T, D) in each call."""

    def check(self, scope: str) -> None:
        """Raise an error where these experts cannot be compared as they are."""
        if self.is_spread and not self.may_be_spread:
            allowed = f"models whose experts are not spread over processes, as those of {self.name} are"
            raise InvalidParameterError("model", type(self.layer).__name__, allowed)
        extra_experts(scope, self.n_experts, 1)

    @property
    def is_spread(self) -> bool:
        """Whether each process has experts of its own."""
        return bool(getattr(self.layer, "_is_expert_parallel", False))

    @property
    def n_experts(self) -> int:
        """E, those of all processes."""
        # What the layer itself counts are the experts of this process.
        return int(next(self.layer.parameters()).shape[0] if self.is_spread else self.layer.num_experts)

    @property
    def side(self) -> Side:
        """Which of the batch's tokens it gets."""
        return side_of(self.name)


class Distiller(Protocol):
    """What a mixture's hooks turn to."""

    def pass_of(self, mixture: Mixture) -> ForwardPass | None:
        """Open pass in which a mixture distils; None where it does not."""

    def compared(self, mixture: Mixture, routing: TokenRouting) -> TokenRouting:
        """Active experts of each token, and those that are to be compared with them."""

    def mix(self, mixture: Mixture, said_TCD: Tensor, routing: TokenRouting) -> tuple[Tensor, Tensor]:
        """Mixture (T, D) and distillation loss () of what the compared experts said."""


def call_arguments(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """All arguments of a call in the order of the layer's forward."""
    return inspect.signature(layer.forward).bind(*args, **kwargs).args if kwargs else args


def counted_tokens(mixture: Mixture, routing: TokenRouting, tokens: Tokens) -> Tensor | None:
    """Mask (T) of a mixture's tokens that are no padding, and that some expert had room for; None: all."""
    counted, served = tokens.weight(mixture.side, len(routing.indices)), routing.served
    if counted is None or served is None:
        return served if counted is None else counted
    return counted & served


def side_of(name: str) -> Side:
    """Tell which of a batch's tokens a module of this name gets."""
    parts = name.split(".")
    kinds: dict[str, Side] = {"encoder": "encoder", "text_moe": "text", "vision_moe": "vision"}
    return next((side for part, side in kinds.items() if part in parts), "decoder")
