"""Experts as what they all are: a linear map up, an activation, a linear map down.

Legend: E experts, R tokens of one expert, D width of the model, H hidden units, Z what the way up gives: H, or 2H.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import repeat
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Parameter

from distilled_experts.transformers.mixtures import Mixture

Map = Callable[[Tensor], Tensor]


class Gradients(NamedTuple):
    """Of single tokens by the maps of an expert, as factors: each gradient is the outer product of two rows.

    Attributes
    ----------
    inputs, hidden : Tensor (R, D), (R, H)
        What goes into the maps.
    up, down : Tensor (R, Z), (R, D)
        Gradients by what comes out of them.
    """

    inputs: Tensor
    hidden: Tensor
    up: Tensor
    down: Tensor


class FeedForward(NamedTuple):
    """One expert, detached.

    Attributes
    ----------
    up, down : Tensor (Z, D), (D, H)
    up_bias, down_bias : Tensor (Z), (D), or None
    activation : callable
        (R, Z) → (R, H).
    finish : callable
        What comes behind the maps.
    """

    up: Tensor
    up_bias: Tensor | None
    down: Tensor
    down_bias: Tensor | None
    activation: Map
    finish: Map

    @torch.no_grad()
    def __call__(self, x_RD: Tensor) -> Tensor:
        """What the expert says (R, D) about tokens."""
        hidden_RH = self.activation(F.linear(x_RD, self.up, self.up_bias))
        return self.finish(F.linear(hidden_RH, self.down, self.down_bias))

    def gradients(self, x_RD: Tensor, upstream_RD: Tensor) -> Gradients:
        """Gradients by the maps, from those by what the expert says about tokens."""
        up_RZ = F.linear(x_RD, self.up, self.up_bias).requires_grad_()
        with torch.enable_grad():
            hidden_RH = self.activation(up_RZ)
            down_RD = F.linear(hidden_RH, self.down, self.down_bias)
            said_RD = self.finish(down_RD)
        by_up, by_down = torch.autograd.grad(said_RD, (up_RZ, down_RD), upstream_RD.to(said_RD.dtype))
        return Gradients(x_RD, hidden_RH.detach(), by_up, by_down)


def _nothing(said: Tensor) -> Tensor:
    return said


def are_feed_forwards(mixture: Mixture) -> bool:
    """Whether the experts of a mixture can be read: they have weights, in a layout that is known."""
    layer = mixture.layer
    names = _up_name(layer), "down_proj"
    known = type(layer).__name__ in _KINDS or all(isinstance(getattr(layer, name, None), Tensor) for name in names)
    # Quantised and distributed weights are of classes of their own.
    return known and all(type(one) is Parameter and one.is_floating_point() for one in layer.parameters())


def feed_forwards(mixture: Mixture) -> list[FeedForward]:
    """Give the experts of a mixture that `are_feed_forwards`, with the weights that they have now.

    Adapters of PEFT change weights for the length of a call alone: within it, this gives the changed ones.
    """
    return _KINDS.get(type(mixture.layer).__name__, _stacked)(mixture.layer)


def _stacked(layer: Any) -> list[FeedForward]:
    """Weights of all experts in one parameter, as on the experts interface."""
    names = _up_name(layer), "down_proj"
    up, down = (getattr(layer, name) for name in names)
    if getattr(layer, "is_transposed", False):
        up, down = up.mT, down.mT
    biases = [getattr(layer, f"{name}_bias") if getattr(layer, "has_bias", False) else None for name in names]
    activation = layer._apply_gate if getattr(layer, "has_gate", True) else layer.act_fn
    finish = layer.post_expert_norm if getattr(layer, "has_post_expert_norm", False) else _nothing
    return _each(up, down, activation, finish, *biases)


def _up_name(layer: Any) -> str:
    return "gate_up_proj" if getattr(layer, "has_gate", True) else "up_proj"


def _dbrx(layer: Any) -> list[FeedForward]:
    """Rows of all experts one after the other, the way down transposed."""
    experts = layer.mlp
    gate, up, down = (weight.unflatten(0, (layer.num_experts, -1)) for weight in (experts.w1, experts.v1, experts.w2))
    return _each(torch.cat([gate, up], 1), down.mT, _gate_first(experts.activation_fn))


def _jetmoe(layer: Any) -> list[FeedForward]:
    return _each(layer.input_linear.weight, layer.output_linear.weight, _gate_first(layer.activation))


def _llama4(layer: Any) -> list[FeedForward]:
    experts = layer.experts
    return _each(experts.gate_up_proj.mT, experts.down_proj.mT, _gate_first(experts.act_fn))


def _switch(layer: Any) -> list[FeedForward]:
    return [_linear(expert.wi, expert.wo, expert.act, _nothing) for expert in _named(layer)]


def _nllb(layer: Any) -> list[FeedForward]:
    """In evaluation NLLB makes smaller what dropout makes smaller in training."""
    kept = 1 - layer.moe_token_dropout
    return [_linear(expert.fc1, expert.fc2, expert.act, lambda said: said * kept) for expert in _named(layer)]


_KINDS: dict[str, Callable[[Any], list[FeedForward]]] = {
    "DbrxExperts": _dbrx,
    "JetMoeMoE": _jetmoe,
    "Llama4TextMoe": _llama4,
    "NllbMoeExperts": _nllb,
    "SwitchTransformersExperts": _switch,
}


def _named(layer: Any) -> list[Any]:
    return [layer[f"expert_{i}"] for i in range(layer.num_experts)]


def _linear(up: Any, down: Any, activation: Map, finish: Map) -> FeedForward:
    up_bias, down_bias = (None if map_.bias is None else map_.bias.detach() for map_ in (up, down))
    return FeedForward(up.weight.detach(), up_bias, down.weight.detach(), down_bias, activation, finish)


def _each(
    up: Tensor,
    down: Tensor,
    activation: Map,
    finish: Map = _nothing,
    up_bias: Tensor | None = None,
    down_bias: Tensor | None = None,
) -> list[FeedForward]:
    """Take stacks (E, ...) apart."""
    parts = zip(_unbound(up), _unbound(up_bias), _unbound(down), _unbound(down_bias), strict=False)
    return [FeedForward(*part, activation, finish) for part in parts]


def _unbound(stack: Tensor | None) -> Iterable[Any]:
    return repeat(None) if stack is None else stack.detach().unbind()


def _gate_first(activation: Map) -> Map:
    def gated(up_RZ: Tensor) -> Tensor:
        gate, value = up_RZ.chunk(2, -1)
        return activation(gate) * value

    return gated
