"""Look into a mixture inside a larger model, or take its routing over, for the length of a ``with`` block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from distilled_experts.checks import check_whole
from distilled_experts.layers.mixture import MixtureOfExperts
from distilled_experts.layers.output import MoEOutput, Routing

__all__ = ["Call", "forced_expert", "forced_routing", "recorded_calls"]


@contextmanager
def forced_routing(layer: MixtureOfExperts, route: Callable[[Tensor], Routing]) -> Iterator[None]:
    """Replace the decisions of one layer's gate; every other part of the model works as ever.

    Parameters
    ----------
    layer : MixtureOfExperts
        Anywhere in a model.
    route : callable
        From the layer's input (*, d_in) to the routing that it takes instead of its gate's.

    Examples
    --------
    >>> layer = MixtureOfExperts(4, 2, hidden=8, n_experts=3)
    >>> even = lambda x: Routing(x.new_zeros(len(x), 3), x.new_full((len(x), 3), 1 / 3))
    >>> with forced_routing(layer, even):
    ...     layer(torch.ones(1, 4)).routing.weights
    tensor([[0.3333, 0.3333, 0.3333]])
    """

    def replace(_: object, inputs: tuple[Any, ...], options: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return inputs, {**options, "routing": route(_input(inputs, options))}

    handle = layer.register_forward_pre_hook(replace, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def forced_expert(layer: MixtureOfExperts, expert: int) -> Iterator[None]:
    """Send every sample of one layer to one expert alone; shared experts are added as ever.

    Parameters
    ----------
    layer : MixtureOfExperts
    expert : int
        From 0 to E − 1.

    Raises
    ------
    InvalidParameterError
        The layer has no such expert.

    Examples
    --------
    >>> layer = MixtureOfExperts(4, 2, hidden=8, n_experts=3)
    >>> x = torch.ones(1, 4)
    >>> with forced_expert(layer, 1):
    ...     alone = layer(x).output
    >>> torch.allclose(alone, layer.experts(x)[:, 1])
    True
    """
    check_whole("expert", expert, 0, layer.n_experts - 1)

    def route(x: Tensor) -> Routing:
        chosen = torch.full((*x.shape[:-1], 1), expert, device=x.device)
        return Routing(x.new_zeros(*x.shape[:-1], layer.n_experts), x.new_ones(chosen.shape), chosen)

    with forced_routing(layer, route):
        yield


class Call(NamedTuple):
    """One call of a layer: its input (*, d_in) and what it returned."""

    x: Tensor
    out: MoEOutput


@contextmanager
def recorded_calls(layer: MixtureOfExperts) -> Iterator[list[Call]]:
    """The calls of one layer, as they come.

    Examples
    --------
    >>> layer = MixtureOfExperts(4, 2, hidden=8, n_experts=3)
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 4), layer)
    >>> with recorded_calls(layer) as calls:
    ...     _ = model(torch.ones(5, 4))
    >>> [call.out.routing.weights.shape for call in calls]
    [torch.Size([5, 3])]
    """
    calls: list[Call] = []

    def record(_: object, inputs: tuple[Any, ...], options: dict[str, Any], out: MoEOutput) -> None:
        calls.append(Call(_input(inputs, options), out))

    handle = layer.register_forward_hook(record, with_kwargs=True)
    try:
        yield calls
    finally:
        handle.remove()


def _input(inputs: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
    x: Tensor = inputs[0] if inputs else options["x"]
    return x
