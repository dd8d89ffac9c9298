"""What the cells of one column mean: numbers, labels or dates, whichever dtype carries them."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from distilled_experts.errors import DataError
from distilled_experts.tabular.frames import Name

__all__ = [
    "MISSING_WORDS",
    "Labels",
    "as_days",
    "as_labels",
    "as_numbers",
    "find_date_format",
    "is_text",
    "parse_numbers",
]

MISSING_WORDS = frozenset({"", "?", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "<NA>", "#N/A", "NaT", "-nan"})
"""Texts that stand for a missing value. "None" is not among them: it is a common category."""

ISO = "ISO8601"
_DAY_FORMATS = (
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%Y/%m/%d",
    "%d.%m.%Y",
    "%m-%d-%Y",
    "%d-%m-%Y",
    "%d %b %Y",
    "%b %d, %Y",
)
_DATE_FORMATS = (ISO, *(day + time for day in _DAY_FORMATS for time in ("", " %H:%M", " %H:%M:%S")))
_DATE_SHARE = 0.95
_DATE_SHAPE = re.compile(r"\d{1,4}[-/.]\d{1,2}|\d{1,2} [A-Za-z]{3} \d|[A-Za-z]{3} \d{1,2},")
_PROBED_LABELS = 100
_PROBED_SHARE = 0.5
_EXACT = 2**53
_MICROSECONDS_A_DAY = 86_400_000_000


class Labels(NamedTuple):
    """A column as codes into its distinct labels; code -1 means missing."""

    codes: npt.NDArray[np.int64]
    labels: list[str]


def is_text(column: pd.Series[Any]) -> bool:
    """Whether labels, not numbers or dates, are the column's own form."""
    return bool(pd.api.types.is_object_dtype(column) or pd.api.types.is_string_dtype(column))


