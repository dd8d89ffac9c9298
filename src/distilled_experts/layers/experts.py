"""Experts: small networks of one shape, their weights stacked.

Legend: E experts, N samples, S rows sorted by expert, H hidden width, D output width.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilled_experts.errors import InvalidParameterError
from distilled_experts.layers.checks import check_count
from distilled_experts.layers.initialisation import uniform_parameter

Activation = Literal["relu", "gelu", "swiglu"]

# Above this size the hidden units of all experts together fall out of the cache: then one expert after the
# other.
_BATCHED_BYTES = 16 * 2**20


class Experts(nn.Module):
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
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        sizes = {"d_in": d_in, "d_out": d_out, "hidden": hidden, "n_experts": n_experts}
        for parameter, value in sizes.items():
            check_count(parameter, value, 1)
        if activation not in get_args(Activation):
            raise InvalidParameterError("activation", activation, get_args(Activation))
        self.activation = activation

        def draw(*shape: int, fan_in: int) -> nn.Parameter:
            return uniform_parameter(*shape, fan_in=fan_in, generator=generator, device=device, dtype=dtype)

        width = 2 * hidden if activation == "swiglu" else hidden
        self.up = draw(n_experts, width, d_in, fan_in=d_in)
        self.up_bias = draw(n_experts, width, fan_in=d_in) if bias else None
        self.down = draw(n_experts, d_out, hidden, fan_in=hidden)
        self.down_bias = draw(n_experts, d_out, fan_in=hidden) if bias else None

    def forward(self, x_ND: Tensor) -> Tensor:
        """Run every expert on every sample: (N, d_in) → (N, E, d_out), experts outermost in memory."""
        n_experts, width, _ = self.up.shape
        size = n_experts * width * len(x_ND) * x_ND.element_size()
        if x_ND.device.type == "cpu" and size > _BATCHED_BYTES:
            return torch.stack(self._one_by_one([x_ND] * n_experts)).transpose(0, 1)
        x_EDN = x_ND.t().expand(n_experts, *x_ND.t().shape)
        hidden_EHN = self._activate(_batched(self.up, self.up_bias, x_EDN), -2)
        return _batched(self.down, self.down_bias, hidden_EHN).permute(2, 0, 1)

    def run_sorted(self, rows_SD: Tensor, counts: Sequence[int]) -> Tensor:
        """Run each expert on its own rows: (S, d_in), counts of rows → (S, d_out)."""
        return torch.cat(self._one_by_one(rows_SD.split(list(counts))))

    def _one_by_one(self, inputs: Iterable[Tensor]) -> list[Tensor]:
        # Indexing weights one by one under autograd would fill a gradient of full size for each expert.
        ups = zip(self.up.unbind(), _unbound(self.up_bias), strict=False)
        downs = zip(self.down.unbind(), _unbound(self.down_bias), strict=False)
        return [
            F.linear(self._activate(F.linear(rows, *up), -1), *down)
            for rows, up, down in zip(inputs, ups, downs, strict=True)
        ]

    def _activate(self, hidden: Tensor, dim: int) -> Tensor:
        if self.activation == "relu":
            return hidden.relu()
        if self.activation == "gelu":
            return F.gelu(hidden)
        gate, up = hidden.chunk(2, dim)
        return F.silu(gate) * up

    def extra_repr(self) -> str:
        """Describe the experts in the module's representation."""
        n_experts, d_out, hidden = self.down.shape
        widths = f"{self.up.shape[-1]}, {d_out}, hidden={hidden}"
        return f"{widths}, n_experts={n_experts}, activation={self.activation}"


def _batched(weight: Tensor, bias: Tensor | None, columns: Tensor) -> Tensor:
    """Multiply (E, out, in) with (E, in, N), for all experts at once."""
    if bias is None:
        return torch.bmm(weight, columns)
    return torch.baddbmm(bias.unsqueeze(-1), weight, columns)


def _unbound(bias: Tensor | None) -> Iterable[Tensor | None]:
    return itertools.repeat(None) if bias is None else bias.unbind()
