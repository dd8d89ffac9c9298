"""Images: data, augmentation, small networks with mixtures of experts, and their training on the Trainer.

Every name is loaded on first use: importing this package loads neither PyTorch nor Transformers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

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

_HOME = {
    "ConvolutionExperts": ".convolution",
    "Images": ".images",
    "MODELS": ".models",
    "build_model": ".models",
    "convolution_mixture": ".convolution",
    "load_images": ".data",
    "train_model": ".training",
}


def __getattr__(name: str) -> object:
    """Import a public name on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
