"""All experts on rows that are sorted by expert, as operations that PyTorch can compile and differentiate.

Legend: S rows sorted by expert, E experts, D width of a row, W width of what the first map gives, H hidden units, O
output width.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from distilled_experts.functional.fused import transformed
from distilled_experts.layers.activations import ACTIVATIONS, Activation
from distilled_experts.layers.grouped_products import backward_grouped, can_be_grouped, forward_grouped
from distilled_experts.layers.products import (
    Gradients,
    Maps,
    Needs,
    backward_one_by_one,
    forward_one_by_one,
    gradients_of,
)


def run_sorted(
    rows_SD: Tensor, counts_E: Tensor, maps: Maps, activation: Activation, recompute: bool = False
) -> Tensor:
    """Run each expert on its own rows: (S, D), counts (E) of rows → (S, O).

    Gradients are written straight into their place in those of the stacked weights, expert by expert. Under autocast
    the products are those of its precision.

    Parameters
    ----------
    rows_SD : Tensor (S, D)
    counts_E : Tensor (E) of int64
        Rows of each expert; their sum is S.
    maps : Maps
    activation : {"relu", "gelu", "swiglu"}
    recompute : bool
        Keep the rows alone for the way back, and compute what lies before the activation again: less memory, one of six
        products more.

    Examples
    --------
    >>> maps = Maps(torch.ones(2, 3, 1), None, torch.ones(2, 1, 3), None)
    >>> run_sorted(torch.tensor([[1.0], [2.0]]), torch.tensor([0, 2]), maps, "relu").flatten()
    tensor([3., 6.])
    """
    device = rows_SD.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        rows_SD, maps = rows_SD.to(dtype), maps.to(dtype)
    if transformed():
        return run_sorted_plainly(rows_SD, counts_E, maps, activation)
    differentiable = torch.is_grad_enabled() and any(_differentiable(rows_SD, *maps))
    keep = differentiable and not recompute
    if torch.compiler.is_compiling():
        outputs: Tensor = _compiled(rows_SD, counts_E, *maps, activation, keep)[0]
        return outputs
    if not differentiable:
        return _forward(rows_SD, counts_E, maps, activation, keep)[0]
    apply: Callable[..., Tensor] = _SortedExperts.apply
    return apply(rows_SD, counts_E, *maps, activation, keep)


def run_sorted_plainly(rows_SD: Tensor, counts_E: Tensor, maps: Maps, activation: Activation) -> Tensor:
    """As `run_sorted`, by operations that PyTorch knows how to differentiate and transform."""
    apply = ACTIVATIONS[activation].apply
    parts = rows_SD.split(counts_E.tolist())
    outputs = [
        F.linear(apply(F.linear(rows, up, up_bias), -1), down, down_bias)
        for rows, up, up_bias, down, down_bias in zip(parts, *map(_unbound, maps), strict=False)
    ]
    return torch.cat(outputs)


class _SortedExperts(Function):
    """(S, D), (E), maps → (S, O)."""

    @staticmethod
    def forward(ctx: Any, rows_SD: Tensor, counts_E: Tensor, *inputs: Any) -> Tensor:
        """Keep what came before the activation, if it was asked for."""
        maps, ctx.activation, keep = Maps(*inputs[:4]), inputs[4], inputs[5]
        outputs, before = _forward(rows_SD, counts_E, maps, ctx.activation, keep)
        ctx.save_for_backward(rows_SD, before, counts_E, *maps)
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """In the order of the inputs."""
        return _differentiate(ctx, gradients[0], _backward)


def _forward(rows_SD: Tensor, counts_E: Tensor, maps: Maps, activation: str, keep: bool) -> tuple[Tensor, Tensor]:
    forms = ACTIVATIONS[activation]
    if can_be_grouped(rows_SD, maps):
        return forward_grouped(rows_SD, counts_E, maps, forms, keep)
    return forward_one_by_one(rows_SD, counts_E.tolist(), maps, forms, keep)


def _backward(
    gradient_SO: Tensor,
    rows_SD: Tensor,
    before_SW: Tensor,
    counts_E: Tensor,
    maps: Maps,
    activation: str,
    needs: Needs,
) -> Gradients:
    forms, gradient_SO = ACTIVATIONS[activation], gradient_SO.contiguous()
    if can_be_grouped(rows_SD, maps):
        return backward_grouped(gradient_SO, rows_SD, before_SW, counts_E, maps, forms, needs)
    return backward_one_by_one(gradient_SO, rows_SD, before_SW, counts_E.tolist(), maps, forms, needs)


def _differentiate(ctx: Any, gradient_SO: Tensor, backward: Callable[..., Gradients]) -> tuple[Tensor | None, ...]:
    """Gradients of all inputs; by plain operations where gradients of gradients are wanted."""
    rows_SD, before_SW, counts_E, *saved = ctx.saved_tensors
    maps, wanted = Maps(*saved), (ctx.needs_input_grad[0], *ctx.needs_input_grad[2:6])
    if torch.is_grad_enabled():
        outputs = run_sorted_plainly(rows_SD, counts_E, maps, ctx.activation)
        of_rows, *of_maps = gradients_of(outputs, (rows_SD, *maps), wanted, gradient_SO)
    else:
        needs = Needs(wanted[0], any(wanted[1:]))
        of_rows, *of_maps = backward(gradient_SO, rows_SD, before_SW, counts_E, maps, ctx.activation, needs)
    return of_rows, None, *of_maps, None, None


@torch.library.custom_op("distilled_experts::sorted_experts", mutates_args=())
def _compiled(
    rows_SD: Tensor,
    counts_E: Tensor,
    up: Tensor,
    up_bias: Tensor | None,
    down: Tensor,
    down_bias: Tensor | None,
    activation: str,
    keep: bool,
) -> tuple[Tensor, Tensor]:
    """For graphs, which cannot hold what depends on the counts; a call costs more than that of the function."""
    return _forward(rows_SD, counts_E, Maps(up, up_bias, down, down_bias), activation, keep)


@_compiled.register_fake
def _(
    rows_SD: Tensor,
    counts_E: Tensor,
    up: Tensor,
    up_bias: Tensor | None,
    down: Tensor,
    down_bias: Tensor | None,
    activation: str,
    keep: bool,
) -> tuple[Tensor, Tensor]:
    n_rows = len(rows_SD)
    return rows_SD.new_empty(n_rows, down.shape[1]), rows_SD.new_empty((n_rows, up.shape[1]) if keep else 0)


@torch.library.custom_op("distilled_experts::sorted_experts_backward", mutates_args=())
def _compiled_backward(
    gradient_SO: Tensor,
    rows_SD: Tensor,
    before_SW: Tensor,
    counts_E: Tensor,
    up: Tensor,
    up_bias: Tensor | None,
    down: Tensor,
    down_bias: Tensor | None,
    activation: str,
    of_rows: bool,
    of_maps: bool,
) -> list[Tensor]:
    """Gradients that are there, in order."""
    maps, needs = Maps(up, up_bias, down, down_bias), Needs(of_rows, of_maps)
    gradients = _backward(gradient_SO, rows_SD, before_SW, counts_E, maps, activation, needs)
    return [gradient for gradient in gradients if gradient is not None]


@_compiled_backward.register_fake
def _(
    gradient_SO: Tensor,
    rows_SD: Tensor,
    before_SW: Tensor,
    counts_E: Tensor,
    up: Tensor,
    up_bias: Tensor | None,
    down: Tensor,
    down_bias: Tensor | None,
    activation: str,
    of_rows: bool,
    of_maps: bool,
) -> list[Tensor]:
    wanted = [*([rows_SD] if of_rows else []), *((up, up_bias, down, down_bias) if of_maps else ())]
    return [torch.empty_like(values) for values in wanted if values is not None]


def _set_up(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    rows_SD, counts_E, *maps, ctx.activation, _ = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(rows_SD, output[1], counts_E, *maps)


def _differentiate_compiled(ctx: Any, gradient_SO: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    def backward(*given: Any) -> Gradients:
        *tensors, maps, activation, needs = given
        found = iter(_compiled_backward(*tensors, *maps, activation, *needs))
        of_rows = next(found) if needs.rows else None
        up, up_bias, down, down_bias = (None if v is None or not needs.maps else next(found) for v in maps)
        return of_rows, up, up_bias, down, down_bias

    return _differentiate(ctx, gradient_SO, backward)


_compiled.register_autograd(_differentiate_compiled, setup_context=_set_up)


def _differentiable(*inputs: Tensor | None) -> Iterator[bool]:
    return (values is not None and values.requires_grad for values in inputs)


def _unbound(values: Tensor | None) -> Iterable[Tensor | None]:
    return itertools.repeat(None) if values is None else values.unbind()
