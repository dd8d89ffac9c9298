"""Measures as plain numbers, for records that are written as JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["plain_numbers"]


def plain_numbers(values: ArrayLike) -> Any:
    """A number, or nested lists of numbers; None for what is not defined.

    Examples
    --------
    >>> plain_numbers(np.array([[0.5, np.nan]])), plain_numbers(np.float64(2))
    ([[0.5, None]], 2.0)
    """
    array = np.asarray(values, dtype=float)
    plain = array.astype(object)
    plain[~np.isfinite(array)] = None
    return plain.tolist()
