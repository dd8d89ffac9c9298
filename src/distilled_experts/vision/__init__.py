"""Images: data, augmentation, small networks with mixtures of experts, and their training on the Trainer.

Every name is loaded on first use: importing this package loads neither PyTorch nor Transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from distilled_experts.lazy import lazy_names

if TYPE_CHECKING:
    from distilled_experts.vision.convolution import ConvolutionExperts, convolution_mixture
    from distilled_experts.vision.data import load_images
    from distilled_experts.vision.images import Images
    from distilled_experts.vision.models import MODELS, build_model
    from distilled_experts.vision.training import train_model

__all__ = [
    "ConvolutionExperts",
    "Images",
    "MODELS",
    "build_model",
    "convolution_mixture",
    "load_images",
    "train_model",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ConvolutionExperts": "convolution",
        "Images": "images",
        "MODELS": "models",
        "build_model": "models",
        "convolution_mixture": "convolution",
        "load_images": "data",
        "train_model": "training",
    },
)
