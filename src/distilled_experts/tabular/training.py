"""Stacked training: all models of a stack take each step together.

Shape suffixes as in `network`: S groups, A members, B rows. A model's result does not depend on its neighbours in the
stack: every group draws its own batches from its seed, and a model that has run out of patience is no longer
considered, however long the others go on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from distilled_experts.errors import TrainingError
from distilled_experts.functional import Distance, Teacher, combine
from distilled_experts.tabular.losses import TASK_LOSSES
from distilled_experts.tabular.network import StackedMixture

__all__ = ["Rows", "StackedTraining", "TrainingSettings"]


@dataclass(frozen=True)
class Rows:
    """The rows of every group: features ``(S, N, D)``, targets ``(S, N)`` codes or ``(S, N, C)``, weights ``(S, N)``.

    Groups with fewer than N rows are padded; `counts` says how many rows are real. Rows that all groups share may have
    a first axis of length one.
    """

    x: Tensor
    target: Tensor
    counts: Sequence[int]
    weight: Tensor | None = None


@dataclass(frozen=True)
class TrainingSettings:
    """How a stack is trained; the defaults are those of `mode compare`.

    `batch_size` is an upper bound: batches of an epoch are made equally large. `patience` counts epochs without a
    better validation loss. `warmup` is the share of all steps in which the learning rate rises linearly; it then falls
    as a half cosine when `schedule` is "cosine".
    """

    epochs: int = 200
    patience: int = 20
    batch_size: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 0.0
    schedule: str = "constant"
    warmup: float = 0.0
    distance: Distance = "mse"
    teacher: Teacher = "mean"


@dataclass
class StackedTraining:
    """One training of a stack, step by step resumable.

    Parameters
    ----------
    network : StackedMixture
    alpha : Tensor, shape (S, A)
        Distillation strength of every model.
    train : Rows
    validation : Rows or None
        Without validation rows all epochs are run, and the last weights are kept.
    task : {"classification", "regression"}
    seeds : sequence of int, length S
        Seeds of the groups' batches.
    settings : TrainingSettings

    Attributes
    ----------
    epoch : int
        Epochs done.
    best_loss, best_epoch : Tensor, shape (S, A)
        Lowest validation loss so far, and the epoch (from 1) that reached it. Without validation rows: the
        training loss of the last epoch.
    history : dict of str to list of Tensor, each (S, A)
        ``train_loss`` (task loss alone), ``distillation_loss`` and ``validation_loss``, one entry an epoch.
    """

    network: StackedMixture
    alpha: Tensor
    train: Rows
    validation: Rows | None
    task: str
    seeds: Sequence[int]
    settings: TrainingSettings = field(default_factory=TrainingSettings)

    def __post_init__(self) -> None:
        self.epoch = 0
        measured = (
            "train_loss",
            "distillation_loss",
            *(() if self.validation is None else ("validation_loss",)),
        )
        self.history: dict[str, list[Tensor]] = {name: [] for name in measured}
        self.best_loss = torch.full_like(self.alpha, math.inf)
        self.best_epoch = torch.zeros_like(self.alpha)
        self.best = [p.detach().clone() for p in self.network.parameters()]
        self._loss = TASK_LOSSES[self.task]
        smallest = min(self.train.counts)
        self.n_batches = max(1, round(smallest / self.settings.batch_size))
        self.batch_rows = smallest // self.n_batches
        named = list(self.network.named_parameters())
        decayed: dict[str, Any] = {"params": [p for name, p in named if name.endswith("weight")]}
        kept: dict[str, Any] = {"params": [p for name, p in named if name.endswith("bias")], "weight_decay": 0.0}
        self.optimizer = torch.optim.AdamW(
            [decayed, kept],
            lr=self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
            fused=True,
        )

    @property
    def finished(self) -> bool:
        """True when the last epoch is done or every model has run out of patience."""
        return self.epoch >= self.settings.epochs or not bool(self._patient().any())

    def run(self, on_epoch: Callable[[StackedTraining], None] | None = None) -> None:
        """Train to the end, then give every model its best weights by validation loss.

        Raises
        ------
        TrainingError
            When a model never had a finite validation loss, or without validation rows none at the end.
        """
        while not self.finished:
            self.run_epoch()
            if on_epoch is not None:
                on_epoch(self)
        self._restore_best()

    def run_epoch(self) -> None:
        """One pass over every group's rows, then the validation rows."""
        task_sum = distillation_sum = torch.zeros_like(self.alpha)
        order = self._order()
        for batch in range(self.n_batches):
            self._set_learning_rate(self.epoch * self.n_batches + batch)
            rows = order[:, batch * self.batch_rows : (batch + 1) * self.batch_rows]
            task_loss, distillation_loss = self.step(rows)
            task_sum, distillation_sum = task_sum + task_loss, distillation_sum + distillation_loss
        self.epoch += 1
        self.history["train_loss"].append(task_sum / self.n_batches)
        self.history["distillation_loss"].append(distillation_sum / self.n_batches)
        if self.validation is None:
            self.best_loss, self.best_epoch = self.history["train_loss"][-1], self.best_epoch + 1
        else:
            self.history["validation_loss"].append(self.validation_loss(self.validation))
            self._keep_best()

    def step(self, rows_SB: Tensor) -> tuple[Tensor, Tensor]:
        """One step of all models on the rows with these positions in their group; its task and distillation losses."""
        x, target = _take(self.train.x, rows_SB), _take(self.train.target, rows_SB)
        weight = None if self.train.weight is None else _take(self.train.weight, rows_SB)
        out = self.network(x)
        mixture, distillation_loss = combine(
            out.experts,
            out.weights,
            out.active,
            sample_weight=None if weight is None else weight.unsqueeze(1),
            distance=self.settings.distance,
            teacher=self.settings.teacher,
        )
        assert distillation_loss is not None
        task_loss = _weighted_mean(self._loss(mixture, target), weight)
        self.optimizer.zero_grad()
        (task_loss + self.alpha * distillation_loss).sum().backward()
        self.optimizer.step()
        return task_loss.detach(), distillation_loss.detach()

    @torch.no_grad()
    def validation_loss(self, rows: Rows, chunk: int = 512) -> Tensor:
        """Task loss on rows that are not trained on, ``(S, A)``."""
        total = norm = torch.zeros_like(self.alpha)
        S, N = self.network.stack_shape[0], rows.x.shape[1]
        counts = torch.as_tensor(rows.counts, device=rows.x.device).unsqueeze(1)
        for start in range(0, N, chunk):
            part = slice(start, min(start + chunk, N))
            positions = torch.arange(part.start, part.stop, device=rows.x.device)
            weight = (positions < counts).to(rows.x.dtype)
            if rows.weight is not None:
                weight = weight * rows.weight[:, part]
            x = rows.x[:, part].expand(S, -1, -1)
            losses = self._loss(self.network(x).mixture(), rows.target[:, part])
            total = total + (losses * weight.unsqueeze(1)).sum(-1)
            norm = norm + weight.sum(-1, keepdim=True)
        return total / norm

    def state(self) -> dict[str, Tensor]:
        """Everything that a later `restore` needs to go on bit for bit."""
        state = {f"parameter.{name}": p.detach() for name, p in self.network.named_parameters()}
        state |= {f"best.{i}": t for i, t in enumerate(self.best)}
        for i, p in enumerate(self.network.parameters()):
            state |= {f"optimizer.{i}.{key}": value for key, value in self.optimizer.state[p].items()}
        state |= {
            "best_loss": self.best_loss,
            "best_epoch": self.best_epoch,
            "epoch": torch.tensor(self.epoch),
        }
        return state | {f"history.{key}": torch.stack(values) for key, values in self.history.items()}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state` returned."""
        for i, (name, p) in enumerate(self.network.named_parameters()):
            p.copy_(state[f"parameter.{name}"])
            self.best[i].copy_(state[f"best.{i}"])
            self.optimizer.state[p] = {
                key: state[f"optimizer.{i}.{key}"].clone() for key in ("step", "exp_avg", "exp_avg_sq")
            }
        self.best_loss, self.best_epoch = state["best_loss"].clone(), state["best_epoch"].clone()
        self.epoch = int(state["epoch"])
        self.history = {key: list(state[f"history.{key}"].clone()) for key in self.history}

    def _order(self) -> Tensor:
        """Order of rows in the next epoch for every group, ``(S, batches · batch rows)``."""
        used = self.n_batches * self.batch_rows
        generators = (torch.Generator().manual_seed(_mix(seed, self.epoch)) for seed in self.seeds)
        pairs = zip(self.train.counts, generators, strict=True)
        return torch.stack([torch.randperm(count, generator=g)[:used] for count, g in pairs])

    def _set_learning_rate(self, step: int) -> None:
        total = self.settings.epochs * self.n_batches
        factor = 1.0
        if self.settings.warmup > 0:
            factor = min(1.0, (step + 1) / (self.settings.warmup * total))
        if self.settings.schedule == "cosine":
            factor *= 0.5 * (1 + math.cos(math.pi * step / total))
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * factor

    def _patient(self) -> Tensor:
        return self.epoch - self.best_epoch <= self.settings.patience

    def _keep_best(self) -> None:
        loss = self.history["validation_loss"][-1]
        better = (loss < self.best_loss) & self._patient()
        self.best_loss = torch.where(better, loss, self.best_loss)
        self.best_epoch = torch.where(better, float(self.epoch), self.best_epoch)
        for best, p in zip(self.best, self.network.parameters(), strict=True):
            best[better] = p.detach()[better]

    @torch.no_grad()
    def _restore_best(self) -> None:
        if not bool(torch.isfinite(self.best_loss).all()):
            raise TrainingError(f"the loss was not finite (epoch {self.epoch}); a smaller learning rate or α may help")
        if self.validation is None:
            return
        for best, p in zip(self.best, self.network.parameters(), strict=True):
            p.copy_(best)


def _take(values: Tensor, rows_SB: Tensor) -> Tensor:
    """Rows of every group from ``(S, N, …)``, as ``(S, B, …)``."""
    S, N = values.shape[:2]
    rows_SB = rows_SB.to(values.device)
    flat = rows_SB if S == 1 else rows_SB + N * torch.arange(S, device=values.device).unsqueeze(1)
    taken = values.flatten(0, 1).index_select(0, flat.flatten())
    return taken.view(*rows_SB.shape, *values.shape[2:])


def _weighted_mean(losses_SAB: Tensor, weight_SB: Tensor | None) -> Tensor:
    if weight_SB is None:
        return losses_SAB.mean(-1)
    return (losses_SAB * weight_SB.unsqueeze(1)).sum(-1) / weight_SB.sum(-1).unsqueeze(1)


def _mix(seed: int, epoch: int) -> int:
    """One generator seed for a pair, without collisions below 2³² epochs."""
    return (seed << 32) + epoch
