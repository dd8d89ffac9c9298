"""Look into the routing of one mixture of a model, or take it over, for the length of a ``with`` block.

Legend: T tokens, E experts, k active, D width of the model, S = T · k.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from distilled_experts.checks import check_whole
from distilled_experts.transformers.experts_interface import ExpertsMixture
from distilled_experts.transformers.mixtures import Mixture, Routing
from distilled_experts.transformers.other_mixtures import JetMoeMixture, Llama4Mixture

Note = Callable[[Any], None]


@contextmanager
def recorded_routing(mixture: Mixture) -> Iterator[list[Routing]]:
    """Who works on the tokens of each call of a mixture, as the calls come.

    Examples
    --------
    >>> from transformers import MixtralConfig, MixtralForCausalLM
    >>> from distilled_experts.transformers.finding import find_mixtures
    >>> config = MixtralConfig(vocab_size=11, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
    ...                        num_attention_heads=2, num_key_value_heads=2, num_local_experts=4)
    >>> model = MixtralForCausalLM(config).eval()
    >>> with recorded_routing(find_mixtures(model)[0]) as calls:
    ...     _ = model(torch.arange(5).unsqueeze(0))
    >>> [routing.indices.shape for routing in calls]
    [torch.Size([5, 2])]
    """
    calls: list[Routing] = []
    handle = _watch(mixture, calls.append)
    try:
        yield calls
    finally:
        handle.remove()


@contextmanager
def forced_expert(mixture: Mixture, expert: int) -> Iterator[list[Tensor]]:
    """Send every token of a mixture to one expert alone, all else in the model unchanged.

    The expert gets the whole weight that the router gives to the active experts: one in most families. Shared experts
    are added as ever, and tokens for which there was no room stay without an expert.

    Parameters
    ----------
    mixture : Mixture
        Of a model in evaluation.
    expert : int
        From 0 to E − 1.

    Yields
    ------
    list of Tensor (T, D)
        What the expert says in each call, before it is multiplied with its weight; with Llama 4, which multiplies
        before the experts run, after it.

    Raises
    ------
    InvalidParameterError
        The mixture has no such expert.

    Examples
    --------
    >>> from transformers import MixtralConfig, MixtralForCausalLM
    >>> from distilled_experts.transformers.finding import find_mixtures
    >>> config = MixtralConfig(vocab_size=11, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
    ...                        num_attention_heads=2, num_key_value_heads=2, num_local_experts=4)
    >>> model = MixtralForCausalLM(config).eval()
    >>> with forced_expert(find_mixtures(model)[0], 3) as said:
    ...     _ = model(torch.arange(5).unsqueeze(0))
    >>> [output.shape for output in said]
    [torch.Size([5, 8])]
    """
    check_whole("expert", expert, 0, mixture.n_experts - 1)
    said: list[Tensor] = []
    handles = _force(mixture, expert, said.append)
    try:
        yield said
    finally:
        for handle in handles:
            handle.remove()


@singledispatch
def _watch(mixture: Mixture, note: Callable[[Routing], None]) -> RemovableHandle:
    raise AssertionError(f"no routing is known of {type(mixture).__name__}")


@_watch.register
def _(mixture: ExpertsMixture, note: Note) -> RemovableHandle:
    def watch(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        note(mixture.read(*call_arguments(layer, args, kwargs)))

    layer: nn.Module = mixture.layer
    return layer.register_forward_pre_hook(watch, with_kwargs=True)


@_watch.register
def _(mixture: JetMoeMixture, note: Note) -> RemovableHandle:
    def watch(router: Any, args: tuple[Any, ...], routed: tuple[Any, ...]) -> None:
        logits_Tk, indices_Tk = routed[4].topk(router.top_k)
        note(Routing(indices_Tk, logits_Tk.softmax(-1)))

    router: nn.Module = mixture.layer.router
    return router.register_forward_hook(watch)


@_watch.register
def _(mixture: Llama4Mixture, note: Note) -> RemovableHandle:
    def watch(router: nn.Module, args: tuple[Any, ...], routed: tuple[Tensor, ...]) -> None:
        weights_Tk, indices_Tk = routed[0].topk(mixture.layer.top_k)
        note(Routing(indices_Tk, weights_Tk))

    router: nn.Module = mixture.layer.router
    return router.register_forward_hook(watch)


@singledispatch
def _force(mixture: Mixture, expert: int, note: Callable[[Tensor], None]) -> list[RemovableHandle]:
    raise AssertionError(f"no routing is known of {type(mixture).__name__}")


@_force.register
def _(mixture: ExpertsMixture, expert: int, note: Note) -> list[RemovableHandle]:
    pending: list[tuple[Tensor, torch.Size]] = []

    def send(
        layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
        arguments = call_arguments(layer, args, kwargs)
        hidden, routing = arguments[0], mixture.read(*arguments)
        served = None if routing.kept is None else routing.kept.any(-1, keepdim=True)
        weights = routing.weights if routing.kept is None else routing.weights * routing.kept
        pending.append((weights.sum(-1, keepdim=True), hidden.shape))
        chosen = torch.full_like(routing.indices[:, :1], expert)
        alone = Routing(chosen, torch.ones_like(weights[:, :1]), served)
        return mixture.write(hidden.reshape(-1, hidden.shape[-1]), alone), {}

    def weigh(layer: nn.Module, args: tuple[Any, ...], said: Tensor) -> Tensor:
        weight_T1, shape = pending.pop()
        rows = said.reshape(-1, said.shape[-1])
        note(rows)
        return (rows * weight_T1.to(rows.dtype)).reshape(shape)

    return [
        mixture.layer.register_forward_pre_hook(send, with_kwargs=True),
        mixture.layer.register_forward_hook(weigh, prepend=True),
    ]


@_force.register
def _(mixture: JetMoeMixture, expert: int, note: Note) -> list[RemovableHandle]:
    def send(router: nn.Module, args: tuple[Any, ...], routed: tuple[Any, ...]) -> tuple[Any, ...]:
        logits_TE = routed[4]
        tokens = torch.arange(len(logits_TE), device=logits_TE.device)
        sizes = [len(tokens) if i == expert else 0 for i in range(mixture.n_experts)]
        return tokens, tokens, torch.ones_like(routed[2][: len(tokens)]), sizes, logits_TE

    def listen(linear: nn.Module, args: tuple[Any, ...], said: Tensor) -> None:
        note(said)

    layer = mixture.layer
    return [layer.router.register_forward_hook(send), layer.output_linear.register_forward_hook(listen)]


@_force.register
def _(mixture: Llama4Mixture, expert: int, note: Note) -> list[RemovableHandle]:
    def send(router: nn.Module, args: tuple[Any, ...], routed: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        scores_TE, *others = routed
        alone = torch.zeros_like(scores_TE)
        alone[:, expert] = scores_TE.sum(-1)
        return alone, *others

    def listen(experts: nn.Module, args: tuple[Any, ...], said: Tensor) -> None:
        note(said.unflatten(0, (mixture.n_experts, -1))[expert])

    layer = mixture.layer
    return [layer.router.register_forward_hook(send), layer.experts.register_forward_hook(listen)]


def call_arguments(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """All arguments of a call in the order of the layer's forward."""
    return inspect.signature(layer.forward).bind(*args, **kwargs).args if kwargs else args
