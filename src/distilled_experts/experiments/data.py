"""A table ready for an experiment: features, a target without gaps, and columns that guide the splits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from distilled_experts.checks import listed
from distilled_experts.errors import DataError, InvalidParameterError
from distilled_experts.experiments.reading import read_frame
from distilled_experts.experiments.registry import DEFAULT_TARGET, suggest
from distilled_experts.experiments.sources import Source, find_source
from distilled_experts.experiments.task import check_target, infer_task, missing_rows
from distilled_experts.tabular.frames import view_table
from distilled_experts.tabular.kinds import recognise
from distilled_experts.tabular.values import as_days, as_numbers

__all__ = ["Table", "check_features", "load_table", "make_table", "read_frame", "target_name"]


@dataclass(frozen=True)
class Table:
    """A table for an experiment; all parts have the same rows, numbered from 0.

    Attributes
    ----------
    name : str
        Short name of the data set.
    X : DataFrame
        Features alone, as they were read: mixed types, missing values.
    y : Series
        Target without missing values: classes as they are, or float64.
    target : str
        Name of the target column.
    groups : Series or None
        Rows of one group are never parted by a split.
    time : Series or None
        Numbers by which rows are ordered in time: those of the column, or days since 1970-01-01.
    notes : tuple of str
        What was repaired or left out.
    task : {"classification", "regression"}
        What the target asks for.
    """

    name: str
    X: pd.DataFrame
    y: pd.Series[Any]
    target: str
    groups: pd.Series[Any] | None = None
    time: pd.Series[Any] | None = None
    notes: tuple[str, ...] = ()
    task: str = "classification"


def load_table(
    data: str,
    *,
    target: str | None = None,
    data_dir: str | Path | None = None,
    groups: str | None = None,
    time: str | None = None,
    task: str | None = None,
) -> Table:
    """Load a table from a file or by name.

    Parameters
    ----------
    data : str
        A CSV, CSV.gz or Parquet file, or a name: looked up below the data folder, then among scikit-learn's
        bundled sets, then at OpenML (sets of the registry; through scikit-learn and its cache).
    target : str, optional
        Target column; by default the one the registry knows, else ``"target"``.
    data_dir : str or Path, optional
        Data folder, searched recursively; by default what the environment variable ``DISTILLED_EXPERTS_DATA``
        names.
    groups, time : str, optional
        Columns that guide the splits; they are taken out of the features.
    task : {"classification", "regression"}, optional
        By default told from the target.

    Returns
    -------
    Table

    Raises
    ------
    UnknownDataError
        Where nothing has this name; near names are listed, and no network is asked.
    DataError
        Where the file, a column or the target cannot be used.
    InvalidParameterError
        Where the data folder does not exist or the task is unknown.

    Examples
    --------
    >>> table = load_table("wine")
    >>> table.X.shape, table.task, sorted(table.y.unique())
    ((178, 13), 'classification', ['class_0', 'class_1', 'class_2'])
    """
    if not data:
        raise InvalidParameterError("data", data, "a file, or the name of a data set")
    return make_table(find_source(data, data_dir), target=target, groups=groups, time=time, task=task)


def make_table(
    source: Source,
    *,
    target: str | None = None,
    groups: str | None = None,
    time: str | None = None,
    task: str | None = None,
) -> Table:
    """Part a frame into features, target, groups and time, and check them; parameters as in `load_table`."""
    frame = source.frame
    # Repeated names are reported before a column is asked for by name.
    view_table(frame)
    name = target_name(source, target)
    for parameter, column in (("groups", groups), ("time", time)):
        if column is not None:
            _check_column(frame, parameter, column)
            if column == name:
                raise DataError(f"{parameter}: column '{column}' is the target; allowed: another column")
    missing = missing_rows(frame[name])
    notes = source.notes
    if missing.any():
        notes = (*notes, f"{int(missing.sum())} rows without a target were left out")
        frame = frame[~missing].reset_index(drop=True)
    if frame.empty:
        raise DataError(f"target: column '{name}' has no values; allowed: a column with a value in some rows")
    task = infer_task(frame[name], task)
    y = check_target(frame[name], task)
    X = frame.drop(columns=[column for column in {name, groups, time} if column is not None])
    check_features(list(X.columns), X.__getitem__)
    return Table(source.name, X, y, name, _groups(frame, groups), _time(frame, time), notes, task)


def target_name(source: Source, target: str | None = None) -> str:
    """The target column: the one asked for, the one that the source knows, or the one called "target".

    Raises
    ------
    DataError
        Where there is no such column.
    """
    if target is not None:
        _check_column(source.frame, "target", target)
        return target
    name = source.target or DEFAULT_TARGET
    if name in source.frame.columns:
        return name
    columns = listed(list(source.frame.columns))
    raise DataError(f"target: not given, and no column is called '{name}'; allowed: one of the columns {columns}")


def _check_column(frame: pd.DataFrame, parameter: str, column: str) -> None:
    if column not in frame.columns:
        near = suggest(column, frame.columns)
        raise DataError(f"{parameter}: column '{column}' does not exist; allowed: a column of the data, such as {near}")


def check_features(names: Sequence[str], column: Callable[[str], pd.Series[Any]]) -> None:
    """Refuse features that are none: no columns, columns without values, infinite numbers.

    Parameters
    ----------
    names : sequence of str
    column : callable
        The column of a name.

    Raises
    ------
    DataError
    """
    if not names:
        raise DataError("data: no feature columns are left beside target, groups and time; allowed: at least 1")
    wrong: dict[str, list[str]] = {"empty": [], "infinite": []}
    for name in names:
        values = column(name)
        if values.isna().all():
            wrong["empty"].append(name)
        elif _is_infinite(values):
            wrong["infinite"].append(name)
    if wrong["empty"]:
        raise DataError(
            f"data: all values are missing in {listed(wrong['empty'])}; allowed: at least one value a column"
        )
    if wrong["infinite"]:
        raise DataError(f"data: infinite numbers in {listed(wrong['infinite'])}; allowed: finite numbers or missing")


def _is_infinite(column: pd.Series[Any]) -> bool:
    if not pd.api.types.is_float_dtype(column):
        return False
    return bool(np.isinf(column.to_numpy(dtype=np.float64, na_value=np.nan)).any())


def _groups(frame: pd.DataFrame, column: str | None) -> pd.Series[Any] | None:
    if column is None:
        return None
    _check_complete(frame, "groups", column)
    return frame[column]


def _time(frame: pd.DataFrame, column: str | None) -> pd.Series[Any] | None:
    if column is None:
        return None
    kind, date_format = recognise(frame[column], column)
    if kind not in ("numeric", "date"):
        raise DataError(f"time: column '{column}' holds neither dates nor numbers; allowed: a column to order rows by")
    as_order = as_days(frame[column], column, date_format) if kind == "date" else as_numbers(frame[column], column)
    order = pd.Series(as_order, name=column)
    _check_complete(order.to_frame(), "time", column)
    return order


def _check_complete(frame: pd.DataFrame, parameter: str, column: str) -> None:
    missing = int(frame[column].isna().sum())
    if missing:
        raise DataError(f"{parameter}: column '{column}' has no value in {missing} row(s); allowed: one in every row")
