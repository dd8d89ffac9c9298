"""Windows of rows in order of time, each cut into training, validation and test."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from distilled_experts.errors import DataError

__all__ = ["TimeWindows"]

Rows = npt.NDArray[np.int64]
_WINDOW = 0.8
_GOLDEN = 0.6180339887498949


class TimeWindows:
    """Contiguous windows of 80 % of the rows; rows of the same time are never parted.

    Parameters
    ----------
    time : ndarray of shape (n_rows,)
        Times that can be sorted.
    test_size, validation_size : float
        Share of the window that is tested on, 0 for no test; share of the rest for validation.

    Raises
    ------
    DataError
        Where there are too few distinct times.
    """

    def __init__(self, time: npt.NDArray[Any], test_size: float, validation_size: float) -> None:
        self._order = np.argsort(time, kind="stable")
        ordered = time[self._order]
        # Places at which rows may be cut: between different times.
        inner = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
        self._cuts = np.concatenate(([0], inner, [len(time)]))
        self._test_size, self._validation_size = test_size, validation_size
        self._n_parts = 3 if test_size > 0 else 2
        n_times = len(self._cuts) - 1
        if n_times < self._n_parts:
            raise DataError(f"time: {n_times} distinct times are too few; allowed: {self._n_parts} or more")

    def draw(self, seed: int) -> tuple[Rows, Rows, Rows]:
        """Return training, validation and test rows of a seed's window; seed 0 takes the last one."""
        start, end = self._window(seed)
        n_test = self._test_size * (self._cuts[end] - self._cuts[start])
        test = self._between(self._cuts[end] - n_test, start + 2, end - 1) if self._n_parts == 3 else end
        n_validation = self._validation_size * (self._cuts[test] - self._cuts[start])
        validation = self._between(self._cuts[test] - n_validation, start + 1, test - 1)
        return self._rows(start, validation), self._rows(validation, test), self._rows(test, end)

    def _window(self, seed: int) -> tuple[int, int]:
        n_rows = len(self._order)
        # Multiples of the golden ratio spread evenly over the rows, however many there are.
        offset = (1.0 - (seed * _GOLDEN) % 1.0) * (1 - _WINDOW) * n_rows
        last = len(self._cuts) - 1
        start = self._between(offset, 0, last - self._n_parts)
        return start, self._between(offset + _WINDOW * n_rows, start + self._n_parts, last)

    def _between(self, place: float, first: int, last: int) -> int:
        """Return the cut nearest to a place, among the first to the last."""
        nearest = int(np.argmin(np.abs(self._cuts - place)))
        return min(max(nearest, first), last)

    def _rows(self, start: int, stop: int) -> Rows:
        return np.sort(self._order[self._cuts[start] : self._cuts[stop]])
