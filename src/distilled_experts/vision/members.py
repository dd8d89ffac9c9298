"""The experts of a trained image classifier, as probing asks for them."""

from __future__ import annotations

from torch import nn

from distilled_experts.layers import MixtureOfExperts
from distilled_experts.probing import MixtureModule, Probeable
from distilled_experts.vision.patches import PatchMixtures

__all__ = ["members_of"]


def members_of(model: nn.Module, alpha: float, *, narrow_vision: bool = True) -> Probeable:
    """Experts of the model's own mixture, or of the last one that was swapped in.

    Parameters
    ----------
    model : Module
        As `build_model` makes them.
    alpha : float
        Strength of distillation in training.
    narrow_vision : bool
        Whether to measure what the experts learn from, too.

    Examples
    --------
    >>> from distilled_experts.probing import probe
    >>> from distilled_experts.vision.models import ModelSettings, build_model
    >>> model = build_model(ModelSettings("vit", (8, 8, 1), 2, top_k=2), seed=0)
    >>> record = probe(members_of(model, 0.0), torch.randn(6, 1, 8, 8), torch.tensor([0, 1] * 3))
    >>> record.matrix.shape
    (4, 4)
    """
    if any(isinstance(module, MixtureOfExperts) for module in model.modules()):
        return MixtureModule(model, alpha=alpha, narrow_vision=narrow_vision)
    return PatchMixtures(model, narrow_vision)
