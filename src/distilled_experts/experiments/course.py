"""What happens to the experts while they train: narrow vision and similarity at a few checkpoints.

Shape suffixes: S groups · A members · B rows · T checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distilled_experts.probing import cluster_subsets, expert_similarity, narrow_vision, plain_numbers
from distilled_experts.tabular.gradients import gradient_norms
from distilled_experts.tabular.network import StackedMixture
from distilled_experts.tabular.training import Rows, StackedTraining

__all__ = ["MEASURES", "Course", "checkpoint_epochs", "vision_of"]

Floats = NDArray[np.float64]

MEASURES = ("vision_task", "vision_whole", "cka", "agreement", "homogenised")
"""Narrow-vision index of the task loss and of the whole loss; mean similarity of the experts, and the alarm."""

_CHECKPOINTS = 12
_ROWS = 256


def checkpoint_epochs(epochs: int) -> set[int]:
    """Epochs of a training at which to take measures, closer together in the beginning.

    Examples
    --------
    >>> sorted(checkpoint_epochs(20))
    [1, 2, 3, 4, 5, 7, 9, 12, 15, 20]
    """
    return set(np.geomspace(1, epochs, _CHECKPOINTS).round().astype(int).tolist())


class Course:
    """Measures of a stack in training, at epochs that lie closer together in the beginning.

    Vision is measured on training rows, similarity on validation rows, 256 of each group at most, which lie
    evenly among all.

    Parameters
    ----------
    epochs : int
        The most that the training may last.

    Attributes
    ----------
    epochs : list of int
        Checkpoints so far.
    values : dict of str to list of array, each (S, A)
        By the names in `MEASURES`; NaN for groups that have left the training.
    """

    def __init__(self, epochs: int) -> None:
        self._due = checkpoint_epochs(epochs)
        self.epochs: list[int] = []
        self.values: dict[str, list[Floats]] = {name: [] for name in MEASURES}

    def follow(self, training: StackedTraining) -> None:
        """Take the measures if it is time."""
        if training.epoch not in self._due:
            return
        self.epochs.append(training.epoch)
        groups = training.working.groups.cpu().numpy()
        for name, found in _measures(training).items():
            full = np.full(training.alpha.shape, np.nan)
            full[groups] = found
            self.values[name].append(full)

    def of(self, s: int, a: int) -> dict[str, list[Any]]:
        """The course of one model as plain numbers, as far as its group was trained."""
        course = {name: np.array([found[s, a] for found in values]) for name, values in self.values.items()}
        trained = ~np.isnan(course["agreement"])
        epochs = np.array(self.epochs, dtype=int)
        return {"epoch": epochs[trained].tolist(), **{name: plain_numbers(v[trained]) for name, v in course.items()}}

    def state(self) -> dict[str, Tensor]:
        """Tensors that `restore` goes on from."""
        state = {f"course.{name}": torch.from_numpy(np.array(values)) for name, values in self.values.items()}
        return {**state, "course.epochs": torch.tensor(self.epochs, dtype=torch.int64)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what `state` returned."""
        self.epochs = state["course.epochs"].tolist()
        self.values = {name: list(state[f"course.{name}"].numpy()) for name in self.values}


def vision_of(
    training: StackedTraining, network: StackedMixture, groups: Tensor, n_rows: int = _ROWS
) -> dict[str, Floats]:
    """Narrow-vision indices on training rows, ``(groups, A)`` each, for a network that has these groups.

    Subsets are classes, or clusters of the inputs of each group's rows.
    """
    settings = training.settings
    positions = _positions(training.train, groups, n_rows)
    x, target = (rows[groups.unsqueeze(1), positions] for rows in (training.train.x, training.train.target))
    norms = gradient_norms(
        network,
        x,
        target,
        training.alpha[groups] * training.alpha_factor,
        task=training.task,
        distance=settings.distance,
        teacher=settings.teacher,
    )
    classes = training.task == "classification"
    subsets = [
        labels.cpu().numpy() if classes else cluster_subsets(rows.cpu()).codes
        for rows, labels in zip(x, target, strict=True)
    ]
    return {
        f"vision_{loss}": np.stack(
            [
                narrow_vision(found, codes, int(codes.max()) + 1).index
                for found, codes in zip(getattr(norms, loss), subsets, strict=True)
            ]
        )
        for loss in ("task", "whole")
    }


def _measures(training: StackedTraining) -> dict[str, NDArray[Any]]:
    rows, groups = training.validation, training.working.groups
    assert rows is not None
    x = rows.x[groups.unsqueeze(1), _positions(rows, groups, _ROWS)]
    with torch.no_grad():
        experts = training.working.network(x).experts.cpu().numpy()
    vision = vision_of(training, training.working.network, groups)
    return {**vision, **expert_similarity(experts, training.task).headline()}


def _positions(rows: Rows, groups: Tensor, most: int) -> Tensor:
    """Positions (groups, B) of rows that lie evenly among each group's own."""
    counts = torch.as_tensor(rows.counts, device=groups.device)[groups]
    n = min(most, min(rows.counts))
    return (torch.arange(n, device=groups.device) * counts.unsqueeze(1)) // n
