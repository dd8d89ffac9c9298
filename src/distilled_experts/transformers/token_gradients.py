"""What each expert learns from single tokens: norms of the gradients that they send to it.

Legend: T tokens, C compared experts, E experts, D width of the model, R tokens of one expert, H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilled_experts.functional import combine
from distilled_experts.transformers.distillation import Distillation
from distilled_experts.transformers.experts_interface import ExpertsMixture
from distilled_experts.transformers.forcing import call_arguments
from distilled_experts.transformers.mixtures import Mixture, Routing
from distilled_experts.transformers.tokens import Tokens


class GradientNorms(NamedTuple):
    """Norms (T, E) under the task's loss alone, and under the whole training loss where the mixture distils."""

    task: Tensor
    whole: Tensor | None


class _Said(NamedTuple):
    """What the experts of one call say about its tokens, and how alike it is."""

    hidden_TD: Tensor
    routing: Routing
    outputs_TCD: Tensor
    distillation: Tensor | None


def has_gradient_norms(mixture: Mixture) -> TypeGuard[ExpertsMixture]:
    """Whether the experts are two linear maps and an activation, of the form that the experts interface describes."""
    layer = mixture.layer
    if not (isinstance(mixture, ExpertsMixture) and hasattr(layer, "is_transposed")) or layer.has_post_expert_norm:
        return False
    return all(isinstance(getattr(layer, name, None), Tensor) for name in _map_names(layer))


def distillation_strength(mixture: Mixture, distillation: Distillation | None) -> float | None:
    """Strength α of distillation in a mixture, before any schedule; None where it does not distil."""
    distils = {} if distillation is None else distillation.mixtures
    numbers = (i for i, one in distils.items() if one.layer is mixture.layer)
    return next((distillation.alphas[i] for i in numbers if distillation is not None), None)


def gradient_norms(
    mixture: ExpertsMixture, loss: Callable[[], Tensor], tokens: Tokens, distillation: Distillation | None = None
) -> GradientNorms:
    r"""Norm of the gradient that each token of a mixture sends to the parameters of each expert.

    A token's part in the gradient of the whole batch is what comes through its own row of the mixture: of the last
    mixture, the gradient of the token's own loss; of lower ones, attention carries the losses of later tokens to it,
    too. One backward pass as far as the mixture gives what the experts' outputs receive, and a gradient by a weight is
    an outer product, whose norm is the product of two norms.

    Source: Goodfellow, Efficient Per-Example Gradient Computations, 2015, arXiv 1510.01799.

    Parameters
    ----------
    mixture : ExpertsMixture
        One that `has_gradient_norms`, of a model in evaluation.
    loss : callable
        Runs the model, and gives the sum of the tokens' task losses.
    tokens : Tokens
        Of the batch.
    distillation : Distillation, optional
        What is attached to the model.
    """
    found: list[_Said] = []
    alpha = distillation_strength(mixture, distillation)
    distillation = None if alpha is None else distillation

    def open_experts(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
        # Below this layer no graph is needed.
        torch.set_grad_enabled(True)
        said = _speak(mixture, call_arguments(layer, args, kwargs), distillation)
        output_TD, alike = _mix(mixture, said, tokens, distillation)
        found.append(said._replace(distillation=alike))
        return output_TD.reshape(output.shape)

    handle = mixture.layer.register_forward_hook(open_experts, prepend=True, with_kwargs=True)
    try:
        with torch.no_grad():
            summed = loss()
            (said,) = found
            (task_TCD,) = torch.autograd.grad(summed, said.outputs_TCD, retain_graph=said.distillation is not None)
            if said.distillation is None or alpha is None:
                return GradientNorms(_by_expert(mixture, said, [task_TCD])[0], None)
            (alike_TCD,) = torch.autograd.grad(said.distillation, said.outputs_TCD)
    finally:
        handle.remove()
    whole_TCD = task_TCD + alpha * alike_TCD
    return GradientNorms(*_by_expert(mixture, said, [task_TCD, whole_TCD]))


def _speak(mixture: ExpertsMixture, arguments: tuple[Any, ...], distillation: Distillation | None) -> _Said:
    hidden, routing = arguments[0], mixture.read(*arguments)
    if distillation is not None:
        routing = distillation.compared(mixture, routing)
    hidden_TD = hidden.reshape(-1, hidden.shape[-1]).detach()
    rows = hidden_TD.repeat_interleave(routing.indices.shape[-1], 0)
    with torch.no_grad():
        said = mixture.layer.forward(*mixture.write(rows, routing))
    outputs_TCD = said.reshape(*routing.weights.shape, -1).requires_grad_()
    return _Said(hidden_TD, Routing(routing.indices, routing.weights.detach()), outputs_TCD, None)


def _mix(
    mixture: Mixture, said: _Said, tokens: Tokens, distillation: Distillation | None
) -> tuple[Tensor, Tensor | None]:
    """Mixture (T, D), and the sum of the tokens' distillation losses."""
    if distillation is None:
        return combine(said.outputs_TCD, said.routing.weights, distillation=False)
    counted = tokens.weight(mixture.side, len(said.hidden_TD))
    output_TD, loss = combine(said.outputs_TCD, said.routing.weights, sample_weight=counted, **distillation.options)
    assert loss is not None
    return output_TD, loss * (len(said.hidden_TD) if counted is None else counted.sum())


def _by_expert(mixture: Mixture, said: _Said, upstreams_TCD: list[Tensor]) -> list[Tensor]:
    """Norms (T, E) for each of several gradients by the experts' outputs."""
    norms = [torch.zeros(len(said.hidden_TD), mixture.n_experts, dtype=torch.float64) for _ in upstreams_TCD]
    for expert in range(mixture.n_experts):
        rows, places = (said.routing.indices == expert).nonzero(as_tuple=True)
        upstreams = [upstream[rows, places] for upstream in upstreams_TCD]
        for table, found in zip(norms, _of_one(mixture.layer, expert, said.hidden_TD[rows], upstreams), strict=True):
            table[rows.cpu(), expert] = found.cpu()
    return norms


def _of_one(experts: Any, expert: int, x_RD: Tensor, upstreams_RD: list[Tensor]) -> list[Tensor]:
    """Norms (R) of the gradients by all parameters of one expert."""
    (up, up_bias), (down, _) = (_linear(experts, name, expert) for name in _map_names(experts))
    z = F.linear(x_RD, up, up_bias).requires_grad_()
    with torch.enable_grad():
        h_RH = experts._apply_gate(z) if experts.has_gate else experts.act_fn(z)
    ones = float(experts.has_bias)
    norms = []
    for upstream_RD in upstreams_RD:
        (back,) = torch.autograd.grad(h_RH, z, upstream_RD @ down, retain_graph=True)
        square = _square_norm(back) * (_square_norm(x_RD) + ones)
        square += _square_norm(upstream_RD) * (_square_norm(h_RH.detach()) + ones)
        norms.append(square.sqrt())
    return norms


def _map_names(experts: Any) -> tuple[str, str]:
    return "gate_up_proj" if experts.has_gate else "up_proj", "down_proj"


def _linear(experts: Any, name: str, expert: int) -> tuple[Tensor, Tensor | None]:
    """Weight (out, in) and bias of one linear map of one expert."""
    weight = getattr(experts, name)[expert].detach()
    bias = getattr(experts, f"{name}_bias")[expert].detach() if experts.has_bias else None
    return weight.T if experts.is_transposed else weight, bias


def _square_norm(x: Tensor) -> Tensor:
    return x.double().square().sum(-1)
