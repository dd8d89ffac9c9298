"""One way to look at every kind of table: columns by position, as pandas series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import scipy.sparse

from distilled_experts.checks import listed
from distilled_experts.errors import DataError
from distilled_experts.tabular.streamed import StreamedTable

__all__ = ["Name", "TableView", "check_names", "view_table"]

Name: TypeAlias = str | int


@dataclass(frozen=True)
class TableView:
    """A table seen column by column; nothing is copied before a column is asked for.

    Attributes
    ----------
    names : tuple of str or int
        Column names; positions where the table has none.
    named : bool
        Whether the table brought names of its own.
    n_rows : int
        Number of rows.
    column : callable
        Maps a position to the column as a `pandas.Series`.
    """

    names: tuple[Name, ...]
    named: bool
    n_rows: int
    column: Callable[[int], pd.Series[Any]]


def view_table(X: Any) -> TableView:
    """View a table: pandas, polars or pyarrow, NumPy or any 2-D array-like, scipy sparse, streamed.

    Raises
    ------
    DataError
        Where the input has not two dimensions, holds complex numbers or repeats a column name.

    Examples
    --------
    >>> view = view_table(np.eye(2))
    >>> view.names, view.n_rows, view.column(1).tolist()
    ((0, 1), 2, [0.0, 1.0])
    """
    if isinstance(X, pd.DataFrame):
        return _view_frame(X)
    if isinstance(X, StreamedTable):
        return TableView(_plain_names(X.columns), True, len(X), lambda j: X.column(X.columns[j]))
    if hasattr(X, "to_pandas"):
        return _view_foreign_frame(X)
    if scipy.sparse.issparse(X):
        return _view_sparse(X)
    return _view_array(X)


def check_names(expected: tuple[Name, ...], names: tuple[Name, ...]) -> None:
    """Raise a `DataError` that says how the names differ from those seen in fit.

    Examples
    --------
    >>> check_names(("age", "city"), ("age",))
    Traceback (most recent call last):
    distilled_experts.errors.DataError: X: missing columns 'city'; allowed: the 2 columns seen in fit
    """
    if expected == names:
        return
    missing = [name for name in expected if name not in set(names)]
    unexpected = [name for name in names if name not in set(expected)]
    parts = [f"missing columns {listed(missing)}"] if missing else []
    parts += [f"unexpected columns {listed(unexpected)}"] if unexpected else []
    if not parts:
        at = next(i for i, pair in enumerate(zip(expected, names, strict=False)) if pair[0] != pair[1])
        parts = [f"column {at} is {names[at]!r} and was {expected[at]!r} in fit: the order differs"]
    raise DataError(f"X: {'; '.join(parts)}; allowed: the {len(expected)} columns seen in fit")


def _plain_names(names: Any) -> tuple[Name, ...]:
    plain = tuple(int(name) if isinstance(name, (int, np.integer)) else str(name) for name in names)
    repeated = [name for name, count in Counter(plain).items() if count > 1]
    if repeated:
        raise DataError(f"X: column names repeat: {listed(repeated)}; allowed: every name once")
    return plain


def _view_frame(frame: pd.DataFrame) -> TableView:
    labels = list(frame.columns)
    # By label is several times as fast as by position.
    return TableView(_plain_names(labels), True, len(frame), lambda j: frame[labels[j]])


def _view_foreign_frame(frame: Any) -> TableView:
    names = getattr(frame, "column_names", None) or frame.columns
    if not hasattr(frame, "get_column"):
        return _view_frame(frame.to_pandas())
    # A polars frame converts column by column, so that the whole table is never held twice.
    return TableView(_plain_names(names), True, len(frame), lambda j: frame.get_column(names[j]).to_pandas())


def _view_sparse(matrix: Any) -> TableView:
    columns = scipy.sparse.csc_array(matrix)
    if columns.ndim != 2:
        raise DataError(f"X: {columns.ndim} dimensions are not allowed; allowed: 2, rows × columns")

    def column(j: int) -> pd.Series[Any]:
        return pd.Series(columns[:, [j]].toarray().ravel())

    return TableView(tuple(range(columns.shape[1])), False, columns.shape[0], column)


def _view_array(X: Any) -> TableView:
    if isinstance(X, list):
        frame = pd.DataFrame(X)
        return TableView(tuple(range(frame.shape[1])), False, len(frame), lambda j: frame.iloc[:, j])
    array = np.asarray(X)
    if array.ndim != 2:
        raise DataError(f"X: {array.ndim} dimensions are not allowed; allowed: 2, rows × columns")
    if np.iscomplexobj(array):
        raise DataError("X: Complex data not supported; allowed: real numbers, text, dates, booleans")
    names = tuple(range(array.shape[1]))
    return TableView(names, False, len(array), lambda j: pd.Series(array[:, j], copy=False))
