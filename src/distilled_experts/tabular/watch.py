"""When a fit ends before its last epoch: time and callbacks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

from distilled_experts.tabular.training import StackedTraining

__all__ = ["Callback", "Watch", "progress_of"]

Callback = Callable[[dict[str, float]], bool | None]
"""Takes the figures of `progress_of` after every epoch; training ends when it returns True."""


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


def progress_of(training: StackedTraining) -> dict[str, float]:
    """Epoch, and the last losses: means over the models that are still in training."""
    last = {name: float(torch.nanmean(values[-1])) for name, values in training.history.items()}
    return {"epoch": training.epoch, **last}
