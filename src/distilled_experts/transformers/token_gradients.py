"""What each expert learns from single tokens: norms of the gradients that they send to it.

Legend: T tokens, C compared experts, E experts, D width of the model, R tokens of one expert, P ways of gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from distilled_experts.functional import combine
from distilled_experts.transformers.distillation import Distillation
from distilled_experts.transformers.feed_forwards import FeedForward, feed_forwards
from distilled_experts.transformers.forcing import recorded_routing
from distilled_experts.transformers.mixtures import Mixture, TokenRouting, call_arguments, counted_tokens
from distilled_experts.transformers.tokens import Tokens


class GradientNorms(NamedTuple):
    """Norms (T, E) under the task's loss alone, and under the whole training loss where the mixture distils."""

    task: Tensor
    whole: Tensor | None


class _Call(NamedTuple):
    """One call of a mixture: its tokens, its experts, and the mixture that it gave, from where gradients come."""

    hidden_TD: Tensor
    experts: list[FeedForward]
    output: Tensor


class _Way(NamedTuple):
    """A way on which gradients reach the experts: what goes into them, and what their outputs receive (T, C, D)."""

    inputs_TCD: Tensor
    upstream_TCD: Tensor


def distillation_strength(mixture: Mixture, distillation: Distillation | None) -> float | None:
    """Strength α of distillation in a mixture, before any schedule; None where it does not distil."""
    distils = {} if distillation is None else distillation.mixtures
    numbers = (i for i, one in distils.items() if one.layer is mixture.layer)
    return next((distillation.alphas[i] for i in numbers if distillation is not None), None)


def gradient_norms(
    mixture: Mixture, loss: Callable[[], Tensor], tokens: Tokens, distillation: Distillation | None = None
) -> GradientNorms:
    r"""Norm of the gradient that each token of a mixture sends to the parameters of each expert.

    A token's part in the gradient of the whole batch is what comes through its own row of the mixture: of the last
    mixture, the gradient of the token's own loss; of lower ones, attention carries the losses of other tokens to it,
    too, and in an encoder nothing but these. One backward pass as far as the mixture gives what its rows receive, and a
    gradient by a weight is an outer product, whose norm is the product of two norms.

    Source: Goodfellow, Efficient Per-Example Gradient Computations, 2015, arXiv 1510.01799.

    Parameters
    ----------
    mixture : Mixture
        Of a model in evaluation.
    loss : callable
        Runs the model, and gives the sum of the tokens' task losses.
    tokens : Tokens
        Of the batch.
    distillation : Distillation, optional
        What is attached to the model.
    """
    call, routing, received_TD = _received(mixture, loss)
    task = _task_way(mixture, call.hidden_TD, routing.kept_weights, received_TD)
    task_norms = _by_expert(call, routing, [task])
    alpha = distillation_strength(mixture, distillation)
    if distillation is None or alpha is None:
        return GradientNorms(task_norms, None)
    compared = distillation.compared(mixture, routing)
    alike = _alike_way(mixture, call, compared, tokens, distillation)
    scaled = alike._replace(upstream_TCD=alpha * alike.upstream_TCD)
    return GradientNorms(task_norms, _by_expert(call, compared, [_padded(task, compared), scaled]))


