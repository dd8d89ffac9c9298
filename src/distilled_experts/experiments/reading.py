"""Tables from files: CSV, compressed or not, and Parquet; what is wrong with a file is said in one line."""

from __future__ import annotations

import re
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from distilled_experts.errors import DataError
from distilled_experts.experiments.dialect import Dialect, sniff
from distilled_experts.experiments.parquet import read_parquet
from distilled_experts.experiments.registry import suggest
from distilled_experts.files import check_gzip
from distilled_experts.tabular.values import MISSING_WORDS, is_text

__all__ = [
    "SUFFIXES",
    "TableFile",
    "check_file",
    "has_table_suffix",
    "is_parquet",
    "read_file",
    "read_frame",
    "without_row_numbers",
]

SUFFIXES = (".csv", ".csv.gz", ".parquet")
"""Ends of file names, the preferred ones first; ``.tsv``, ``.txt`` and ``.pq`` are read too."""

_CSV_NAME = re.compile(r"\.(csv|tsv|txt)(\.gz)?$", re.IGNORECASE)
_PARQUET_NAME = re.compile(r"\.(parquet|pq)$", re.IGNORECASE)
_UNNAMED = "Unnamed: "
_MOST_COLUMNS = 100_000
_LONGEST_NAME = 1_000
_LONGEST_FIELD = 100_000


class TableFile(NamedTuple):
    """A file's table, and what was done to it in reading."""

    frame: pd.DataFrame
    notes: tuple[str, ...]


def has_table_suffix(name: str) -> bool:
    """Whether a name is that of a file this module reads.

    Examples
    --------
    >>> has_table_suffix("sales.csv.gz"), has_table_suffix("digits")
    (True, False)
    """
    return bool(_CSV_NAME.search(name)) or is_parquet(name)


def is_parquet(name: str) -> bool:
    """Whether a name is that of a Parquet file.

    Examples
    --------
    >>> is_parquet("sales.parquet"), is_parquet("sales.csv")
    (True, False)
    """
    return bool(_PARQUET_NAME.search(name))


def read_frame(path: str | Path) -> pd.DataFrame:
    """Read a table from a CSV, CSV.gz or Parquet file.

    The delimiter (comma, semicolon, tab, bar) and a decimal comma are recognised; empty fields and words such
    as ``?`` and ``NA`` are missing values; a column of row numbers without a name is left out.

    Parameters
    ----------
    path : str or Path
        File to read.

    Returns
    -------
    DataFrame
        Rows numbered from 0.

    Raises
    ------
    DataError
        Where the file is missing, empty, damaged, not in UTF-8, repeats a column name, unpacks to more than
        `files.most_bytes`, or has more than 100,000 columns, a name of more than 1,000 characters or a field of more
        than 100,000.
    """
    return read_file(path).frame


def read_file(path: str | Path) -> TableFile:
    """Read a table as `read_frame` does, and tell what was done to it."""
    path = Path(path)
    check_file(path)
    try:
        frame = read_parquet(path) if is_parquet(path.name) else _read_csv(path)
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise DataError(f"file '{path}': byte 0x{byte:02x} is not UTF-8 text; allowed encoding: UTF-8") from error
    except (EOFError, zlib.error) as error:
        raise DataError(f"file '{path}': the compressed data is damaged or cut off ({error})") from error
    except OSError as error:
        raise DataError(f"file '{path}': cannot be read ({error.strerror or error})") from error
    if frame.empty:
        raise DataError(f"file '{path}': holds no rows; allowed: a header line and at least one row")
    _check_distinct(path, map(str, frame.columns))
    _check_names(path, frame.columns, frame.shape[1])
    _check_fields(path, frame)
    return without_row_numbers(frame)


