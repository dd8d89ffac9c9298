"""The models of a comparison of images by name, each with mixtures or as a dense network of as many parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from torch import nn
from transformers import ViTConfig, ViTForImageClassification

from distilled_experts.errors import DataError, InvalidParameterError
from distilled_experts.functional import Distance, Teacher
from distilled_experts.layers import MixtureOfExperts
from distilled_experts.transformers import attach, swap
from distilled_experts.transformers.initialisation import draw_feed_forwards
from distilled_experts.transformers.random_state import seeded
from distilled_experts.transformers.sizes import matching_width, n_parameters
from distilled_experts.vision.convolution import convolution_mixture
from distilled_experts.vision.networks import ConvolutionNetwork, ExpertBlock, HeadMixture, halved

__all__ = ["DEFAULT_MODEL", "MODELS", "ModelKind", "ModelSettings", "build_model", "dense_settings"]

_CHANNELS = (16, 32)
_VIT_WIDTH, _VIT_LAYERS, _VIT_HEADS = 64, 4, 4
# Sides of an image in patches, at most.
_MOST_PATCHES = 8


@dataclass(frozen=True)
class ModelSettings:
    """What a model is made of.

    Attributes
    ----------
    model : str
        A name in `MODELS`.
    shape : (int, int, int)
        Height, width and channels of the images.
    n_classes : int
    n_experts : int
        One: a dense network.
    top_k : int or None
        None: the dense gate.
    hidden : int
        Hidden units, or channels, of each expert.
    distance, teacher : str
        As in `functional.mutual_distillation`.
    balance : float
        Strength of the loss that keeps all experts in use.
    """

    model: str
    shape: tuple[int, int, int]
    n_classes: int
    n_experts: int = 4
    top_k: int | None = None
    hidden: int = 32
    distance: Distance = "relative"
    teacher: Teacher = "mean"
    balance: float = 0.01


def build_model(settings: ModelSettings, *, seed: int, alpha: float = 0.0) -> nn.Module:
    """Make a model whose initial values depend on the seed alone.

    Parameters
    ----------
    settings : ModelSettings
    seed : int
    alpha : float
        Strength of mutual distillation.

    Returns
    -------
    Module
        Takes ``pixel_values`` (B, C, H, W) and ``labels`` (B), returns an object with ``loss`` and ``logits``.

    Raises
    ------
    InvalidParameterError
        A name is unknown, or an option has a value that is not allowed.
    DataError
        Images are too small for the model.

    Examples
    --------
    >>> model = build_model(ModelSettings("conv-head", (8, 8, 1), 10), seed=0)
    >>> model(torch.zeros(2, 1, 8, 8)).logits.shape
    torch.Size([2, 10])
    """
    if settings.model not in MODELS:
        raise InvalidParameterError("model", settings.model, MODELS)
    if min(settings.shape[:2]) < 2 ** (len(_CHANNELS) + 1):
        raise DataError(f"data: images of {settings.shape[0]} × {settings.shape[1]} pixels; allowed: 8 × 8 or larger")
    with seeded(seed):
        return MODELS[settings.model].build(settings, alpha)


def dense_settings(settings: ModelSettings) -> ModelSettings:
    """The dense network that has as many parameters as a model with mixtures, or as near as its width allows.

    Examples
    --------
    >>> mixture = ModelSettings("conv-head", (8, 8, 1), 10)
    >>> dense = dense_settings(mixture)
    >>> [n_parameters(build_model(one, seed=0)) for one in (mixture, dense)]
    [23148, 23148]
    """
    alone = replace(settings, n_experts=1, top_k=None)
    wanted = n_parameters(build_model(settings, seed=0))
    return replace(alone, hidden=matching_width(lambda n: build_model(replace(alone, hidden=n), seed=0), wanted))


def _conv_head(s: ModelSettings, alpha: float) -> nn.Module:
    height, width = halved(halved(s.shape[:2]))
    mixture = MixtureOfExperts(
        height * width * _CHANNELS[-1], s.n_classes, hidden=s.hidden, outputs="logits", **_mixture_options(s, alpha)
    )
    return _network(s, HeadMixture(mixture), _CHANNELS, alpha)


def _conv_experts(s: ModelSettings, alpha: float) -> nn.Module:
    size = halved(s.shape[:2])
    mixture = convolution_mixture(_CHANNELS[-1], hidden=s.hidden, size=size, **_mixture_options(s, alpha))
    return _network(s, ExpertBlock(mixture, _CHANNELS[-1], size, s.n_classes), _CHANNELS[-1:], alpha)


def _vit(s: ModelSettings, alpha: float) -> nn.Module:
    if s.shape[0] != s.shape[1]:
        raise DataError(f"data: images of {s.shape[0]} × {s.shape[1]} pixels; allowed for vit: squares")
    config = ViTConfig(
        image_size=s.shape[0],
        num_channels=s.shape[2],
        patch_size=_patch(s.shape[0]),
        hidden_size=_VIT_WIDTH,
        num_hidden_layers=_VIT_LAYERS,
        num_attention_heads=_VIT_HEADS,
        intermediate_size=s.hidden,
    )
    config.num_labels = s.n_classes
    model = ViTForImageClassification(config)
    # Not in the last layer, of which the classifier reads one token alone.
    every_second = range(0, _VIT_LAYERS - 1, 2)
    if s.n_experts == 1:
        for i in every_second:
            draw_feed_forwards(model.get_submodule(f"vit.layers.{i}"))
        return model
    top_k = s.n_experts if s.top_k is None else s.top_k
    swap(model, layers=every_second, n_experts=s.n_experts, top_k=top_k, init="fresh", balance=s.balance)
    if alpha:
        attach(model, alpha, layers="all", distance=s.distance, teacher=s.teacher)
    return model


def _network(s: ModelSettings, head: nn.Module, channels: tuple[int, ...], alpha: float) -> nn.Module:
    balance = 0.0 if s.n_experts == 1 else s.balance
    return ConvolutionNetwork((s.shape[2], *channels), head, alpha=alpha, balance=balance)


def _mixture_options(s: ModelSettings, alpha: float) -> dict[str, Any]:
    told = {"distillation": alpha > 0, "distance": s.distance, "teacher": s.teacher}
    return {"n_experts": s.n_experts, "top_k": s.top_k, **told}


def _patch(side: int) -> int:
    """Smallest side of a patch that divides the image into few enough of them."""
    return next(size for size in range(1, side + 1) if side % size == 0 and side // size <= _MOST_PATCHES)


class ModelKind(NamedTuple):
    """How a model is made, and what suits it: hidden units or channels of an expert, and the distance of distillation.

    Squared error is for class scores, as with tables; of hidden states ``"relative"`` does not have to know the scale.
    """

    build: Callable[[ModelSettings, float], nn.Module]
    hidden: int
    distance: Distance


MODELS = {
    "conv-head": ModelKind(_conv_head, 64, "mse"),
    "conv-experts": ModelKind(_conv_experts, 16, "relative"),
    "vit": ModelKind(_vit, 64, "relative"),
}
"""A convolutional network with a mixture as its head; one with convolutional experts inside; a small vision
transformer with sparse mixtures in every second layer, each token routed by itself."""
DEFAULT_MODEL = "conv-head"
