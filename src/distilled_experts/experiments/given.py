"""Tables that a caller holds in memory, and test rows that go with a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from distilled_experts.errors import DataError
from distilled_experts.experiments.data import Table, make_table
from distilled_experts.experiments.reading import read_frame
from distilled_experts.experiments.sources import Source
from distilled_experts.experiments.task import missing_rows
from distilled_experts.tabular.frames import view_table

__all__ = ["load_test_rows", "table_from", "test_rows_from"]


def table_from(
    X: Any, y: Any, *, name: str = "table", groups: Any = None, time: Any = None, task: str | None = None
) -> Table:
    """A table for an experiment from features and target in memory.

    Raises
    ------
    DataError
        When the parts differ in length, or a part cannot be used.

    Examples
    --------
    >>> table = table_from([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 9.0]], ["a", "b", "a", "b"])
    >>> table.task, list(table.X.columns)
    ('classification', [0, 1])
    """
    frame = _frame(X)
    names = {}
    for part, values in (("target", y), ("groups", groups), ("time", time)):
        if values is None:
            continue
        names[part] = _free_name(part, frame)
        frame[names[part]] = _column(part, values, len(frame))
    return make_table(Source(name, frame, None, ()), **names, task=task)


def test_rows_from(X: Any, y: Any, table: Table) -> Table:
    """Test rows in memory that go with `table`."""
    frame = _frame(X)
    name = _free_name("target", frame)
    frame[name] = _column("test", y, len(frame))
    return _test_rows(frame, name, table)


def load_test_rows(path: str | Path, table: Table, left_out: tuple[str | None, ...] = ()) -> Table:
    """Test rows from a file with the columns of the one that `table` came from.

    Raises
    ------
    DataError
        When the target column is not there, or no row has a target.
    """
    frame = read_frame(path)
    if table.target not in frame.columns:
        raise DataError(f"test: {str(path)!r} has no column '{table.target}', the target")
    return _test_rows(frame.drop(columns=[c for c in left_out if c in frame.columns]), table.target, table)


def _test_rows(frame: pd.DataFrame, target: str, table: Table) -> Table:
    frame = frame[~missing_rows(frame[target])].reset_index(drop=True)
    if frame.empty:
        raise DataError("test: no row has a target; allowed: at least one row")
    X, y = frame.drop(columns=target), frame[target]
    if table.task == "regression":
        y = pd.to_numeric(y, errors="coerce")
        if y.isna().any():
            raise DataError(f"test: column '{target}' holds values that are no numbers")
    return Table(table.name, X, y, target, task=table.task)


def _frame(X: Any) -> pd.DataFrame:
    view = view_table(X)
    return pd.DataFrame({name: view.column(j).reset_index(drop=True) for j, name in enumerate(view.names)})


def _column(part: str, values: Any, n_rows: int) -> pd.Series[Any]:
    column = pd.Series(values.to_pandas() if hasattr(values, "to_pandas") else values).reset_index(drop=True)
    if len(column) != n_rows:
        raise DataError(f"{part}: {len(column)} values are not allowed; allowed: {n_rows}, one for each row of X")
    return column


def _free_name(name: str, frame: pd.DataFrame) -> str:
    while name in frame.columns:
        name += "_"
    return name