def as_labels(column: pd.Series[Any], name: Name) -> Labels:
    """Write every cell as text: stripped, whole numbers without a fraction, missing words recognised.

    So that 1, 1.0 and "1" are one label, in whichever form a later file brings it.

    Raises
    ------
    DataError
        Where a cell holds a complex number or a container such as a list.

    Examples
    --------
    >>> as_labels(pd.Series(["b", " a", "?", "b"]), "x")
    Labels(codes=array([ 0,  1, -1,  0]), labels=['b', 'a'])
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes, cells = column.cat.codes.to_numpy(np.int64), column.cat.categories
    elif pd.api.types.is_object_dtype(column):
        # Hashing would merge True, 1 and 1.0 under whichever comes first: cells are written out one by one.
        codes, cells = pd.factorize(pd.Index([_label(cell, name) for cell in column], dtype=object))
    else:
        codes, cells = pd.factorize(pd.Index(column))
    texts = [_label(cell, name) for cell in cells]
    merged, labels = pd.factorize(np.array([*texts, None], dtype=object))
    # The missing code -1 points at the last entry, which was put there for it.
    return Labels(merged.astype(np.int64)[codes], list(labels))


def _label(cell: Any, name: Name) -> str | None:
    """Write one cell as text, None where it is missing."""
    if isinstance(cell, bytes):
        cell = cell.decode("utf-8", errors="replace")
    if isinstance(cell, str):
        text = cell.strip()
        return None if text in MISSING_WORDS else text
    if isinstance(cell, (dict, list, set, tuple, complex, np.ndarray)):
        kind = type(cell).__name__
        raise DataError(f"X: column {name!r} holds a {kind}; every argument must be a string or a number")
    if pd.isna(cell):
        return None
    if isinstance(cell, (float, np.floating)) and abs(float(cell)) < _EXACT and float(cell).is_integer():
        cell = int(cell)
    return str(cell)


def parse_numbers(labels: list[str]) -> npt.NDArray[np.float64] | None:
    """Read labels as numbers; None where one of them is none.

    Examples
    --------
    >>> parse_numbers(["1", "-2.5e3"])
    array([ 1.0e+00, -2.5e+03])
    >>> parse_numbers(["1", "one"]) is None
    True
    """
    try:
        numbers = pd.to_numeric(np.array(labels, dtype=object))
    except (ValueError, TypeError):
        return None
    return np.asarray(numbers, dtype=np.float64)


def as_numbers(column: pd.Series[Any], name: Name) -> npt.NDArray[np.float64]:
    """Read a column as float64 with NaN for missing values; numbers as text are read, durations become days.

    Raises
    ------
    DataError
        Where a cell is infinite or not a number.

    Examples
    --------
    >>> as_numbers(pd.Series(["1", "?", "2.5"]), "x")
    array([1. , nan, 2.5])
    """
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iuf":
        numbers = column.to_numpy().astype(np.float64)
    else:
        numbers = _converted(column, name)
    infinite = int(np.isinf(numbers).sum())
    if infinite:
        raise DataError(f"X: column {name!r} holds {infinite} infinite value(s); allowed: finite or missing")
    return numbers


def _converted(column: pd.Series[Any], name: Name) -> npt.NDArray[np.float64]:
    if pd.api.types.is_complex_dtype(column):
        raise DataError(f"X: Complex data not supported (column {name!r}); allowed: real numbers")
    if pd.api.types.is_timedelta64_dtype(column):
        column = pd.Series(column.to_numpy() / np.timedelta64(1, "D"))
    if is_text(column) or isinstance(column.dtype, pd.CategoricalDtype):
        return _text_numbers(column, name)
    try:
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise DataError(f"X: column {name!r} of type {column.dtype} is not numeric; allowed: numbers") from error


def _text_numbers(column: pd.Series[Any], name: Name) -> npt.NDArray[np.float64]:
    codes, labels = as_labels(column, name)
    numbers = parse_numbers(labels)
    if numbers is None:
        wrong = next(label for label in labels if parse_numbers([label]) is None)
        raise DataError(f"X: column {name!r} holds {wrong[:40]!r}; allowed: numbers, as in fit, or missing")
    return np.append(numbers, np.nan)[codes]


def find_date_format(labels: list[str], weights: npt.NDArray[np.float64]) -> str | None:
    """Name the format in which at least 95 % (by weight) of the labels are dates, or None.

    Where day and month cannot be told apart, the month is taken to come first.

    Examples
    --------
    >>> find_date_format(["2024-01-31", "2024-02-01"], np.ones(2))
    'ISO8601'
    >>> find_date_format(["31.12.2023", "01.02.2024"], np.ones(2))
    '%d.%m.%Y'
    """
    order = np.argsort(np.array(labels, dtype=object))
    labels, weights = [labels[i] for i in order], weights[order]
    probe = labels[:: len(labels) // _PROBED_LABELS + 1]
    # Parsing is slow, so columns of plain words are told from a sample first.
    if sum(map(bool, map(_DATE_SHAPE.match, probe))) < _PROBED_SHARE * len(probe):
        return None
    formats = [form for form in _DATE_FORMATS if not np.isnan(_parse_days(probe, form)).all()]
    shares = [_parsed_share(labels, weights, form) for form in formats]
    # The first of equally good formats wins.
    best = max(range(len(formats)), key=lambda i: (shares[i], -i), default=-1)
    return formats[best] if formats and shares[best] >= _DATE_SHARE else None


def _parsed_share(labels: list[str], weights: npt.NDArray[np.float64], date_format: str) -> float:
    return float(weights[~np.isnan(_parse_days(labels, date_format))].sum() / weights.sum())


def _parse_days(labels: list[str], date_format: str) -> npt.NDArray[np.float64]:
    texts = pd.Series(labels, dtype="str")
    return _days(pd.DatetimeIndex(pd.to_datetime(texts, format=date_format, errors="coerce", utc=True)))


def _days(index: pd.DatetimeIndex) -> npt.NDArray[np.float64]:
    if index.tz is not None:
        index = index.tz_convert("UTC").tz_localize(None)
    days = index.as_unit("us").asi8 / _MICROSECONDS_A_DAY
    days[index.isna()] = np.nan
    return days


def as_days(column: pd.Series[Any], name: Name, date_format: str = ISO) -> npt.NDArray[np.float64]:
    """Read a column of dates as days since 1970-01-01 (UTC), NaN where missing or not a date.

    Raises
    ------
    DataError
        Where the column holds plain numbers, which could mean anything.

    Examples
    --------
    >>> as_days(pd.Series(["1970-01-02", "1970-01-01T12:00", None]), "x")
    array([1. , 0.5, nan])
    """
    if isinstance(column.dtype, pd.PeriodDtype):
        column = column.dt.to_timestamp()
    if pd.api.types.is_datetime64_any_dtype(column):
        return _days(pd.DatetimeIndex(column))
    if pd.api.types.is_numeric_dtype(column) and column.notna().any():
        raise DataError(f"X: column {name!r} of type {column.dtype} is not allowed; allowed: dates, as in fit")
    codes, labels = as_labels(column, name)
    return np.append(_parse_days(labels, date_format), np.nan)[codes]
