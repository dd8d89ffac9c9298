"""Probing of image classifiers of Transformers, whose mixtures route every patch of an image by itself.

Legend: N images, T tokens of all of them, E experts, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from distilled_experts.probing import ExpertLosses, ExpertOutputs, ProbedSamples, choose_layer
from distilled_experts.probing.torch_models import arrays_of, evaluating, inputs_for, targets_of
from distilled_experts.transformers.distillation import Distillation
from distilled_experts.transformers.finding import find_mixtures
from distilled_experts.transformers.forcing import forced_expert, recorded_routing
from distilled_experts.transformers.mixtures import Mixture
from distilled_experts.transformers.token_gradients import distillation_strength, gradient_norms
from distilled_experts.transformers.tokens import Tokens

__all__ = ["PatchMixtures"]

_IMAGES = 256


@dataclass(frozen=True)
class PatchMixtures:
    """Members of an image classifier: the experts of one of its mixtures.

    An expert alone is the whole model with all patches of this mixture sent to it. An image has the mean of its
    tokens' weights, and as gradient norm the sum of the norms of what its tokens send to the expert.

    Parameters
    ----------
    model : PreTrainedModel
        Attached, swapped, or with mixtures of its own.
    narrow_vision : bool
        Whether to measure what the experts learn from.
    """

    model: nn.Module
    narrow_vision: bool = True

    def members_on(self, X: Any, y: Any, *, layer: str | int | None = None) -> ProbedSamples:
        """Outputs of every expert of one mixture, and gradient norms; default: the last mixture."""
        mixtures = find_mixtures(self.model)
        names = tuple(mixture.name for mixture in mixtures)
        mixture = mixtures[choose_layer(-1 if layer is None else layer, names)]
        x, labels = inputs_for(self.model, X), torch.as_tensor(np.asarray(y))
        pairs = list(zip(x.split(_IMAGES), labels.split(_IMAGES), strict=True))
        with evaluating(self.model):
            parts = [self._outputs(mixture, images) for images, _ in pairs]
            measured = pairs if self.narrow_vision else []
            norms = [self._norms(mixture, images, truth.to(x.device)) for images, truth in measured]
        outputs = ExpertOutputs(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
        target, task, subsets = targets_of(y, outputs.mixture.shape[-1])
        alpha = distillation_strength(mixture, Distillation.of(self.model))
        return ProbedSamples(
            outputs,
            target,
            task,
            subsets,
            _joined([of_task for of_task, _ in norms]),
            _joined([whole for _, whole in norms if whole is not None]),
            alpha,
            mixture.name,
            names,
            ExpertLosses.of_scores(outputs, target) if task == "classification" else None,
        )

    @torch.no_grad()
    def _outputs(self, mixture: Mixture, images: Tensor) -> tuple[NDArray[Any], ...]:
        """Experts (N, E, K), gate weights (N, E) and prediction (N, K)."""
        with recorded_routing(mixture) as calls:
            prediction = self.model(images).logits
        weights = calls[0].dense_weights(mixture.n_experts)
        alone = []
        for expert in range(mixture.n_experts):
            with forced_expert(mixture, expert):
                alone.append(self.model(images).logits)
        by_image = weights.reshape(len(images), -1, mixture.n_experts).mean(1)
        return arrays_of(torch.stack(alone, 1)), arrays_of(by_image), arrays_of(prediction)

    def _norms(
        self, mixture: Mixture, images: Tensor, labels: Tensor
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Norms (N, E) under the task's loss, and under the whole one where the mixture distils."""

        def loss() -> Tensor:
            return F.cross_entropy(self.model(images).logits, labels, reduction="sum")

        every_token = Tokens({mixture.side: None}, None)
        task, whole = gradient_norms(mixture, loss, every_token, Distillation.of(self.model))
        return _by_image(task, len(images)), None if whole is None else _by_image(whole, len(images))


def _by_image(norms_TE: Tensor, n_images: int) -> NDArray[np.float64]:
    return arrays_of(norms_TE.reshape(n_images, -1, norms_TE.shape[-1]).sum(1))


def _joined(parts: list[NDArray[np.float64]]) -> NDArray[np.float64] | None:
    return np.concatenate(parts) if parts else None
