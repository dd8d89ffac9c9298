"""The names that distillation's options may have, and their check."""

from __future__ import annotations

import math
from typing import Literal, get_args

from distilled_experts.errors import InvalidParameterError

Distance = Literal["mse", "relative", "kl", "cosine"]
Teacher = Literal["mean", "gate", "peers", "leave_one_out"]
Weighting = Literal["uniform", "gate"]

DISTANCES: tuple[str, ...] = get_args(Distance)
TEACHERS: tuple[str, ...] = get_args(Teacher)
WEIGHTINGS: tuple[str, ...] = get_args(Weighting)


def check_distillation(distance: str, teacher: str, weighting: str, temperature: float) -> None:
    """Raise an error that names the first option of distillation with a value that is not allowed.

    Parameters
    ----------
    distance, teacher, weighting : str
        As in `mutual_distillation`.
    temperature : float
        Softens the probabilities of ``distance="kl"``.

    Raises
    ------
    InvalidParameterError
        A `ValueError` with parameter, value and what is allowed.

    Examples
    --------
    >>> check_distillation("mse", "mean", "uniform", 1.0)
    >>> check_distillation("mse", "max", "uniform", 1.0)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    distilled_experts.errors.InvalidParameterError: teacher: 'max' is not allowed; allowed: mean, gate, ...
    """
    named = (
        ("distance", distance, DISTANCES),
        ("teacher", teacher, TEACHERS),
        ("weighting", weighting, WEIGHTINGS),
    )
    for parameter, value, allowed in named:
        if value not in allowed:
            raise InvalidParameterError(parameter, value, allowed)
    if not (math.isfinite(temperature) and temperature > 0):
        raise InvalidParameterError("temperature", temperature, "numbers > 0")


def refuse_kl(distance: str, why: str) -> None:
    """Raise an error for the distance that compares probabilities, where outputs are none.

    Examples
    --------
    >>> refuse_kl("kl", "hidden states are no logits")
    Traceback (most recent call last):
    distilled_experts.errors.InvalidParameterError: distance: 'kl' is not allowed; allowed: mse, ... are no logits
    """
    if distance == "kl":
        others = ", ".join(name for name in DISTANCES if name != "kl")
        raise InvalidParameterError("distance", distance, f"{others}; {why}")