def _received(mixture: Mixture, loss: Callable[[], Tensor]) -> tuple[_Call, TokenRouting, Tensor]:
    """Run the model; what is received is the gradient of the loss by the rows of the mixture."""
    calls: list[_Call] = []

    def open_mixture(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        # Below this layer no graph is needed.
        torch.set_grad_enabled(True)
        several = isinstance(output, tuple)
        leaf = (output[0] if several else output).detach().clone().requires_grad_()
        hidden = call_arguments(layer, args, kwargs)[0].detach()
        calls.append(_Call(hidden.reshape(-1, hidden.shape[-1]), feed_forwards(mixture), leaf))
        # A copy, which the model may change in place.
        return (leaf.clone(), *output[1:]) if several else leaf.clone()

    handle = mixture.layer.register_forward_hook(open_mixture, prepend=True, with_kwargs=True)
    try:
        with torch.no_grad(), recorded_routing(mixture) as routings:
            summed = loss()
    finally:
        handle.remove()
    (call,), (routing,) = calls, routings
    (received,) = torch.autograd.grad(summed, call.output)
    return call, routing, received.reshape(call.hidden_TD.shape)


def _task_way(mixture: Mixture, hidden_TD: Tensor, weights_TC: Tensor, received_TD: Tensor) -> _Way:
    weights, hidden, received = weights_TC.detach().unsqueeze(-1), hidden_TD.unsqueeze(1), received_TD.unsqueeze(1)
    if mixture.weighs_inputs:
        hidden, received = (hidden * weights).to(hidden.dtype), received.expand(*weights_TC.shape, -1)
    else:
        hidden, received = hidden.expand(*weights_TC.shape, -1), received * weights
    return _Way(hidden, received)


def _padded(way: _Way, compared: TokenRouting) -> _Way:
    """The same with nothing received by experts that are compared without being active."""
    n_tokens, n_active, width = way.inputs_TCD.shape
    others = way.inputs_TCD.new_zeros(n_tokens, compared.indices.shape[1] - n_active, width)
    return _Way(*(torch.cat([values, others.to(values.dtype)], 1) for values in way))


def _alike_way(
    mixture: Mixture, call: _Call, compared: TokenRouting, tokens: Tokens, distillation: Distillation
) -> _Way:
    """From the sum of the tokens' distillation losses."""
    inputs_TCD = call.hidden_TD.unsqueeze(1).expand(*compared.indices.shape, -1)
    said_TCD = torch.empty_like(inputs_TCD, memory_format=torch.contiguous_format)
    for expert, one in enumerate(call.experts):
        chosen = compared.indices == expert
        said_TCD[chosen] = one(inputs_TCD[chosen])
    counted = counted_tokens(mixture, compared, tokens)
    with torch.enable_grad():
        said_TCD.requires_grad_()
        _, mean = combine(
            said_TCD, compared.weights.detach(), compared.kept, sample_weight=counted, **distillation.options
        )
        assert mean is not None
        alike = mean * (len(said_TCD) if counted is None else counted.sum())
    (upstream_TCD,) = torch.autograd.grad(alike, said_TCD)
    return _Way(inputs_TCD, upstream_TCD)


def _by_expert(call: _Call, routing: TokenRouting, ways: Sequence[_Way]) -> Tensor:
    """Norms (T, E) of the sum of the gradients that come on several ways."""
    norms = torch.zeros(len(call.hidden_TD), len(call.experts), dtype=torch.float64)
    for expert, one in enumerate(call.experts):
        chosen = routing.indices == expert
        rows = chosen.nonzero()[:, 0].cpu()
        found = _of_one(one, [_Way(*(values[chosen] for values in way)) for way in ways])
        norms[:, expert].index_add_(0, rows, found.cpu())
    return norms


def _of_one(expert: FeedForward, ways: Sequence[_Way]) -> Tensor:
    """Norms (R) of the gradients by all parameters of one expert: ‖Σ_p u_p x_pᵀ‖² = Σ_pq (u_p·u_q)(x_p·x_q)."""
    inputs, hidden, up, down = (
        _products(torch.stack(rows)) for rows in zip(*(expert.gradients(*way) for way in ways), strict=True)
    )
    of_up = up * (inputs + (expert.up_bias is not None))
    of_down = down * (hidden + (expert.down_bias is not None))
    return (of_up + of_down).sum((0, 1)).clamp_min(0).sqrt()


def _products(rows_PRD: Tensor) -> Tensor:
    """All scalar products of the rows of each token: (P, P, R)."""
    rows_PRD = rows_PRD.double()
    return torch.einsum("prd,qrd->pqr", rows_PRD, rows_PRD)
