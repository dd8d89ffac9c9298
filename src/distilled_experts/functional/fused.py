"""Mixture and distillation loss of squared error in one pass, with their gradients in closed form.

Legend: N samples, k experts, width D, ``*`` any leading axes. Sums over the experts visit them one by one, many
times faster than a reduction of that axis; a layout with experts outermost stays as it is.

The gradient of ``L = Σ_n Σ_i c_ni ‖e_ni − ē_n‖²`` with ``c_ni`` proportional to the shares that average ē is
``∂L/∂e_i = 2 c_ni (e_i − ē)``, because the way through ē cancels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from distilled_experts.functional.distances import mean_square
from distilled_experts.functional.factors import LossFactors, accumulation_dtype, per_expert
from distilled_experts.functional.teachers import expert_mean

Gradients = tuple[Tensor | None, Tensor | None]


def weighted_sum(outputs: Tensor, weights: Tensor) -> Tensor:
    """Mix the experts: (*, N, k, D), (*, N, k) → (*, N, D)."""
    if not torch.is_grad_enabled() or transformed():
        return _weighted_sum(outputs, weights).to(outputs.dtype)
    apply: Callable[[Tensor, Tensor], Tensor] = _WeightedSum.apply
    return apply(outputs, weights)


def distilled_sum(
    outputs: Tensor, weights: Tensor, factors: LossFactors, pair_scale: bool, relative: bool
) -> tuple[Tensor, Tensor]:
    """Mix the experts as `weighted_sum` does, to the bit, and give their squared-error loss (*) beside it."""
    row_factor = per_expert(factors.row_factor(pair_scale))
    coefficient = factors.share * row_factor / max(outputs.shape[-1], 1)
    apply: Callable[..., tuple[Tensor, Tensor]] = _DistilledSum.apply
    return apply(outputs, weights, factors.share, factors.rows, coefficient, relative)


def transformed() -> bool:
    """Whether a transform of `torch.func` is at work, for which functions would need slower forms."""
    # PyTorch has no public word for it.
    return bool(torch._C._are_functorch_transforms_active())


class _WeightedSum(Function):
    """The mixture alone, ``y = Σ_i w_i e_i``: (*, N, k, D), (*, N, k) → (*, N, D)."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        """Sum over the experts."""
        outputs, weights = inputs
        ctx.save_for_backward(outputs, weights)
        return _weighted_sum(outputs, weights).to(outputs.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """``∂e_i = w_i ∂y``, ``∂w_i = e_i·∂y``."""
        outputs, weights = ctx.saved_tensors
        return _mixture_gradients(outputs, weights, gradients[0], ctx.needs_input_grad)


class _DistilledSum(Function):
    """The mixture (*, N, D) and its distillation loss (*).

    Inputs: expert outputs (*, N, k, D), weights (*, N, k), then three factors, each a tensor or a number:
    shares that average ē, rows that average the samples, coefficients (*, N, k) of the squared distances.
    Last, whether the distance is relative.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor]:
        """Mix and compare. Kept is what the experts gave, not the distances from its mean: those are cheap."""
        outputs, weights, share, rows, coefficient, relative = inputs
        # Once for all that follows: operations on two precisions are slow.
        wide = outputs.to(accumulation_dtype(outputs.dtype))
        mean = _mean(wide, share)
        unit: Tensor | float = mean_square(mean, rows) if relative else 1.0
        loss = _in_units(_squared_distances(wide, mean, coefficient), unit)
        ctx.set_materialize_grads(False)
        factors = (share, unit, coefficient)
        ctx.numbers = [None if isinstance(factor, Tensor) else factor for factor in factors]
        ctx.save_for_backward(outputs, weights, mean, *(factor for factor in factors if isinstance(factor, Tensor)))
        return _weighted_sum(wide, weights).to(outputs.dtype), loss

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """``∂e_i = w_i ∂y + 2 c_i (e_i − ē) ∂L``, ``∂w_i = e_i·∂y``."""
        outputs, weights, mean, *tensors = ctx.saved_tensors
        share, unit, coefficient = (tensors.pop(0) if n is None else n for n in ctx.numbers)
        mixed_gradient, loss_gradient = gradients
        if mixed_gradient is None:
            mixed_gradient = outputs.new_zeros(()).expand(mean.shape)
        if loss_gradient is None:
            both = _mixture_gradients(outputs, weights, mixed_gradient, ctx.needs_input_grad)
            return *both, None, None, None, None
        strength = _in_units(loss_gradient, unit)[..., None, None] * (2 * coefficient)
        if torch.is_grad_enabled():
            # For gradients of gradients ē has to depend on the experts again.
            mean = expert_mean(outputs.to(mean.dtype), share).squeeze(-2)
        both = _distilled_gradients(outputs, weights, mixed_gradient, strength, mean, ctx.needs_input_grad)
        return *both, None, None, None, None


