"""Quotients of sums over samples, of which there may be none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["quotient"]


def quotient(numerator: NDArray[np.generic], denominator: NDArray[np.generic]) -> NDArray[np.float64]:
    """Numerator (*) over denominator, which broadcasts; NaN where the denominator is zero.

    Examples
    --------
    >>> quotient(np.array([1.0, 0.0]), np.array([2.0, 0.0]))
    array([0.5, nan])
    """
    result: NDArray[np.float64] = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=result, where=np.asarray(denominator != 0))
    return result
