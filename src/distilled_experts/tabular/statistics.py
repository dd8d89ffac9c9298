"""Weighted statistics of one column that depend neither on row order nor on how duplicates are written.

Everything is computed from the sorted distinct values and their total weights. So permuting the rows changes
no bit, and neither does writing a row twice instead of giving it the weight 2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from distilled_experts.errors import DataError

__all__ = ["Distinct", "check_weight", "distinct_values", "mean_and_deviation", "quantile", "total_weights"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class Distinct(NamedTuple):
    """Sorted distinct values of a column, and the total weight of each."""

    values: FloatArray
    weights: FloatArray


def check_weight(sample_weight: object, n_rows: int) -> FloatArray | None:
    """Return sample weights as float64, or None where none are given.

    Parameters
    ----------
    sample_weight : array-like of shape (n_rows,), number or None
        A number stands for the same weight in every row.
    n_rows : int
        Rows of the table.

    Raises
    ------
    DataError
        Where a weight is negative or not finite, all are zero, or their number is not that of the rows.

    Examples
    --------
    >>> check_weight([1, 0, 2], 3)
    array([1., 0., 2.])
    """
    if sample_weight is None:
        return None
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.ndim == 0:
        weight = np.full(n_rows, float(weight))
    if weight.shape != (n_rows,):
        raise DataError(f"sample_weight: shape {weight.shape} is not allowed; allowed: ({n_rows},), one a row")
    if not np.isfinite(weight).all() or (weight < 0).any():
        raise DataError("sample_weight: holds a negative, missing or infinite value; allowed: finite numbers ≥ 0")
    if n_rows and not 0 < weight.sum() < np.inf:
        raise DataError("sample_weight: all weights are zero or their sum overflows; allowed: a finite sum > 0")
    return weight


def total_weights(codes: IntArray, weight: FloatArray | None, n_codes: int) -> FloatArray:
    """Sum the weights of the rows with each code; rows with code -1 count nowhere.

    Parameters
    ----------
    codes : ndarray of shape (n_rows,)
        Integers from -1 to ``n_codes - 1``.
    weight : ndarray of shape (n_rows,) or None
        None counts rows.
    n_codes : int
        Length of the result.

    Examples
    --------
    >>> total_weights(np.array([0, 1, 1, -1]), None, 3)
    array([1., 2., 0.])
    """
    known = codes >= 0
    if weight is None:
        return np.bincount(codes[known], minlength=n_codes).astype(np.float64)
    codes, weight = codes[known], weight[known]
    # Sorting by weight fixes the order of summation, so that the rows' order cannot change the last bit.
    order = np.argsort(weight, kind="stable")
    return np.bincount(codes[order], weights=weight[order], minlength=n_codes).astype(np.float64, copy=False)


def distinct_values(values: FloatArray, weight: FloatArray | None = None) -> Distinct:
    """Sort values and merge equal ones; the values must be finite.

    Examples
    --------
    >>> distinct_values(np.array([3.0, 1.0, 3.0]))
    Distinct(values=array([1., 3.]), weights=array([1., 2.]))
    """
    # Adding zero turns -0.0 into 0.0: they are equal, and which of the two would stay depends on the order.
    values = values + 0.0
    if weight is None:
        values.sort()
    else:
        order = np.lexsort((weight, values))
        values, weight = values[order], weight[order]
    if not values.size:
        return Distinct(values, np.zeros(0))
    starts = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))
    if weight is None:
        totals = np.diff(np.append(starts, values.size)).astype(np.float64)
    else:
        totals = np.add.reduceat(weight, starts)
    return Distinct(values[starts], totals)


def mean_and_deviation(distinct: Distinct) -> tuple[float, float]:
    """Weighted mean and standard deviation (divided by the total weight, not by one less).

    Values are scaled by a power of two first, which is exact, so that squares of huge values do not overflow.

    Examples
    --------
    >>> mean_and_deviation(distinct_values(np.array([1.0, 3.0])))
    (2.0, 1.0)
    """
    largest = float(np.abs(distinct.values).max())
    exponent = int(np.frexp(largest)[1])
    scaled = np.ldexp(distinct.values, -exponent)
    share = distinct.weights / distinct.weights.sum()
    mean = np.sum(share * scaled)
    deviation = np.sqrt(np.sum(share * (scaled - mean) ** 2))
    return float(np.ldexp(mean, exponent)), float(np.ldexp(deviation, exponent))


def quantile(distinct: Distinct, q: float) -> float:
    """Weighted quantile: the inverse of the distribution function, averaged at its steps.

    For ``q = 0.5`` and equal weights this is the usual median.

    Examples
    --------
    >>> quantile(distinct_values(np.array([4.0, 1.0, 2.0, 3.0])), 0.5)
    2.5
    """
    reached = np.cumsum(distinct.weights)
    wanted = q * reached[-1]
    at = min(int(np.searchsorted(reached, wanted)), reached.size - 1)
    value = float(distinct.values[at])
    if reached[at] == wanted and at + 1 < reached.size:
        return 0.5 * value + 0.5 * float(distinct.values[at + 1])
    return value
