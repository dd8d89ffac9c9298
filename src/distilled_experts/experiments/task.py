"""Which task a target asks for, and whether the target can be learnt from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from distilled_experts.errors import DataError, InvalidParameterError
from distilled_experts.tabular.kinds import recognise
from distilled_experts.tabular.values import MISSING_WORDS, as_numbers, is_text

__all__ = ["TASKS", "check_target", "infer_task"]

TASKS = ("classification", "regression")
MOST_INTEGER_CLASSES = 50


def infer_task(y: Any, task: str | None = None) -> str:
    """Tell the task from a target: ``"classification"`` or ``"regression"``.

    Text, booleans, categories, and whole numbers with at most 50 distinct values are classes; other numbers,
    also where they stand as text, are regression targets. Several target columns are a regression.

    Parameters
    ----------
    y : array-like of shape (n_rows,) or (n_rows, n_targets)
        The target.
    task : {"classification", "regression"}, optional
        The user's choice, which wins.

    Raises
    ------
    InvalidParameterError
        Where the task is neither.
    DataError
        Where the target holds dates.

    Examples
    --------
    >>> infer_task([0, 1, 1]), infer_task([0.5, 1.0, 1.5]), infer_task(["a", "b"])
    ('classification', 'regression', 'classification')
    """
    if task is not None:
        if task not in TASKS:
            raise InvalidParameterError("task", task, TASKS)
        return task
    if np.ndim(y) == 2 and np.shape(y)[1] > 1:
        return "regression"
    target = _as_series(y)
    kind = recognise(target, "target").kind
    if kind in ("category", "boolean"):
        return "classification"
    if kind == "date":
        raise DataError(f"target: column {_name(target)} holds dates; allowed: classes or numbers")
    numbers = _numbers(target)
    whole = bool((numbers == np.floor(numbers)).all())
    return "classification" if whole and np.unique(numbers).size <= MOST_INTEGER_CLASSES else "regression"


def check_target(y: pd.Series[Any], task: str) -> pd.Series[Any]:
    """Return a target in plain types, or say why nothing can be learnt from it.

    Parameters
    ----------
    y : Series
        Target without missing values.
    task : {"classification", "regression"}
        As `infer_task` tells it.

    Returns
    -------
    Series
        Classes as text, integers or booleans; numbers as float64.

    Raises
    ------
    DataError
        Where the target has one class only, a class has one row, or a number is infinite or none.

    Examples
    --------
    >>> check_target(pd.Series(["a", "a", "b"], name="colour"), "classification")
    Traceback (most recent call last):
    distilled_experts.errors.DataError: target: class 'b' of column 'colour' has 1 row; allowed: at least 2
    """
    if task == "regression":
        numbers = pd.Series(_numbers(y), index=y.index, name=y.name)
        if numbers.nunique() < 2:
            raise DataError(f"target: column {_name(y)} holds one value only; allowed: at least 2 different numbers")
        return numbers
    classes = _plain_classes(y)
    counts = classes.value_counts()
    if len(counts) < 2:
        only = f" ({counts.index[0]!r})" if len(counts) else ""
        raise DataError(f"target: column {_name(y)} has one class only{only}; allowed: at least 2 classes")
    single = sorted(map(str, counts.index[counts == 1]))
    if single:
        more = f" (and {len(single) - 1} other classes)" if len(single) > 1 else ""
        raise DataError(f"target: class {single[0]!r} of column {_name(y)}{more} has 1 row; allowed: at least 2")
    return classes


def missing_rows(y: pd.Series[Any]) -> pd.Series[bool]:
    """Mark the rows in which a target is missing; words such as ``?`` are missing too."""
    missing = y.isna()
    if is_text(y):
        missing |= y.map(lambda cell: isinstance(cell, str) and cell.strip() in MISSING_WORDS).astype(bool)
    return missing


def _as_series(y: Any) -> pd.Series[Any]:
    if isinstance(y, pd.DataFrame):
        y = y.iloc[:, 0]
    if hasattr(y, "to_pandas"):
        y = y.to_pandas()
    if not isinstance(y, pd.Series):
        y = pd.Series(np.asarray(y).reshape(len(y)))
    series: pd.Series[Any] = y[~missing_rows(y)]
    return series


def _name(y: pd.Series[Any]) -> str:
    return repr(str(y.name)) if y.name is not None else "'y'"


def _numbers(y: pd.Series[Any]) -> Any:
    try:
        return as_numbers(y, str(y.name))
    except DataError as error:
        reason = "infinite numbers" if "infinite" in str(error) else "what is not a number"
        raise DataError(f"target: column {_name(y)} holds {reason}; allowed for regression: finite numbers") from error


def _plain_classes(y: pd.Series[Any]) -> pd.Series[Any]:
    if isinstance(y.dtype, pd.CategoricalDtype):
        y = y.astype(y.cat.categories.dtype)
    if pd.api.types.is_bool_dtype(y):
        return y.astype(bool)
    if pd.api.types.is_numeric_dtype(y):
        numbers = _numbers(y)
        return y.astype(np.int64) if (numbers == np.floor(numbers)).all() else y.astype(np.float64)
    return y
