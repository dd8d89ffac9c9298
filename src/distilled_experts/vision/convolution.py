"""Experts that are small convolutional networks: in the place of the experts of a `layers.MixtureOfExperts`.

A mixture routes rows of numbers. An image's feature map (height, width, channels) is one row, its channels last, which
is how ``channels_last`` tensors lie in memory: nothing is copied on the way in.

Legend: N images, E experts, S rows sorted by expert, C channels, h, w height and width, I and O width of a row before
and after, H hidden channels.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilled_experts.checks import check_whole
from distilled_experts.layers import MixtureOfExperts, StackedExperts
from distilled_experts.layers.initialisation import uniform_parameter

__all__ = ["ConvolutionExperts", "convolution_mixture", "maps_of", "rows_of"]


def rows_of(maps_NChw: Tensor) -> Tensor:
    """Feature maps as rows: (N, C, h, w) → (N, h·w·C)."""
    return maps_NChw.permute(0, 2, 3, 1).flatten(1)


def maps_of(rows_NI: Tensor, channels: int, size: tuple[int, int]) -> Tensor:
    """Rows as feature maps, channels last in memory: (N, h·w·C) → (N, C, h, w).

    Examples
    --------
    >>> maps = torch.randn(2, 3, 4, 5)
    >>> torch.equal(maps_of(rows_of(maps), 3, (4, 5)), maps)
    True
    """
    maps_NhwC: Tensor = rows_NI.unflatten(1, (*size, channels))
    return maps_NhwC.permute(0, 3, 1, 2)


class ConvolutionExperts(StackedExperts):
    r"""E networks ``down(relu(up(x)))`` of two convolutions (3 × 3, padded), with stacked weights.

    Parameters
    ----------
    channels : int
        Of the feature maps, before and after.
    hidden : int
        Channels between the convolutions.
    size : (int, int)
        Height and width of the feature maps.
    n_experts : int
        The number of experts E.
    generator : torch.Generator, optional
        For initial values, those of `torch.nn.Conv2d`. None: PyTorch's own.

    Attributes
    ----------
    up : Parameter (E, H, C, 3, 3)
    up_bias : Parameter (E, H)
    down : Parameter (E, C, H, 3, 3)
    down_bias : Parameter (E, C)

    Examples
    --------
    >>> experts = ConvolutionExperts(4, hidden=8, size=(6, 5), n_experts=3)
    >>> experts(torch.zeros(2, 4 * 6 * 5)).shape
    torch.Size([2, 3, 120])
    """

    def __init__(
        self,
        channels: int,
        *,
        hidden: int,
        size: tuple[int, int],
        n_experts: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        for name, value in {"channels": channels, "hidden": hidden, "n_experts": n_experts}.items():
            check_whole(name, value)
        self.size = size

        def draw(*shape: int, fan_in: int) -> nn.Parameter:
            return uniform_parameter(*shape, fan_in=fan_in, generator=generator, device=None, dtype=None)

        self.up = draw(n_experts, hidden, channels, 3, 3, fan_in=9 * channels)
        self.up_bias = draw(n_experts, hidden, fan_in=9 * channels)
        self.down = draw(n_experts, channels, hidden, 3, 3, fan_in=9 * hidden)
        self.down_bias = draw(n_experts, channels, fan_in=9 * hidden)

    def forward(self, rows_NI: Tensor) -> Tensor:
        """Run every expert on every image: (N, h·w·C) → (N, E, h·w·C)."""
        n_experts, channels = self.down.shape[:2]
        # One convolution for the way up of all experts, and as many groups as experts for the way down.
        hidden = F.conv2d(self._maps(rows_NI), self.up.flatten(0, 1), self.up_bias.flatten(), padding=1).relu()
        down = F.conv2d(hidden, self.down.flatten(0, 1), self.down_bias.flatten(), padding=1, groups=n_experts)
        maps_NEChw: Tensor = down.unflatten(1, (n_experts, channels))
        return maps_NEChw.permute(0, 1, 3, 4, 2).flatten(2)

    def run_sorted(self, rows_SI: Tensor, counts_E: Tensor) -> Tensor:
        """Run each expert on its own images: (S, h·w·C), counts (E) of rows → (S, h·w·C)."""
        weights = zip(*(p.unbind() for p in (self.up, self.up_bias, self.down, self.down_bias)), strict=True)
        parts = zip(rows_SI.split(counts_E.tolist()), weights, strict=True)
        return torch.cat([rows_of(_two_convolutions(self._maps(rows), *own)) for rows, own in parts])

    def _maps(self, rows: Tensor) -> Tensor:
        return maps_of(rows, self.down.shape[1], self.size)

    def extra_repr(self) -> str:
        """Describe the experts in the module's representation."""
        n_experts, hidden, channels = self.up.shape[:3]
        return f"{channels}, hidden={hidden}, size={self.size}, n_experts={n_experts}"


def convolution_mixture(
    channels: int,
    *,
    hidden: int,
    size: tuple[int, int],
    n_experts: int,
    top_k: int | None = None,
    generator: torch.Generator | None = None,
    **distillation: Any,
) -> MixtureOfExperts:
    """Mixture of convolutional experts, each image routed as a whole by a linear gate: (N, h·w·C) → (N, h·w·C).

    Parameters
    ----------
    channels, hidden, size, n_experts
        As in `ConvolutionExperts`.
    top_k : int, optional
        The number of active experts. None: the dense gate.
    generator : torch.Generator, optional
        For initial values.
    **distillation
        Further options of `layers.MixtureOfExperts`, such as ``distance``.

    Examples
    --------
    >>> mixture = convolution_mixture(2, hidden=4, size=(5, 5), n_experts=3, top_k=2, distance="relative")
    >>> out = mixture(rows_of(torch.randn(6, 2, 5, 5)))
    >>> maps_of(out.output, 2, (5, 5)).shape, out.routing.indices.shape
    (torch.Size([6, 2, 5, 5]), torch.Size([6, 2]))
    """
    width = channels * size[0] * size[1]
    # The smallest experts of the usual form, to be replaced.
    mixture = MixtureOfExperts(
        width, width, hidden=1, n_experts=n_experts, top_k=top_k, generator=generator, **distillation
    )
    mixture.experts = ConvolutionExperts(channels, hidden=hidden, size=size, n_experts=n_experts, generator=generator)
    return mixture


def _two_convolutions(maps: Tensor, up: Tensor, up_bias: Tensor, down: Tensor, down_bias: Tensor) -> Tensor:
    return F.conv2d(F.conv2d(maps, up, up_bias, padding=1).relu(), down, down_bias, padding=1)