def _check_distinct(path: Path, names: Iterable[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(f"file '{path}': column {repeated[0]!r} occurs more than once; allowed: every name once")


def _check_names(path: Path, names: Iterable[object], n_columns: int) -> None:
    if n_columns > _MOST_COLUMNS:
        raise DataError(f"file '{path}': {n_columns:,} columns are not allowed; allowed: {_MOST_COLUMNS:,} at most")
    longest = max(len(str(name)) for name in names)
    if longest > _LONGEST_NAME:
        raise DataError(f"file '{path}': a name of a column has {longest:,} characters; allowed: {_LONGEST_NAME:,}")


def _check_fields(path: Path, frame: pd.DataFrame) -> None:
    for name in _columns_of_objects(frame):
        longest = _longest(frame[name])
        if longest > _LONGEST_FIELD:
            raise DataError(
                f"file '{path}': a field of column {name!r} has {longest:,} characters; "
                f"allowed: {_LONGEST_FIELD:,} at most"
            )


def _columns_of_objects(frame: pd.DataFrame) -> list[Any]:
    """Names of the columns that may hold text: a wide table has very many others."""
    return [name for name, kind in frame.dtypes.items() if kind.kind == "O"]


def _longest(column: pd.Series[Any]) -> int:
    """Characters of the longest field of text."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.cat.categories.to_series()
    if pd.api.types.is_object_dtype(column):
        return max((len(cell) for cell in column if isinstance(cell, (str, bytes))), default=0)
    return int(column.str.len().fillna(0).max()) if pd.api.types.is_string_dtype(column) else 0


def check_file(path: Path) -> None:
    """Raise an error unless a path is that of a file which may hold a table."""
    if path.is_dir():
        raise DataError(f"file '{path}': is a folder; allowed: a CSV, CSV.gz or Parquet file")
    if not path.is_file():
        if path.exists():
            raise DataError(f"file '{path}': is no regular file; allowed: a CSV, CSV.gz or Parquet file")
        folder = path.parent
        beside = (
            sorted(each.name for each in folder.iterdir() if has_table_suffix(each.name)) if folder.is_dir() else []
        )
        near = f"; near it: {suggest(path.name, beside)}" if beside else ""
        raise DataError(f"file '{path}': does not exist; allowed: a CSV, CSV.gz or Parquet file{near}")
    if not has_table_suffix(path.name):
        raise DataError(f"file '{path}': its type is not known; allowed: names that end in {', '.join(SUFFIXES)}")
    if path.stat().st_size == 0:
        raise DataError(f"file '{path}': is empty; allowed: a header line and rows")


def _read_csv(path: Path) -> pd.DataFrame:
    dialect = sniff(path)
    if dialect.compression:
        check_gzip(path)
    _check_names(path, dialect.header, dialect.width)
    _check_distinct(path, filter(None, dialect.header))
    try:
        frame = _parse_csv(path, dialect)
    except pd.errors.EmptyDataError as error:
        raise DataError(f"file '{path}': is empty; allowed: a header line and rows") from error
    except pd.errors.ParserWarning as error:
        raise DataError(
            f"file '{path}': rows have more fields than the header; allowed: a name for every column"
        ) from error
    except pd.errors.ParserError as error:
        reason = str(error).removeprefix("Error tokenizing data. C error: ")
        raise DataError(f"file '{path}': is not a regular CSV table ({reason})") from error
    return _without_none_among_numbers(frame.rename(columns=lambda name: str(name).strip()))


def _parse_csv(path: Path, dialect: Dialect) -> pd.DataFrame:
    with warnings.catch_warnings():
        # Surplus fields would be dropped with no more than a warning.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            path,
            sep=dialect.delimiter,
            decimal=dialect.decimal,
            compression=dialect.compression,
            encoding="utf-8",
            index_col=False,
            na_values=sorted(MISSING_WORDS),
            keep_default_na=False,
            skipinitialspace=True,
            low_memory=False,
        )


def _without_none_among_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Take the word None for a missing value, but only where all else in the column is a number."""
    for name in _columns_of_objects(frame):
        column = frame[name]
        if is_text(column) and column.eq("None").any():
            numbers = pd.to_numeric(column.where(column.ne("None")), errors="coerce")
            if numbers.notna().any() and numbers.isna().sum() == (column.isna() | column.eq("None")).sum():
                frame[name] = numbers
    return frame


def without_row_numbers(frame: pd.DataFrame) -> TableFile:
    """Leave out columns without a name that number the rows or are empty."""
    notes = []
    for name in [name for name in frame.columns if str(name).startswith(_UNNAMED) or name == ""]:
        column: pd.Series[Any] = frame[name]
        if column.isna().all():
            reason = "empty"
        elif pd.api.types.is_integer_dtype(column) and np.array_equal(
            np.diff(column.to_numpy()), np.ones(len(frame) - 1)
        ):
            reason = "row numbers"
        else:
            continue
        frame = frame.drop(columns=name)
        notes.append(f"a column without a name was left out: {reason}")
    return TableFile(frame, tuple(notes))
