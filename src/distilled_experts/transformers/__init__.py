"""Mutual distillation for the mixtures of experts of Transformers, and mixtures in the place of dense feed-forwards.

Every name is loaded on first use: importing this package loads neither PyTorch nor Transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from distilled_experts.lazy import lazy_names

if TYPE_CHECKING:
    from distilled_experts.transformers.attaching import attach, detach, set_progress
    from distilled_experts.transformers.callback import DistillationCallback
    from distilled_experts.transformers.probing import probe_tokens
    from distilled_experts.transformers.swap_classes import swapped_class
    from distilled_experts.transformers.swap_forms import FeedForwardForm
    from distilled_experts.transformers.swap_loading import load_swapped
    from distilled_experts.transformers.swapping import swap
    from distilled_experts.transformers.trainer import DistillationTrainerMixin

__all__ = [
    "DistillationCallback",
    "DistillationTrainerMixin",
    "FeedForwardForm",
    "attach",
    "detach",
    "load_swapped",
    "probe_tokens",
    "set_progress",
    "swap",
    "swapped_class",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "DistillationCallback": "callback",
        "DistillationTrainerMixin": "trainer",
        "attach": "attaching",
        "detach": "attaching",
        "probe_tokens": "probing",
        "set_progress": "attaching",
        "swap": "swapping",
        "load_swapped": "swap_loading",
        "swapped_class": "swap_classes",
        "FeedForwardForm": "swap_forms",
    },
)
