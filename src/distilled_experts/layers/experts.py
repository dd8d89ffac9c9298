"""Experts: small networks of one shape, their weights stacked.

Legend: E experts, N samples, S rows sorted by expert, H hidden width, D output width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import get_args

import torch
from torch import Tensor, nn

from distilled_experts.checks import check_whole
from distilled_experts.errors import InvalidParameterError
from distilled_experts.layers.activations import ACTIVATIONS, Activation
from distilled_experts.layers.dense_experts import run_all
from distilled_experts.layers.initialisation import uniform_parameter
from distilled_experts.layers.products import Maps
from distilled_experts.layers.sorted_experts import run_sorted


class StackedExperts(nn.Module, ABC):
    """E networks of one form in one module: what a mixture asks of its experts.

    ``MixtureOfExperts.experts`` can be replaced by any with the same widths and number.
    """

    @abstractmethod
    def forward(self, x_ND: Tensor) -> Tensor:
        """Run every expert on every sample: (N, d_in) → (N, E, d_out)."""

    @abstractmethod
    def run_sorted(self, rows_SD: Tensor, counts_E: Tensor) -> Tensor:
        """Run each expert on its own rows: (S, d_in), counts (E) of rows → (S, d_out)."""


class Experts(StackedExperts):
    r"""E networks ``down(activation(up(x)))``, with weights in one tensor for each matrix.

    Weights are ``(E, out, in)``, as in `torch.nn.Linear` and in Transformers: measured faster than ``(E, in,
    out)``.

    Parameters
    ----------
    d_in, d_out : int
        Width of a sample, width of an output.
    hidden : int
        Hidden units of each expert.
    n_experts : int
        The number of experts E.
    activation : {"relu", "gelu", "swiglu"}
        ``"swiglu"`` has a second matrix on the way up: ``silu(gate(x)) · up(x)``.
    bias : bool
        Whether both maps have a bias.
    recompute : bool
        Trade time for memory where rows are sorted: what lies before the activation is not kept for the way back, but
        computed again, one of six products more.
    generator : torch.Generator, optional
        For initial values, those of `torch.nn.Linear`. None: PyTorch's own.
    device, dtype
        Of the parameters.

    Attributes
    ----------
    up : Parameter (E, H, d_in), or (E, 2H, d_in) for swiglu, the gate's half first
    up_bias : Parameter (E, H) or (E, 2H), or None
    down : Parameter (E, d_out, H)
    down_bias : Parameter (E, d_out) or None

    Examples
    --------
    >>> experts = Experts(4, 2, hidden=8, n_experts=3)
    >>> experts(torch.zeros(5, 4)).shape
    torch.Size([5, 3, 2])
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        hidden: int,
        n_experts: int,
        activation: Activation = "relu",
        bias: bool = True,
        recompute: bool = False,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        sizes = {"d_in": d_in, "d_out": d_out, "hidden": hidden, "n_experts": n_experts}
        for parameter, value in sizes.items():
            check_whole(parameter, value)
        if activation not in get_args(Activation):
            raise InvalidParameterError("activation", activation, get_args(Activation))
        self.activation: Activation = activation
        self.recompute = recompute

        def draw(*shape: int, fan_in: int) -> nn.Parameter:
            return uniform_parameter(*shape, fan_in=fan_in, generator=generator, device=device, dtype=dtype)

        width = ACTIVATIONS[activation].n_ups * hidden
        self.up = draw(n_experts, width, d_in, fan_in=d_in)
        self.up_bias = draw(n_experts, width, fan_in=d_in) if bias else None
        self.down = draw(n_experts, d_out, hidden, fan_in=hidden)
        self.down_bias = draw(n_experts, d_out, fan_in=hidden) if bias else None

    def forward(self, x_ND: Tensor) -> Tensor:
        """Run every expert on every sample: (N, d_in) → (N, E, d_out), experts outermost in memory."""
        return run_all(x_ND, self.maps, self.activation)

    def run_sorted(self, rows_SD: Tensor, counts_E: Tensor) -> Tensor:
        """Run each expert on its own rows: (S, d_in), counts (E) of rows → (S, d_out)."""
        return run_sorted(rows_SD, counts_E, self.maps, self.activation, self.recompute)

    @property
    def maps(self) -> Maps:
        """The weights."""
        return Maps(self.up, self.up_bias, self.down, self.down_bias)

    def extra_repr(self) -> str:
        """Describe the experts in the module's representation."""
        n_experts, d_out, hidden = self.down.shape
        widths = f"{self.up.shape[-1]}, {d_out}, hidden={hidden}"
        return f"{widths}, n_experts={n_experts}, activation={self.activation}"
