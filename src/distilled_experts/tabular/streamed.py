"""Tables that are larger than memory: one column at a time, or some rows at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["StreamedTable", "features_in_file"]


class StreamedTable(ABC):
    """What an estimator's `fit` asks of a table that it cannot hold; `predict` takes its batches.

    Attributes
    ----------
    columns : list of str
        Names.
    """

    columns: list[str]

    @abstractmethod
    def __len__(self) -> int:
        """The number of rows."""

    @abstractmethod
    def column(self, name: str) -> pd.Series[Any]:
        """One column whole."""

    @abstractmethod
    def batches(self) -> Iterator[pd.DataFrame]:
        """All rows in their order, some at a time."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self), len(self.columns)


def features_in_file(
    table: StreamedTable, transform: Callable[[pd.DataFrame], NDArray[Any]], n_features: int, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Features (N, n_features) of all rows, in a file without a name that ends with the array.

    The array is mapped to the file: what memory it takes is lent by the system, which takes it back when others need
    it.

    Parameters
    ----------
    table : StreamedTable
    transform : callable
        From a batch to its features.
    n_features : int
    dtype : dtype
    """
    if not n_features:
        return np.zeros((len(table), 0), dtype)
    with TemporaryFile() as file:
        for batch in table.batches():
            transform(batch).astype(dtype, copy=False).tofile(file)
        return np.memmap(file, dtype, "r+", shape=(len(table), n_features))
