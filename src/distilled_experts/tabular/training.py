"""Stacked training: all models of a stack take each step together.

Shape suffixes as in `network`: S groups, A members, B rows. A model's result does not depend on its neighbours in the
stack: every group draws its own batches from its seed, and a model that has run out of patience is no longer
considered, however long the others go on. Groups that are done leave the stack, so that the others go on faster.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from distilled_experts.errors import TrainingError
from distilled_experts.functional import Distance, Schedule, Teacher, combine, schedule_factor
from distilled_experts.tabular.losses import TASK_LOSSES
from distilled_experts.tabular.network import StackedMixture, StackedOutput
from distilled_experts.tabular.working import WorkingStack, weights_of

__all__ = ["ExtraLoss", "Rows", "StackedTraining", "TrainingSettings"]

ExtraLoss = Callable[[StackedOutput], Tensor]

# What is kept of every model, beside its best weights.
_BY_MODEL = ("best_loss", "best_epoch", "diverged")


@dataclass(frozen=True)
class Rows:
    """The rows of every group: features ``(S, N, D)``, targets ``(S, N)`` codes or ``(S, N, C)``, weights ``(S, N)``.

    Groups with fewer than N rows are padded; `counts` says how many rows are real. Rows that all groups share may have
    a first axis of length one; with `positions` ``(S, M)`` every group has those among them as its own.
    """

    x: Tensor
    target: Tensor
    counts: Sequence[int]
    weight: Tensor | None = None
    positions: Tensor | None = None

    def take(self, groups: Tensor, rows_SB: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Features, targets and weights of some rows of some groups, ``(groups, B, …)`` each."""
        if self.positions is not None:
            rows_SB = self.positions[groups.unsqueeze(1), rows_SB].long()
        weight = None if self.weight is None else _take(self.weight, groups, rows_SB)
        return _take(self.x, groups, rows_SB), _take(self.target, groups, rows_SB), weight


