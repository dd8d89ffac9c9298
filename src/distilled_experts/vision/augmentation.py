"""Standard augmentation of images, as tensors and for a whole batch at once.

Legend: B images, C channels, H height, W width, P padding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["augment", "crop", "flip"]


def augment(x_BCHW: Tensor, *, padding: int, mirrored: bool, generator: torch.Generator) -> Tensor:
    """Shift every image by up to `padding` pixels, and mirror every second one where that makes sense.

    Parameters
    ----------
    x_BCHW : Tensor (B, C, H, W)
        Normalised, so that zero is the mean.
    padding : int
        0: no shift.
    mirrored : bool
    generator : torch.Generator
        On the processor.

    Returns
    -------
    Tensor (B, C, H, W)

    Examples
    --------
    >>> image = torch.arange(4.0).reshape(1, 1, 2, 2)
    >>> augment(image, padding=0, mirrored=True, generator=torch.Generator().manual_seed(0)).flatten()
    tensor([1., 0., 3., 2.])
    """
    n_images = len(x_BCHW)
    if padding:
        shifts_B2 = torch.randint(2 * padding + 1, (n_images, 2), generator=generator)
        x_BCHW = crop(x_BCHW, padding, shifts_B2.to(x_BCHW.device))
    if mirrored:
        chosen_B = torch.rand(n_images, generator=generator) < 0.5
        x_BCHW = flip(x_BCHW, chosen_B.to(x_BCHW.device))
    return x_BCHW


def crop(x_BCHW: Tensor, padding: int, shifts_B2: Tensor) -> Tensor:
    """Pad all sides with zeros, and cut each image out again from its own place, (B, 2) rows and columns from 0 to 2P.

    Examples
    --------
    >>> crop(torch.ones(1, 1, 2, 2), 1, torch.tensor([[0, 1]])).squeeze()
    tensor([[0., 0.],
            [1., 1.]])
    """
    height, width = x_BCHW.shape[-2:]
    padded = F.pad(x_BCHW, (padding, padding, padding, padding))
    # All places that there are, as a view: (B, C, 2P + 1, 2P + 1, H, W).
    places = padded.unfold(2, height, 1).unfold(3, width, 1)
    rows_B, columns_B = shifts_B2.unbind(1)
    return places[torch.arange(len(x_BCHW), device=x_BCHW.device), :, rows_B, columns_B]


def flip(x_BCHW: Tensor, chosen_B: Tensor) -> Tensor:
    """Mirror the chosen images, left to right.

    Examples
    --------
    >>> flip(torch.tensor([[[[1.0, 2.0]]], [[[1.0, 2.0]]]]), torch.tensor([True, False])).flatten()
    tensor([2., 1., 1., 2.])
    """
    return torch.where(chosen_B[:, None, None, None], x_BCHW.flip(-1), x_BCHW)
