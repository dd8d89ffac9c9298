"""Fit the stack behind an estimator: every member with every α at once, then the α that validates best."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from distilled_experts.tabular.encoding import PiecewiseLinear
from distilled_experts.tabular.network import StackedMixture
from distilled_experts.tabular.training import Rows, StackedTraining, TrainingSettings

__all__ = ["Callback", "Fitted", "Members", "Part", "Watch", "fit_members", "progress_of"]

Floats = NDArray[np.floating]
Callback = Callable[[dict[str, float]], bool | None]
"""Takes the figures of `progress_of` after every epoch; training ends when it returns True."""


@dataclass(frozen=True)
class Part:
    """Rows for training or validation: features (N, D), targets (N,) codes or (N, C), weights (N,) or None.

    With `positions` (members, M) every member has those among them as its own.
    """

    x: Floats
    target: NDArray[np.generic]
    weight: Floats | None = None
    positions: NDArray[np.int32] | None = None

    def rows(self, n_groups: int, device: str) -> Rows:
        """As tensors that all groups share."""
        x = torch.from_numpy(self.x)
        target = torch.from_numpy(self.target)
        weight = None if self.weight is None else torch.from_numpy(self.weight).to(device, x.dtype).unsqueeze(0)
        kind = target.dtype if target.dtype == torch.int64 else x.dtype
        positions = None if self.positions is None else torch.from_numpy(self.positions).to(device)
        counts = [len(x) if positions is None else positions.shape[1]] * n_groups
        return Rows(x.to(device).unsqueeze(0), target.to(device, kind).unsqueeze(0), counts, weight, positions)


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

    `history` has means over the members that are still in training.
    `loss` is the chosen α's validation loss, and `path` has that of every α, means over the members; without
    validation rows the last training loss, and None.
    """

    network: StackedMixture
    alpha: float
    loss: float
    path: dict[float, float] | None
    history: dict[str, list[float]]
    epochs: int


class Watch:
    """Ends training when a callback wants it, or when its time is up.

    Parameters
    ----------
    max_time : float or None
        Seconds from now for all trainings together.
    callbacks : sequence of callable
    """

    def __init__(self, max_time: float | None, callbacks: Sequence[Callback]) -> None:
        self.stopped = False
        self._start, self._max_time, self._callbacks = time.monotonic(), max_time, callbacks

    def over(self, share: float) -> Callable[[StackedTraining], bool]:
        """What to call after every epoch of a training that must end when this share of the time has passed."""

        def on_epoch(training: StackedTraining) -> bool:
            answers = [callback(progress_of(training)) for callback in self._callbacks]
            self.stopped = any(answers)
            late = self._max_time is not None and time.monotonic() - self._start > share * self._max_time
            return self.stopped or late

        return on_epoch


def fit_members(
    members: Members,
    task: str,
    train: Part,
    validation: Part | None,
    encodings: Sequence[PiecewiseLinear | None],
    alphas: Sequence[float],
    settings: TrainingSettings,
    device: str,
    watch: Watch,
) -> Fitted:
    """Train with each encoding, and keep that with the lowest validation loss.

    Without validation rows there is nothing to choose by: `encodings` and `alphas` must hold one value each, and all
    epochs are run.
    """
    best: Fitted | None = None
    for i, encoding in enumerate(encodings, 1):
        ends = watch.over(i / len(encodings))
        fitted = _fit_stack(members, task, train, validation, encoding, alphas, settings, device, ends)
        if best is None or fitted.loss < best.loss:
            best = fitted
        if watch.stopped:
            break
    assert best is not None
    return best


def _fit_stack(
    members: Members,
    task: str,
    train: Part,
    validation: Part | None,
    encoding: PiecewiseLinear | None,
    alphas: Sequence[float],
    settings: TrainingSettings,
    device: str,
    on_epoch: Callable[[StackedTraining], bool],
) -> Fitted:
    """Train members × α as one stack, and keep the α with the lowest mean validation loss."""
    dtype = torch.float64 if train.x.dtype == np.float64 else torch.float32
    network = StackedMixture(
        members.seeds,
        len(alphas),
        train.x.shape[1],
        members.n_outputs,
        n_experts=members.n_experts,
        hidden=members.hidden,
        top_k=members.top_k,
        encoding=encoding,
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
        float(losses[best]),
        dict(zip(alphas, losses.tolist(), strict=True)) if validation is not None else None,
        {name: [float(v[:, best].nanmean()) for v in values] for name, values in training.history.items()},
        training.epoch,
    )


def progress_of(training: StackedTraining) -> dict[str, float]:
    """Epoch, and the last losses: means over the models that are still in training."""
    last = {name: float(torch.nanmean(values[-1])) for name, values in training.history.items()}
    return {"epoch": training.epoch, **last}
