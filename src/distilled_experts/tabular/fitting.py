"""Fit the stack behind an estimator: every member with every α at once, then the α that validates best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from distilled_experts.tabular.network import StackedMixture
from distilled_experts.tabular.training import Rows, StackedTraining, TrainingSettings

__all__ = ["Callback", "Fitted", "Members", "Part", "fit_members", "progress_of"]

Floats = NDArray[np.floating]
Callback = Callable[[dict[str, float]], bool | None]
"""Takes the figures of `progress_of` after every epoch; training ends when it returns True."""


@dataclass(frozen=True)
class Part:
    """Rows for training or validation: features (N, D), targets (N,) codes or (N, C), weights (N,) or None."""

    x: Floats
    target: NDArray[np.generic]
    weight: Floats | None = None

    def rows(self, n_groups: int, device: str) -> Rows:
        """As tensors that all groups share."""
        x = torch.from_numpy(self.x)
        target = torch.from_numpy(self.target)
        weight = None if self.weight is None else torch.from_numpy(self.weight).to(device, x.dtype).unsqueeze(0)
        kind = target.dtype if target.dtype == torch.int64 else x.dtype
        counts = [len(x)] * n_groups
        return Rows(x.to(device).unsqueeze(0), target.to(device, kind).unsqueeze(0), counts, weight)


@dataclass(frozen=True)
class Members:
    """The mixtures of an estimator: how many, from which seeds, and their shape."""

    seeds: Sequence[int]
    n_outputs: int
    n_experts: int
    hidden: int
    top_k: int | None


@dataclass(frozen=True)
class Fitted:
    """A stack of one mixture a member, all with the chosen α, and how it came about.

    `path` has the validation loss of every α, mean over the members; None without validation rows.
    """

    network: StackedMixture
    alpha: float
    path: dict[float, float] | None
    history: dict[str, list[float]]
    epochs: int


def fit_members(
    members: Members,
    task: str,
    train: Part,
    validation: Part | None,
    alphas: Sequence[float],
    settings: TrainingSettings,
    device: str,
    on_epoch: Callable[[StackedTraining], bool | None] | None = None,
) -> Fitted:
    """Train members × α as one stack and keep the α with the lowest mean validation loss.

    Without validation rows there is nothing to choose by: `alphas` must hold one value, and all epochs are run.
    """
    dtype = torch.float64 if train.x.dtype == np.float64 else torch.float32
    network = StackedMixture(
        members.seeds,
        len(alphas),
        train.x.shape[1],
        members.n_outputs,
        n_experts=members.n_experts,
        hidden=members.hidden,
        top_k=members.top_k,
        dtype=dtype,
    ).to(device)
    n = len(members.seeds)
    training = StackedTraining(
        network,
        torch.tensor(list(alphas), dtype=dtype, device=device).repeat(n, 1),
        train.rows(n, device),
        None if validation is None else validation.rows(n, device),
        task,
        members.seeds,
        settings if validation is not None else replace(settings, patience=settings.epochs),
    )
    training.run(on_epoch)
    losses = training.best_loss.mean(0)
    best = int(losses.argmin()) if validation is not None else 0
    return Fitted(
        network.select(members=slice(best, best + 1)),
        float(alphas[best]),
        dict(zip(alphas, losses.tolist(), strict=True)) if validation is not None else None,
        {name: [float(v[:, best].mean()) for v in values] for name, values in training.history.items()},
        training.epoch,
    )


def progress_of(training: StackedTraining) -> dict[str, float]:
    """Epoch, and the last losses: means over the models that are still in training."""
    last = {name: float(torch.nanmean(values[-1])) for name, values in training.history.items()}
    return {"epoch": training.epoch, **last}
