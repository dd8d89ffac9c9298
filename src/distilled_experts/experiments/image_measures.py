"""What a comparison records of one trained image classifier: scores, probing, and its experts over training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from distilled_experts.experiments.course import MEASURES, checkpoint_epochs
from distilled_experts.experiments.metrics import score
from distilled_experts.probing import (
    ProbedSamples,
    Vision,
    answer_types,
    dominating_experts,
    expert_similarity,
    plain_numbers,
    probe_outputs,
    sample_right,
)
from distilled_experts.probing.record import vision_indices
from distilled_experts.probing.torch_models import evaluating, inputs_for
from distilled_experts.vision.members import members_of

__all__ = ["ImageCourse", "Part", "measure_experts", "measure_scores"]

Model = dict[str, Any]

_TASK = "classification"
_BATCH = 256
_COURSE_IMAGES = 256
_VISION_IMAGES = 1000
_TYPICAL = 12


@dataclass(frozen=True)
class Part:
    """Normalised images (N, C, H, W), their class codes (N), and which of all images they are (N)."""

    x: Tensor
    y: NDArray[np.int64]
    rows: NDArray[np.int64]

    def some(self, most: int) -> Part:
        """At most so many, which lie evenly among all."""
        places = np.arange(min(most, len(self.y))) * len(self.y) // min(most, len(self.y))
        return Part(self.x[torch.from_numpy(places)], self.y[places], self.rows[places])


def measure_scores(model: nn.Module, train: Part, test: Part, metric: str) -> Model:
    """Scores on training and test images; of these also the log loss, and the accuracy in each class."""
    probabilities = _probabilities(model, test.x)
    right = probabilities.argmax(-1) == test.y
    by_class = [
        right[test.y == code].mean() if (test.y == code).any() else np.nan for code in range(probabilities.shape[1])
    ]
    return {
        "train_score": score(metric, train.y, _probabilities(model, train.x)),
        "test_score": score(metric, test.y, probabilities),
        "log_loss": -score("log_loss", test.y, probabilities),
        "by_class": plain_numbers(by_class),
    }


def measure_experts(model: nn.Module, alpha: float, train: Part, test: Part) -> Model:
    """Probing on test images, narrow vision on training images, and the most typical images of every domain."""
    outputs = members_of(model, alpha, narrow_vision=False).members_on(test.x, test.y).outputs
    domains = dominating_experts(outputs.weights)
    right = sample_right(outputs.experts, outputs.mixture, test.y, _TASK)
    found = probe_outputs(outputs, test.y, _TASK) | expert_similarity(outputs.experts, _TASK).headline()
    found |= _vision(members_of(model, alpha).members_on(*_xy(train.some(_VISION_IMAGES))))
    return {name: plain_numbers(value) for name, value in found.items()} | {
        "domains": domains.tolist(),
        "answers": answer_types(*right, domains).tolist(),
        "typical": [test.rows[places].tolist() for places in _typical(outputs.weights, domains)],
    }


class ImageCourse:
    """Narrow vision and similarity of the experts at a few epochs, closer together in the beginning.

    Parameters
    ----------
    model : Module
        The one that is trained.
    alpha : float
    train, validation : Part
    epochs : int
        The most that the training may last.
    """

    def __init__(self, model: nn.Module, alpha: float, train: Part, validation: Part, epochs: int) -> None:
        self._learners = members_of(model, alpha)
        self._members = members_of(model, alpha, narrow_vision=False)
        self._train, self._validation = train.some(_COURSE_IMAGES), validation.some(_COURSE_IMAGES)
        self._due = checkpoint_epochs(epochs)
        self._epochs: list[int] = []
        self._found: list[dict[str, Any]] = []

    def follow(self, epoch: int) -> None:
        """Take the measures if it is time."""
        if epoch not in self._due:
            return
        vision = _vision(self._learners.members_on(*_xy(self._train)))
        outputs = self._members.members_on(*_xy(self._validation)).outputs
        self._epochs.append(epoch)
        self._found.append(vision | expert_similarity(outputs.experts, _TASK).headline())

    def to_dict(self) -> dict[str, list[Any]]:
        """Epochs, and the measures by name."""
        return {"epoch": self._epochs, **{name: [plain_numbers(f[name]) for f in self._found] for name in MEASURES}}


def _xy(part: Part) -> tuple[Tensor, NDArray[np.int64]]:
    return part.x, part.y


def _vision(samples: ProbedSamples) -> dict[str, Any]:
    return vision_indices(Vision.of(samples.task_norms, samples.whole_norms, samples.subsets))


def _typical(weights: NDArray[np.floating], domains: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Of every domain the places of the samples with the largest weights."""
    order = [np.argsort(-weights[:, expert], kind="stable") for expert in range(weights.shape[1])]
    return [places[domains[places] == expert][:_TYPICAL] for expert, places in enumerate(order)]


@torch.no_grad()
def _probabilities(model: nn.Module, x: Tensor) -> NDArray[np.float64]:
    with evaluating(model):
        logits = [model(rows).logits.double().softmax(-1) for rows in inputs_for(model, x).split(_BATCH)]
    found: NDArray[np.float64] = torch.cat(logits).cpu().numpy()
    return found
