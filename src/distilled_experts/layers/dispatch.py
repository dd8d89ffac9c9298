"""From samples to the experts that they are sent to, and back.

Legend: N samples, k active experts, D width of a sample, S = N·k rows sorted by expert.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


@dataclass(frozen=True)
class Dispatch:
    """The order in which samples visit experts: sorted by expert, by sample within one; nothing is dropped.

    Attributes
    ----------
    order : Tensor (S) of int64
        The pair of sample and choice that each row belongs to.
    places : Tensor (S) of int64
        The row of each pair of sample and choice.
    counts : Tensor (E) of int64
        Rows of each expert.
    k : int
        Rows of each sample.

    Examples
    --------
    >>> dispatch = Dispatch.from_indices(torch.tensor([[1, 0], [1, 2]]), 3)
    >>> dispatch.gather(torch.tensor([[10.0], [20.0]])).flatten(), dispatch.counts
    (tensor([10., 10., 20., 20.]), tensor([1, 2, 1]))
    """

    order: Tensor
    places: Tensor
    counts: Tensor
    k: int

    @property
    def samples(self) -> Tensor:
        """The sample that each row is a copy of, (S)."""
        return self.order.div(self.k, rounding_mode="floor")

    @classmethod
    def from_indices(cls, indices_Nk: Tensor, n_experts: int) -> Dispatch:
        """Sort the choices (N, k) of a gate by expert."""
        chosen_S = indices_Nk.flatten()
        order_S = chosen_S.argsort(stable=True)
        places_S = torch.empty_like(order_S).scatter_(0, order_S, torch.arange(len(order_S), device=order_S.device))
        # Counted without waiting for the device, as bincount would.
        counts_E = chosen_S.new_zeros(n_experts).scatter_add_(0, chosen_S, torch.ones_like(chosen_S))
        return cls(order_S, places_S, counts_E, indices_Nk.shape[-1])

    def gather(self, x_ND: Tensor) -> Tensor:
        """Copy each sample to the rows of its experts: (N, D) → (S, D)."""
        if not torch.is_grad_enabled():
            return x_ND.index_select(0, self.samples)
        apply: Callable[..., Tensor] = _Gather.apply
        return apply(x_ND, self.samples, self.order, self.places, self.k)

    def restore(self, rows_SD: Tensor) -> Tensor:
        """Bring rows back to the order of samples and choices: (S, D) → (N, k, D)."""
        rows_SD = permute(rows_SD, self.places, self.order)
        return rows_SD.reshape(len(self.places) // self.k, self.k, rows_SD.shape[-1])


def permute(rows_SD: Tensor, order_S: Tensor, inverse_S: Tensor) -> Tensor:
    """Rows in another order; its inverse is the way back of their gradients."""
    if not torch.is_grad_enabled():
        return rows_SD.index_select(0, order_S)
    apply: Callable[..., Tensor] = _Permute.apply
    return apply(rows_SD, order_S, inverse_S)


class _Gather(Function):
    """Rows of samples. On the way back each sample collects its own rows, where PyTorch would add them one by one."""

    @staticmethod
    def forward(x_ND: Tensor, samples_S: Tensor, order_S: Tensor, places_S: Tensor, k: int) -> Tensor:
        """Copy."""
        return x_ND.index_select(0, samples_S)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the way back."""
        *_, order_S, places_S, ctx.k = inputs
        ctx.save_for_backward(order_S, places_S)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Collect and add."""
        order_S, places_S = ctx.saved_tensors
        rows_SD = permute(gradients[0], places_S, order_S)
        return rows_SD.reshape(-1, ctx.k, rows_SD.shape[-1]).sum(1), None, None, None, None


class _Permute(Function):
    """As `permute`."""

    @staticmethod
    def forward(rows_SD: Tensor, order_S: Tensor, inverse_S: Tensor) -> Tensor:
        """Permute."""
        return rows_SD.index_select(0, order_S)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the way back."""
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Permute back."""
        order_S, inverse_S = ctx.saved_tensors
        return permute(gradients[0], inverse_S, order_S), None, None
