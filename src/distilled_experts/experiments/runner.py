"""Run the stacks of a comparison or sweep: each once, saved as it ends, taken up where an earlier try stopped."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from distilled_experts.experiments.course import Course
from distilled_experts.experiments.data import Table
from distilled_experts.experiments.failures import Attempt
from distilled_experts.experiments.interruption import (
    Interruption,
    deferred_interruption,
    interruptible_by_termination,
)
from distilled_experts.experiments.keeping import ModelKeeper
from distilled_experts.experiments.parallel_study import run_parallel
from distilled_experts.experiments.preparation import prepare
from distilled_experts.experiments.records import RunFolder
from distilled_experts.experiments.scheduling import HERE, Workers, run_each
from distilled_experts.experiments.specification import Specification
from distilled_experts.experiments.stacks import build_training, groups_per_stack, measure_stack
from distilled_experts.experiments.summary import chosen_models
from distilled_experts.tabular.training import StackedTraining

__all__ = ["Progress", "StackTask", "comparison_tasks", "run_tasks", "sweep_tasks"]

Model = dict[str, Any]
Progress = Callable[[str, int, int], None]
"""Called with what is being trained, epochs done, and epochs at most."""

_CHECKPOINT_SECONDS = 30.0


@dataclass(frozen=True)
class StackTask:
    """One stack to train: an arm, with one specification, for some consecutive seeds."""

    arm: str
    specification: Specification
    seeds: tuple[int, ...]

    @property
    def name(self) -> str:
        """Unique in a run."""
        return f"{self.arm}, {self.specification.experts} experts, seeds {self.seeds[0]} to {self.seeds[-1]}"

    @property
    def explained(self) -> bool:
        """Whether a parallel study follows."""
        return self.specification.explain and self.arm == "mixture"

    def without(self, models: Sequence[Model]) -> list[StackTask]:
        """What is left of it where some models are there: stacks of consecutive seeds."""
        form = self.arm, self.specification.experts
        done = {model["seed"] for model in models if (model["arm"], model["experts"]) == form}
        left = [seed for seed in self.seeds if seed not in done]
        stretches = itertools.groupby(enumerate(left), key=lambda numbered: numbered[1] - numbered[0])
        return [replace(self, seeds=tuple(seed for _, seed in stretch)) for _, stretch in stretches]

    def apart(self) -> list[StackTask]:
        """The same with a stack for each seed."""
        return [replace(self, seeds=(seed,)) for seed in self.seeds]


def comparison_tasks(specification: Specification, table: Table) -> list[StackTask]:
    """The stacks of `mode compare`: the dense network and the mixtures."""
    return _tasks(specification, ("dense", "mixture"), table)


def sweep_tasks(specification: Specification, experts: Sequence[int], table: Table) -> list[StackTask]:
    """The stacks of `mode sweep`: mixtures with each number of experts."""
    return [task for n in experts for task in _tasks(replace(specification, experts=n), ("mixture",), table)]


def _tasks(specification: Specification, arms: Sequence[str], table: Table) -> list[StackTask]:
    size = groups_per_stack(specification, table.X.size)
    starts = range(0, specification.seeds, size)
    return [
        StackTask(arm, specification, tuple(range(start, min(start + size, specification.seeds))))
        for start in starts
        for arm in arms
    ]


def run_tasks(
    tasks: Sequence[StackTask],
    table: Table,
    test: Table | None = None,
    folder: RunFolder | None = None,
    progress: Progress | None = None,
    workers: Workers = HERE,
) -> list[Model]:
    """Train and measure every stack that `folder` does not hold already.

    On a cluster every seed is a stack of its own, which is trained anew where it was interrupted.

    Raises
    ------
    KeyboardInterrupt
        When interrupted, after the stack in training has been saved.
    """
    models = [] if folder is None else folder.metrics()
    left = [part for task in tasks for part in task.without(models)]
    if workers != HERE:
        return _run_elsewhere(left, models, table, test, folder, progress, workers)
    with deferred_interruption() as interruption:
        for task in left:
            run = partial(
                _run_task, table=table, test=test, folder=folder, progress=progress, interruption=interruption
            )
            models += Attempt(run, _failed)(task)
            if folder is not None:
                folder.write_metrics(models)
            _stop_if_asked(interruption)
    return models


def _run_elsewhere(
    tasks: Sequence[StackTask],
    models: list[Model],
    table: Table,
    test: Table | None,
    folder: RunFolder | None,
    progress: Progress | None,
    workers: Workers,
) -> list[Model]:
    alone = [part for task in tasks for part in task.apart()]
    train = partial(_run_task, table=table, test=test, folder=None, progress=None, interruption=Interruption())
    # Whoever was done first, the record is the same.
    keeper = ModelKeeper(folder, lambda: sorted(models, key=_place))
    with interruptible_by_termination(), keeper:
        for done, (_, found) in enumerate(run_each(Attempt(train, _failed), alone, workers), 1):
            models += found
            keeper.note()
            if progress is not None:
                progress("stacks", done, len(alone))
    return sorted(models, key=_place)


def _place(model: Model) -> tuple[int, int, str]:
    return model["experts"], model["seed"], model["arm"]


def _failed(task: StackTask, reason: str) -> list[Model]:
    form = {"arm": task.arm, "experts": task.specification.experts, "alpha": None, "failed": reason}
    return [form | {"seed": seed} for seed in task.seeds]


def _run_task(
    task: StackTask,
    table: Table,
    test: Table | None,
    folder: RunFolder | None,
    progress: Progress | None,
    interruption: Interruption,
) -> list[Model]:
    stack = prepare(table, task.specification, task.seeds, test)
    training = build_training(stack, task.specification, task.arm)
    course = Course(training.settings.epochs) if training.network.n_experts > 1 else None
    saved = None if folder is None else folder.load_checkpoint(task.name)
    clock = _Clock(0.0 if saved is None else float(saved.pop("seconds")))
    if saved is not None:
        training.restore(saved)
        if course is not None:
            course.restore(saved)

    def pause(current: StackedTraining) -> None:
        """Show how far it is, save it if it is time, and stop if someone asked for it."""
        if progress is not None:
            progress(task.name, current.epoch, current.settings.epochs)
        if folder is not None and (interruption.requested or clock.checkpoint_due()):
            followed = {} if course is None else course.state()
            folder.save_checkpoint(task.name, {**current.state(), **followed, "seconds": clock.total()})
        _stop_if_asked(interruption)

    def after_epoch(current: StackedTraining) -> None:
        if course is not None:
            course.follow(current)
        pause(current)

    training.run(after_epoch)
    seconds = float(clock.total()) / (len(stack.groups) * training.network.stack_shape[1])
    measured = measure_stack(training, stack, task.specification, task.arm, course)
    models = [model | {"seconds": seconds} for model in measured]
    if not task.explained:
        return models
    alphas = [model["alpha"] for model in chosen_models(models, task.specification)]
    return models + run_parallel(training.network, stack, task.specification, alphas, lambda _: pause(training))


class _Clock:
    """Training time over several tries, and when the next checkpoint is due."""

    def __init__(self, before: float) -> None:
        self._before = before
        self._start = self._saved = time.perf_counter()

    def total(self) -> torch.Tensor:
        return torch.tensor(self._before + time.perf_counter() - self._start, dtype=torch.float64)

    def checkpoint_due(self) -> bool:
        now = time.perf_counter()
        due = now - self._saved >= _CHECKPOINT_SECONDS
        self._saved = now if due else self._saved
        return due


def _stop_if_asked(interruption: Interruption) -> None:
    if interruption.requested:
        raise KeyboardInterrupt
