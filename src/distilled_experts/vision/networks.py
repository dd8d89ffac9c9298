"""Small convolutional networks with mixtures of experts: as the classifier's head, or inside.

Legend: B images, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format
from transformers.modeling_outputs import ImageClassifierOutput

from distilled_experts.layers import MixtureOfExperts, MoEOutput
from distilled_experts.vision.convolution import maps_of, rows_of

__all__ = ["ConvolutionNetwork", "ExpertBlock", "HeadMixture", "halved"]


def halved(size: tuple[int, int]) -> tuple[int, int]:
    """Height and width behind a pooling of two by two."""
    return size[0] // 2, size[1] // 2


class ExpertBlock(nn.Module):
    """Residual block with convolutional experts, then pooling and a linear classifier.

    Parameters
    ----------
    mixture : MixtureOfExperts
        Of convolutional experts.
    channels : int
    size : (int, int)
        Of the feature maps that it gets.
    n_classes : int
    """

    def __init__(self, mixture: MixtureOfExperts, channels: int, size: tuple[int, int], n_classes: int) -> None:
        super().__init__()
        self.mixture = mixture
        self.size = size
        height, width = halved(size)
        self.classifier = nn.Linear(channels * height * width, n_classes)

    def forward(self, maps: Tensor) -> tuple[Tensor, MoEOutput]:
        """Class scores (B, K), and what the mixture returned."""
        out: MoEOutput = self.mixture(rows_of(maps))
        mixed = F.max_pool2d(maps + maps_of(out.output, maps.shape[1], self.size), 2).relu()
        return self.classifier(mixed.flatten(1)), out


class HeadMixture(nn.Module):
    """A mixture whose experts are classifiers.

    Parameters
    ----------
    mixture : MixtureOfExperts
        From flattened feature maps to class scores.
    """

    def __init__(self, mixture: MixtureOfExperts) -> None:
        super().__init__()
        self.mixture = mixture

    def forward(self, maps: Tensor) -> tuple[Tensor, MoEOutput]:
        """Class scores (B, K), and what the mixture returned."""
        out: MoEOutput = self.mixture(rows_of(maps))
        return out.output, out


class ConvolutionNetwork(nn.Module):
    """Convolutions, each with pooling, below a head with a mixture of experts.

    Parameters
    ----------
    channels : tuple of int
        Of the images, and behind every convolution.
    head : Module
        From feature maps to class scores and `MoEOutput`.
    alpha : float
        Strength of mutual distillation.
    balance : float
        Strength of the loss that keeps all experts in use.
    """

    def __init__(self, channels: tuple[int, ...], head: nn.Module, *, alpha: float = 0.0, balance: float = 0.0) -> None:
        super().__init__()
        stem = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(channels))
        # Of images with one channel nobody can tell how they lie in memory; of the weights one can.
        self.stem = convert_conv2d_weight_memory_format(stem, torch.channels_last)
        self.head = head
        self.alpha = alpha
        self.balance = balance

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> ImageClassifierOutput:
        """Class scores (B, K) for images (B, C, H, W); with labels (B) the loss, in training with all its parts."""
        # Rectified behind the pooling, where there is less to do, and the result is the same.
        maps = pixel_values
        for convolution in self.stem:
            maps = F.max_pool2d(convolution(maps), 2).relu()
        logits, out = self.head(maps)
        loss = None if labels is None else F.cross_entropy(logits, labels)
        if loss is not None and self.training:
            loss = loss + self._of_mixture(out)
        return ImageClassifierOutput(loss=loss, logits=logits)

    def _of_mixture(self, out: MoEOutput) -> Tensor:
        """The parts of the loss that are the mixture's."""
        loss = out.output.new_zeros(())
        if self.balance:
            loss = loss + self.balance * out.balance_loss
        if out.distillation_loss is not None:
            loss = loss + self.alpha * out.distillation_loss
        return loss
