"""All experts on all rows, with their gradients in one function.

Legend: N rows, E experts, D width of a row, W width of what the first map gives, H hidden units, O output width,
X = E · W.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from distilled_experts.functional.fused import transformed
from distilled_experts.layers.activations import ACTIVATIONS, Activation, Forms
from distilled_experts.layers.products import Maps, empty_gradients, gradients_of, of_expert

# Experts run batched, so many that their hidden units take no more and stay in the cache; more of them where there are
# more threads, among which a batch divides better than the products of one expert.
_CHUNK_BYTES = 2 * 2**20


def run_all(x_ND: Tensor, maps: Maps, activation: Activation) -> Tensor:
    """Run every expert on every row: (N, D) → (N, E, O), experts outermost and rows innermost in memory.

    Under autocast, `torch.compile` and the transforms of `torch.func` the same by plain operations.

    Examples
    --------
    >>> maps = Maps(torch.ones(2, 3, 1), None, torch.ones(2, 1, 3), None)
    >>> run_all(torch.tensor([[1.0], [2.0]]), maps, "relu").squeeze(-1)
    tensor([[3., 3.],
            [6., 6.]])
    """
    foreign = torch.compiler.is_compiling() or transformed()
    if foreign or torch.is_autocast_enabled(x_ND.device.type):
        return run_all_plainly(x_ND, maps, activation)
    apply: Callable[..., Tensor] = _AllExperts.apply
    return apply(x_ND, *maps, activation).permute(2, 0, 1)


def run_all_plainly(x_ND: Tensor, maps: Maps, activation: Activation) -> Tensor:
    """As `run_all`, by operations that PyTorch knows how to differentiate and transform."""
    before_EWN = _batched(maps.up, maps.up_bias, x_ND.t().expand(len(maps.up), *x_ND.t().shape))
    return _batched(maps.down, maps.down_bias, ACTIVATIONS[activation].apply(before_EWN, -2)).permute(2, 0, 1)


def _batched(weight: Tensor, bias: Tensor | None, columns: Tensor) -> Tensor:
    """Multiply (E, out, in) with (E, in, N), for all experts at once."""
    if bias is None:
        return torch.bmm(weight, columns)
    return torch.baddbmm(bias.unsqueeze(-1), weight, columns)


class _AllExperts(Function):
    """(N, D) and maps → (E, O, N)."""

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, *inputs: Any) -> Tensor:
        """Experts chunk by chunk."""
        maps, ctx.activation = Maps(*inputs[:4]), inputs[4]
        output, before = _forward(x_ND, maps, ACTIVATIONS[ctx.activation], any(ctx.needs_input_grad))
        ctx.save_for_backward(x_ND, before, *maps)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """In the order of the inputs; by plain operations where gradients of gradients are wanted."""
        x_ND, before, *saved = ctx.saved_tensors
        maps = Maps(*saved)
        if torch.is_grad_enabled():
            outputs = run_all_plainly(x_ND, maps, ctx.activation).permute(1, 2, 0)
            return *gradients_of(outputs, (x_ND, *maps), ctx.needs_input_grad[:5], gradients[0]), None
        forms = ACTIVATIONS[ctx.activation]
        return *_backward(gradients[0], x_ND, before, maps, forms, ctx.needs_input_grad[0]), None


def _forward(x_ND: Tensor, maps: Maps, forms: Forms, keep: bool) -> tuple[Tensor, Tensor]:
    """Outputs (E, O, N), and what came before the activation: (E, W, N) if it is to be kept, else of one chunk."""
    (n_experts, width, _), n_rows = maps.up.shape, len(x_ND)
    size = _chunk_size(x_ND, maps)
    before_EWN = x_ND.new_empty(n_experts if keep else size, width, n_rows)
    hidden_EHN = None if forms.in_place else x_ND.new_empty(size, maps.down.shape[2], n_rows)
    output_EON = x_ND.new_empty(n_experts, maps.down.shape[1], n_rows)
    for chunk in _chunks(n_experts, size):
        own = of_expert(maps, chunk)
        came = before_EWN[chunk] if keep else before_EWN[: len(own.up)]
        went = came if hidden_EHN is None else hidden_EHN[: len(came)]
        # One product for all of them, for they have the same rows.
        up, came_XN = own.up.flatten(0, 1), came.flatten(0, 1)
        if own.up_bias is None:
            torch.mm(up, x_ND.t(), out=came_XN)
        else:
            torch.addmm(own.up_bias.reshape(-1, 1), up, x_ND.t(), out=came_XN)
        forms.write(came, went, -2)
        if own.down_bias is None:
            torch.bmm(own.down, went, out=output_EON[chunk])
        else:
            torch.baddbmm(own.down_bias.unsqueeze(-1), own.down, went, out=output_EON[chunk])
    return output_EON, before_EWN


def _backward(
    gradient_EON: Tensor, x_ND: Tensor, before_EWN: Tensor, maps: Maps, forms: Forms, of_x: bool
) -> tuple[Tensor | None, ...]:
    """Gradients of the rows and of the maps."""
    n_rows, size = len(x_ND), _chunk_size(x_ND, maps)
    of_maps, of_x_ND = empty_gradients(maps), torch.zeros_like(x_ND) if of_x else None
    of_hidden_EHN = x_ND.new_empty(size, maps.down.shape[2], n_rows)
    hidden_EHN, of_before_EWN = None, of_hidden_EHN
    if not forms.in_place:
        hidden_EHN, of_before_EWN = torch.empty_like(of_hidden_EHN), x_ND.new_empty(size, maps.up.shape[1], n_rows)
    for chunk in _chunks(len(maps.up), size):
        own, of_own = of_expert(maps, chunk), of_expert(of_maps, chunk)
        gradient, came = gradient_EON[chunk], before_EWN[chunk]
        went = came if hidden_EHN is None else hidden_EHN[: len(came)]
        of_went, of_came = of_hidden_EHN[: len(came)], of_before_EWN[: len(came)]
        torch.bmm(own.down.mT, gradient, out=of_went)
        forms.write_backward(came, of_went, went, of_came, -2)
        torch.bmm(gradient, went.mT, out=of_own.down)
        torch.mm(of_came.flatten(0, 1), x_ND, out=of_own.up.flatten(0, 1))
        if of_own.up_bias is not None:
            torch.sum(of_came, -1, out=of_own.up_bias)
        if of_x_ND is not None:
            of_x_ND.addmm_(of_came.flatten(0, 1).t(), own.up.flatten(0, 1))
    if of_maps.down_bias is not None:
        torch.sum(gradient_EON, -1, out=of_maps.down_bias)
    return of_x_ND, *of_maps


def _chunk_size(x_ND: Tensor, maps: Maps) -> int:
    n_experts, width, _ = maps.up.shape
    if x_ND.device.type != "cpu":
        return n_experts
    bytes_of_one = max(1, width * len(x_ND) * x_ND.element_size())
    return min(n_experts, max(torch.get_num_threads(), _CHUNK_BYTES // bytes_of_one))


def _chunks(n_experts: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, n_experts, size))