@dataclass(frozen=True)
class TrainingSettings:
    """How a stack is trained; the defaults are those of `mode compare`.

    Batches have about `batch_size` rows and are equally large. `patience` counts epochs without a
    better validation loss. `weight_decay` is one strength for all members of a group, or one for each. `warmup` is the
    share of all steps in which the learning rate rises linearly; it then falls as a half cosine when `schedule` is
    "cosine". `alpha_schedule` is that of `functional.schedule_factor`.
    """

    epochs: int = 200
    patience: int = 20
    batch_size: int = 128
    learning_rate: float = 3e-3
    weight_decay: float | tuple[float, ...] = 0.0
    schedule: str = "constant"
    warmup: float = 0.0
    distance: Distance = "mse"
    teacher: Teacher = "mean"
    alpha_schedule: Schedule = "constant"


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
    frozen : sequence of str
        Names of parameters that stay as they are.
    extra_loss : callable, optional
        From what the models in training compute for a batch to a loss of each, ``(groups, A)``, which is added to
        theirs.
    alternatives : bool
        The members of a group are candidates, of which one will be taken: it is no error when some never have a finite
        loss.

    Attributes
    ----------
    epoch : int
        Epochs done.
    best_loss, best_epoch : Tensor, shape (S, A)
        Lowest validation loss so far, and the epoch (from 1) that reached it. Without validation rows: the
        training loss of the last epoch.
    diverged : Tensor, shape (S, A)
        The first epoch with a loss that was not finite, 0 where there was none. There the training of a model ends.
    history : dict of str to list of Tensor, each (S, A)
        ``train_loss`` (task loss alone), ``distillation_loss`` and ``validation_loss``, one entry an epoch; NaN once a
        model's group has left the training.
    """

    network: StackedMixture
    alpha: Tensor
    train: Rows
    validation: Rows | None
    task: str
    seeds: Sequence[int]
    settings: TrainingSettings = field(default_factory=TrainingSettings)
    frozen: Sequence[str] = ()
    extra_loss: ExtraLoss | None = None
    alternatives: bool = False

    def __post_init__(self) -> None:
        settings = self.settings
        measured = ("train_loss", "distillation_loss", *(() if self.validation is None else ("validation_loss",)))
        self.epoch = 0
        self.history: dict[str, list[Tensor]] = {name: [] for name in measured}
        self.best_loss = torch.full_like(self.alpha, math.inf)
        self.best_epoch, self.diverged = torch.zeros_like(self.alpha), torch.zeros_like(self.alpha)
        self.best = weights_of(self.network)
        self.alpha_factor = 1.0
        self.working = WorkingStack(self.network, settings.learning_rate, settings.weight_decay, self.frozen)
        self._loss = TASK_LOSSES[self.task]
        self.n_batches, self.batch_rows = _batches(min(self.train.counts), settings.batch_size)

    @property
    def finished(self) -> bool:
        """True when the last epoch is done or every model has run out of patience, or diverged."""
        return self.epoch >= self.settings.epochs or not bool(self._patient().any())

    def run(self, on_epoch: Callable[[StackedTraining], bool | None] | None = None) -> None:
        """Train to the end, then give every model its best weights by validation loss.

        Parameters
        ----------
        on_epoch : callable, optional
            Called with this training after every epoch; training ends when it returns True.

        Raises
        ------
        TrainingError
            When a model never had a finite validation loss, or without validation rows none at the end. Of
            alternatives, when none had one in all groups.
        """
        while not self.finished:
            self.run_epoch()
            if on_epoch is not None and on_epoch(self):
                break
        self._finish()

    def run_epoch(self) -> None:
        """One pass over the rows of every group in training, then the validation rows."""
        settings = self.settings
        task_sum = distillation_sum = torch.zeros_like(self.alpha[self.working.groups])
        order = self._order()
        for batch in range(self.n_batches):
            progress = (self.epoch * self.n_batches + batch) / (settings.epochs * self.n_batches)
            self.working.set_learning_rate(self._learning_rate(progress))
            self.alpha_factor = schedule_factor(settings.alpha_schedule, progress)
            rows = order[:, batch * self.batch_rows : (batch + 1) * self.batch_rows]
            task_loss, distillation_loss = self.step(rows)
            task_sum, distillation_sum = task_sum + task_loss, distillation_sum + distillation_loss
        self.epoch += 1
        losses = {"train_loss": task_sum / self.n_batches, "distillation_loss": distillation_sum / self.n_batches}
        if self.validation is not None:
            losses["validation_loss"] = self.validation_loss(self.validation)
        for name, values in losses.items():
            self.history[name].append(self._in_full(values))
            self._note_divergence(values)
        if self.validation is None:
            self.best_loss, self.best_epoch = self.history["train_loss"][-1], self.best_epoch + 1
        else:
            self._keep_best()
            self._let_go()

    def step(self, rows_SB: Tensor) -> tuple[Tensor, Tensor]:
        """One step of all models in training, on the rows with these positions in their groups.

        Returns the task loss and the distillation loss, ``(groups in training, A)`` each.
        """
        groups = self.working.groups
        x, target, weight = self.train.take(groups, rows_SB)
        out = self.working.network(x)
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
        alpha = self.alpha[groups] * self.alpha_factor
        total = task_loss + alpha * distillation_loss
        self.working.step((total if self.extra_loss is None else total + self.extra_loss(out)).sum())
        return task_loss.detach(), distillation_loss.detach()

    @torch.no_grad()
    def validation_loss(self, rows: Rows, chunk: int = 512) -> Tensor:
        """Task loss of the models in training on rows of their groups, ``(groups in training, A)``."""
        groups, N = self.working.groups, max(rows.counts)
        counts = torch.as_tensor(rows.counts, device=rows.x.device)[groups].unsqueeze(1)
        total = norm = torch.zeros_like(self.alpha[groups])
        for start in range(0, N, chunk):
            positions = torch.arange(start, min(start + chunk, N), device=rows.x.device).expand(len(groups), -1)
            x, target, own = rows.take(groups, positions)
            weight = (positions < counts).to(x.dtype)
            weight = weight if own is None else weight * own
            losses = self._loss(self.working.network(x).mixture(), target)
            total = total + (losses * weight.unsqueeze(1)).sum(-1)
            norm = norm + weight.sum(-1, keepdim=True)
        return total / norm

    def state(self) -> dict[str, Tensor]:
        """Everything that a later `restore` needs to go on bit for bit."""
        state = {f"best.{name}": weights for name, weights in self.best.items()}
        state |= {f"working.{key}": value for key, value in self.working.state().items()}
        state |= {name: getattr(self, name) for name in _BY_MODEL} | {"epoch": torch.tensor(self.epoch)}
        return state | {f"history.{key}": torch.stack(values) for key, values in self.history.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state` returned, wherever it has been read to."""
        state = {name: value.to(self.alpha.device) for name, value in state.items()}
        self.best = {name: state[f"best.{name}"].clone() for name in self.best}
        prefix = "working."
        self.working.restore({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        for name in _BY_MODEL:
            setattr(self, name, state[name].clone())
        self.epoch = int(state["epoch"])
        self.history = {key: list(state[f"history.{key}"].clone()) for key in self.history}

    def _order(self) -> Tensor:
        """Order of rows in the next epoch, ``(groups in training, batches · batch rows)``."""
        used = self.n_batches * self.batch_rows
        orders = []
        for s in self.working.groups.tolist():
            generator = torch.Generator().manual_seed(_mix(self.seeds[s], self.epoch))
            orders.append(torch.randperm(self.train.counts[s], generator=generator)[:used])
        return torch.stack(orders).to(self.alpha.device)

    def _learning_rate(self, progress: float) -> float:
        settings, factor = self.settings, 1.0
        if settings.warmup > 0:
            factor = min(1.0, progress / settings.warmup)
        if settings.schedule == "cosine":
            factor *= 0.5 * (1 + math.cos(math.pi * progress))
        return settings.learning_rate * factor

    def _in_full(self, values: Tensor) -> Tensor:
        """Values of the groups in training among all, ``(S, A)``; NaN for those that have left."""
        full = torch.full_like(self.alpha, math.nan)
        full[self.working.groups] = values
        return full

    def _note_divergence(self, losses: Tensor) -> None:
        groups, known = self.working.groups, self.diverged[self.working.groups]
        self.diverged[groups] = known.where((known > 0) | losses.isfinite(), float(self.epoch))

    def _patient(self) -> Tensor:
        return (self.epoch - self.best_epoch <= self.settings.patience) & (self.diverged == 0)

    def _keep_best(self) -> None:
        loss = self.history["validation_loss"][-1]
        better = (loss < self.best_loss) & self._patient()
        self.best_loss = torch.where(better, loss, self.best_loss)
        self.best_epoch = torch.where(better, float(self.epoch), self.best_epoch)
        for name, p in self.working.network.named_parameters():
            self.best[name][better] = p.detach()[better[self.working.groups]]

    def _let_go(self) -> None:
        """Part with groups whose models have all run out of patience, when they are a fifth of those in training."""
        going_on = self._patient()[self.working.groups].any(1)
        if 0 < int(going_on.sum()) <= 0.8 * len(going_on):
            self.working.keep(going_on)

    @torch.no_grad()
    def _finish(self) -> None:
        finite = self.best_loss.isfinite()
        if not bool(finite.all(0).any() if self.alternatives else finite.all()):
            epoch = int(self.diverged[self.diverged > 0].min()) if bool(self.diverged.any()) else self.epoch
            steps = f"steps {(epoch - 1) * self.n_batches + 1} to {epoch * self.n_batches}"
            raise TrainingError(
                f"the loss was not finite in epoch {epoch} ({steps}); a smaller learning rate or α may help"
            )
        weights = weights_of(self.working.network) if self.validation is None else self.best
        for name, p in self.network.named_parameters():
            p.copy_(weights[name])


def _batches(n_rows: int, most: int) -> tuple[int, int]:
    """How many batches an epoch has, and how many rows a batch: all of them, or nearly all in several batches.

    Products are up to twice as fast where the rows are a multiple of 8; the few that are left over in one epoch come
    in another.

    Examples
    --------
    >>> _batches(100, 128), _batches(1005, 128), _batches(30, 10)
    ((1, 100), (8, 120), (3, 10))
    """
    n_batches = max(1, math.ceil(n_rows / most - 0.5))
    rows = n_rows // n_batches
    return n_batches, rows if n_batches == 1 or rows < 64 else rows // 8 * 8


def _take(values: Tensor, groups: Tensor, rows_SB: Tensor) -> Tensor:
    """Rows of some groups from ``(S, N, …)``, as ``(groups, B, …)``; with S = 1 all groups share their rows."""
    S, N = values.shape[:2]
    flat = rows_SB if S == 1 else rows_SB + N * groups.unsqueeze(1)
    taken = values.flatten(0, 1).index_select(0, flat.flatten())
    return taken.view(*rows_SB.shape, *values.shape[2:])


def _weighted_mean(losses_SAB: Tensor, weight_SB: Tensor | None) -> Tensor:
    if weight_SB is None:
        return losses_SAB.mean(-1)
    return (losses_SAB * weight_SB.unsqueeze(1)).sum(-1) / weight_SB.sum(-1).unsqueeze(1)


def _mix(seed: int, epoch: int) -> int:
    """One generator seed for a pair, without collisions below 2³² epochs."""
    return (seed << 32) + epoch
