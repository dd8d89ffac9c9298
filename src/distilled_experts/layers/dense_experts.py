"""All experts on all rows, with their gradients in one function.

Legend: N rows, E experts, D width of a row, W width of what the first map gives, H hidden units, O output width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from distilled_experts.layers.activations import ACTIVATIONS, Activation
from distilled_experts.layers.products import Maps, empty_gradients, gradients_of, linear, linear_gradients, of_expert

# Where the hidden units of all experts take more, they leave the cache: then one expert after the other is faster.
_BATCHED_BYTES = 3 * 2**20


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
    # PyTorch has no public word for the last of these.
    foreign = torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
    if foreign or torch.is_autocast_enabled(x_ND.device.type):
        return run_all_plainly(x_ND, maps, activation)
    apply: Callable[..., Tensor] = _AllExperts.apply
    return apply(x_ND, *maps, activation).permute(2, 0, 1)


def run_all_plainly(x_ND: Tensor, maps: Maps, activation: Activation) -> Tensor:
    """As `run_all`, by operations that PyTorch knows how to differentiate and transform."""
    before_EWN = _batched(maps.up, maps.up_bias, _columns(x_ND, maps))
    return _batched(maps.down, maps.down_bias, ACTIVATIONS[activation].apply(before_EWN, -2)).permute(2, 0, 1)


class _AllExperts(Function):
    """(N, D) and maps → (E, O, N)."""

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, *inputs: Any) -> Tensor:
        """Batched, or one expert after the other."""
        maps, activation = Maps(*inputs[:4]), inputs[4]
        ctx.activation, ctx.batched = activation, _is_batched(x_ND, maps)
        way = _forward_batched if ctx.batched else _forward_one_by_one
        output, before = way(x_ND, maps, activation, keep=any(ctx.needs_input_grad))
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
        way = _backward_batched if ctx.batched else _backward_one_by_one
        return *way(gradients[0], x_ND, before, maps, ctx.activation, ctx.needs_input_grad[0]), None


def _is_batched(x_ND: Tensor, maps: Maps) -> bool:
    size = maps.up.shape[0] * maps.up.shape[1] * len(x_ND) * x_ND.element_size()
    return x_ND.device.type != "cpu" or size <= _BATCHED_BYTES


def _forward_batched(x_ND: Tensor, maps: Maps, activation: Activation, keep: bool) -> tuple[Tensor, Tensor]:
    forms = ACTIVATIONS[activation]
    before_EWN = _batched(maps.up, maps.up_bias, _columns(x_ND, maps))
    hidden_EHN = before_EWN if forms.in_place else _hidden(before_EWN, maps)
    forms.write(before_EWN, hidden_EHN, -2)
    return _batched(maps.down, maps.down_bias, hidden_EHN), before_EWN


def _backward_batched(
    gradient_EON: Tensor, x_ND: Tensor, before_EWN: Tensor, maps: Maps, activation: Activation, of_x: bool
) -> tuple[Tensor | None, ...]:
    hidden_EHN, of_before_EWN = _hidden(before_EWN, maps), torch.empty_like(before_EWN)
    of_hidden_EHN = torch.bmm(maps.down.mT, gradient_EON)
    ACTIVATIONS[activation].write_backward(before_EWN, of_hidden_EHN, hidden_EHN, of_before_EWN, -2)
    of_before_XN = of_before_EWN.flatten(0, 1)
    return (
        of_before_XN.t() @ maps.up.flatten(0, 1) if of_x else None,
        (of_before_XN @ x_ND).view_as(maps.up),
        None if maps.up_bias is None else of_before_EWN.sum(-1),
        torch.bmm(gradient_EON, hidden_EHN.mT),
        None if maps.down_bias is None else gradient_EON.sum(-1),
    )


def _forward_one_by_one(x_ND: Tensor, maps: Maps, activation: Activation, keep: bool) -> tuple[Tensor, Tensor]:
    forms = ACTIVATIONS[activation]
    n_experts, width, n_rows = *maps.up.shape[:2], len(x_ND)
    before_ENW = x_ND.new_empty(n_experts if keep else 1, n_rows, width)
    output_EON = x_ND.new_empty(n_experts, maps.down.shape[1], n_rows)
    hidden_NH = x_ND.new_empty(0 if forms.in_place else n_rows, maps.down.shape[2])
    for expert in range(n_experts):
        up, up_bias, down, down_bias = of_expert(maps, expert)
        came = linear(x_ND, up, up_bias, before_ENW[expert if keep else 0])
        went = came if forms.in_place else hidden_NH
        forms.write(came, went, -1)
        linear(went, down, down_bias, output_EON[expert].t())
    return output_EON, before_ENW


def _backward_one_by_one(
    gradient_EON: Tensor, x_ND: Tensor, before_ENW: Tensor, maps: Maps, activation: Activation, of_x: bool
) -> tuple[Tensor | None, ...]:
    forms, n_rows = ACTIVATIONS[activation], len(x_ND)
    of_maps = empty_gradients(maps)
    hidden_NH, of_hidden_NH = (x_ND.new_empty(n_rows, maps.down.shape[2]) for _ in range(2))
    of_before_NW = x_ND.new_empty(n_rows, maps.up.shape[1])
    of_x_ND = torch.zeros_like(x_ND) if of_x else None
    for expert in range(len(maps.up)):
        up, _, down, _ = of_expert(maps, expert)
        of_up, of_up_bias, of_down, of_down_bias = of_expert(of_maps, expert)
        gradient_ON = gradient_EON[expert]
        torch.mm(gradient_ON.t(), down, out=of_hidden_NH)
        forms.write_backward(before_ENW[expert], of_hidden_NH, hidden_NH, of_before_NW, -1)
        linear_gradients(of_before_NW, x_ND, of_up, of_up_bias)
        linear_gradients(gradient_ON.t(), hidden_NH, of_down, of_down_bias)
        if of_x_ND is not None:
            of_x_ND.addmm_(of_before_NW, up)
    return of_x_ND, *of_maps


def _columns(x_ND: Tensor, maps: Maps) -> Tensor:
    return x_ND.t().expand(len(maps.up), *x_ND.t().shape)


def _hidden(before_EWN: Tensor, maps: Maps) -> Tensor:
    return before_EWN.new_empty(len(before_EWN), maps.down.shape[2], before_EWN.shape[-1])


def _batched(weight: Tensor, bias: Tensor | None, columns: Tensor) -> Tensor:
    """Multiply (E, out, in) with (E, in, N), for all experts at once."""
    if bias is None:
        return torch.bmm(weight, columns)
    return torch.baddbmm(bias.unsqueeze(-1), weight, columns)
