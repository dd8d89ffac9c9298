"""Checks of the layers' parameters."""

from __future__ import annotations

import math
import re

from distilled_experts.errors import InvalidParameterError

_SCOPE = re.compile(r"active\+([1-9][0-9]*)")


def check_count(parameter: str, value: object, least: int, most: int | None = None) -> None:
    """Raise an error unless the value is a whole number in the range."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not (isinstance(value, int) and whole and value >= least and (most is None or value <= most)):
        allowed = f"whole numbers from {least} to {most}" if most is not None else f"whole numbers ≥ {least}"
        raise InvalidParameterError(parameter, value, allowed)


def check_noise(noise: float) -> None:
    """Raise an error unless the noise is a finite number that is not negative."""
    if not (math.isfinite(noise) and noise >= 0):
        raise InvalidParameterError("noise", noise, "numbers ≥ 0")


def extra_experts(scope: str, n_experts: int, top_k: int | None) -> int:
    """Give the number of experts that are compared beside the active ones, for one of the names of a scope.

    Raises
    ------
    InvalidParameterError
        The scope has no such name, or asks for more experts than there are.
    """
    spare = n_experts - (top_k or n_experts)
    if scope == "active":
        return 0
    if scope == "all":
        return spare
    match = _SCOPE.fullmatch(scope)
    if match is None:
        raise InvalidParameterError("scope", scope, "active, all, active+m with a whole number m ≥ 1")
    extra = int(match[1])
    if extra > spare:
        allowed = f"active, all, active+m with m at most {spare}, the number of experts that are not active"
        raise InvalidParameterError("scope", scope, allowed)
    return extra
