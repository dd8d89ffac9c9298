"""Checks of parameters that rooms share: whole numbers, numbers in a range, devices.

>>> check_whole("n_experts", 0)
Traceback (most recent call last):
distilled_experts.errors.InvalidParameterError: n_experts: 0 is not allowed; allowed: whole numbers ≥ 1
>>> check_number("learning_rate", 0, above=0)
Traceback (most recent call last):
distilled_experts.errors.InvalidParameterError: learning_rate: 0 is not allowed; allowed: numbers > 0
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from distilled_experts.errors import InvalidParameterError

__all__ = ["check_device", "check_number", "check_share", "check_whole", "is_whole", "listed"]


def is_whole(value: object) -> bool:
    """Whether it is a whole number, of Python or NumPy; truth values are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_whole(parameter: str, value: Any, least: int = 1, most: int | None = None) -> None:
    """Raise an error unless the value is a whole number from `least` to `most`."""
    if is_whole(value) and value >= least and (most is None or value <= most):
        return
    allowed = f"whole numbers ≥ {least}" if most is None else f"whole numbers from {least} to {most}"
    raise InvalidParameterError(parameter, value, allowed)


def check_number(
    parameter: str, value: Any, *, least: float = -math.inf, above: float = -math.inf, most: float = math.inf
) -> None:
    """Raise an error unless the value is a finite number > `above`, or ≥ `least` and ≤ `most`."""
    real = isinstance(value, Real) and not isinstance(value, bool)
    if real and math.isfinite(value) and least <= value <= most and value > above:
        return
    start = f"≥ {least:g}" if math.isinf(above) else f"> {above:g}"
    allowed = f"numbers {start}" if math.isinf(most) else f"numbers from {least:g} to {most:g}"
    raise InvalidParameterError(parameter, value, allowed)


def check_share(parameter: str, value: Any) -> None:
    """Raise an error unless the value lies between 0 and 1, which are not allowed themselves."""
    if not (isinstance(value, Real) and 0 < float(value) < 1):
        raise InvalidParameterError(parameter, value, "numbers between 0 and 1")


def check_device(name: str) -> None:
    """Raise an error for a device that PyTorch does not know or cannot use here."""
    import torch

    try:
        # Tensors on "meta" have no values.
        usable = torch.empty(0, device=name).device.type != "meta"
    except (RuntimeError, AssertionError, NotImplementedError, TypeError):
        usable = False
    if not usable:
        raise InvalidParameterError("device", name, "cpu, or an accelerator that torch finds here")


def listed(names: Sequence[object], most: int = 5) -> str:
    """Name a few of them for a message.

    >>> listed(["a", "b", "c"], most=2)
    "'a', 'b' and 1 more"
    """
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