def _weighted_sum(outputs: Tensor, weights: Tensor) -> Tensor:
    total: Tensor | None = None
    weights = weights.to(accumulation_dtype(outputs.dtype))
    for output, weight in zip(outputs.unbind(-2), weights.unsqueeze(-1).unbind(-2), strict=True):
        total = output * weight if total is None else total.addcmul_(output, weight)
    return total if total is not None else outputs.sum(-2)


def _mean(outputs: Tensor, share: Tensor | float) -> Tensor:
    if isinstance(share, Tensor):
        return _weighted_sum(outputs, share.expand(outputs.shape[:-1]))
    first, *others = outputs.unbind(-2)
    total = first * share
    for output in others:
        total.add_(output, alpha=share)
    return total


def _squared_distances(outputs: Tensor, mean: Tensor, coefficient: Tensor | float) -> Tensor:
    """``Σ_n Σ_i c_ni ‖e_ni − ē_n‖²``: (*, N, k, D), (*, N, D) → (*)."""
    squares = (outputs - mean.unsqueeze(-2)).square_()
    if isinstance(coefficient, Tensor):
        return squares.mul_(coefficient.unsqueeze(-1)).sum((-3, -2, -1))
    return squares.sum((-3, -2, -1)) * coefficient


def _in_units(values: Tensor, unit: Tensor | float) -> Tensor:
    # An operation on one number takes as long as one on a thousand.
    return values / unit if isinstance(unit, Tensor) else values


def _mixture_gradients(outputs: Tensor, weights: Tensor, mixed: Tensor, needs: tuple[bool, ...]) -> Gradients:
    mixed = mixed.unsqueeze(-2)
    # In this order the memory of the product serves again.
    of_weights = _sum_width(outputs * mixed).to(weights.dtype) if needs[1] else None
    return _layout_of(outputs, weights.unsqueeze(-1), mixed) if needs[0] else None, of_weights


def _distilled_gradients(
    outputs: Tensor, weights: Tensor, mixed: Tensor, strength: Tensor, mean: Tensor, needs: tuple[bool, ...]
) -> Gradients:
    mixed = mixed.unsqueeze(-2)
    of_weights = _sum_width(outputs * mixed).to(weights.dtype) if needs[1] else None
    if not needs[0]:
        return None, of_weights
    pull = outputs - mean.unsqueeze(-2)
    strength, weights = strength.unsqueeze(-1), weights.unsqueeze(-1)
    if torch.is_grad_enabled():
        return (pull * strength + weights * mixed).to(outputs.dtype), of_weights
    return pull.mul_(strength).addcmul_(weights, mixed).to(outputs.dtype), of_weights


def _layout_of(outputs: Tensor, weights: Tensor, mixed: Tensor) -> Tensor:
    """Multiply, and lay the result out as the expert outputs are."""
    if torch.is_grad_enabled():
        return (weights * mixed).to(outputs.dtype)
    return torch.mul(weights, mixed, out=torch.empty_like(outputs))


def _sum_width(product: Tensor) -> Tensor:
    """Sum over the width, (*, N, k, D) → (*, N, k); slow if the result had another order in memory."""
    dtype = accumulation_dtype(product.dtype)
    if product.stride(-3) < product.stride(-1):
        return product.movedim(-3, -1).sum(-2, dtype=dtype).transpose(-1, -2)
    return product.sum(-1, dtype=dtype)
