"""How the strength of distillation changes over training, as a factor of α."""

from __future__ import annotations

import math
from typing import Literal, get_args

from distilled_experts.errors import InvalidParameterError

__all__ = ["SCHEDULES", "Schedule", "schedule_factor"]

Schedule = Literal["constant", "warmup", "cosine", "anneal"]
SCHEDULES: tuple[str, ...] = get_args(Schedule)

_WARMUP_SHARE = 0.1


def schedule_factor(schedule: Schedule, progress: float) -> float:
    """Factor of α at a point of training.

    Parameters
    ----------
    schedule : {"constant", "warmup", "cosine", "anneal"}
        1 throughout; rising from 0 to 1 over the first tenth, so that experts differ before they learn from each other;
        falling from 1 to 0 as a half cosine, or in a straight line, so that they specialise at the end.
    progress : float
        Share of the training that is done, 0 to 1; beyond 1 the last value stays.

    Raises
    ------
    InvalidParameterError
        When the schedule is unknown.

    Examples
    --------
    >>> [schedule_factor(name, 0.05) for name in ("constant", "warmup")]
    [1.0, 0.5]
    >>> [round(schedule_factor(name, 0.75), 3) for name in ("cosine", "anneal")]
    [0.146, 0.25]
    """
    progress = min(max(progress, 0.0), 1.0)
    if schedule == "constant":
        return 1.0
    if schedule == "warmup":
        return min(1.0, progress / _WARMUP_SHARE)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if schedule == "anneal":
        return 1 - progress
    raise InvalidParameterError("alpha_schedule", schedule, SCHEDULES)
