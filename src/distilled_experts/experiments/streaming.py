"""Parquet files that are larger than memory: read column by column to learn from them, batch by batch to predict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from distilled_experts.errors import DataError
from distilled_experts.experiments.data import check_features, target_name
from distilled_experts.experiments.parquet import check_size, readable
from distilled_experts.experiments.reading import check_file, without_row_numbers
from distilled_experts.experiments.sources import Source
from distilled_experts.experiments.task import check_target, infer_task, missing_rows
from distilled_experts.tabular.streamed import StreamedTable

__all__ = ["ParquetTable", "TrainingRows", "open_parquet"]

_BATCH_ROWS = 65_536
_BUFFER_BYTES = 2**20


class ParquetTable(StreamedTable):
    """The rows of a Parquet file, for estimators; never more than a column, or 65,536 rows, are in memory.

    Parameters
    ----------
    path : str or Path
    columns : sequence of str, optional
        Those that count. Default: all, but for row numbers without a name.
    rows : array of bool, shape (rows of the file,), optional
        Those that count. Default: all.

    Raises
    ------
    DataError
        Where the file is missing, empty or damaged.

    Examples
    --------
    >>> pd.DataFrame({"a": range(5), "b": list("xyxyx"), "target": [0.5] * 5}).to_parquet("small.parquet")
    >>> table = ParquetTable("small.parquet", columns=["a", "b"])
    >>> table.shape, table.column("b").tolist()
    ((5, 2), ['x', 'y', 'x', 'y', 'x'])
    >>> [len(batch) for batch in table.batches()]
    [5]
    """

    def __init__(
        self, path: str | Path, columns: Sequence[str] | None = None, rows: NDArray[np.bool_] | None = None
    ) -> None:
        self.path = Path(path)
        check_file(self.path)
        with readable(self.path):
            check_size(self.path)
        with self._open() as file:
            self._n_rows = int(file.metadata.num_rows) if rows is None else int(rows.sum())
            names = _names(file.schema_arrow)
        if not self._n_rows:
            raise DataError(f"file '{path}': holds no rows; allowed: at least one row")
        self._rows = rows
        self.columns = list(columns) if columns is not None else self._without_row_numbers(names)

    def __len__(self) -> int:
        """The number of rows that count."""
        return self._n_rows

    def column(self, name: str) -> pd.Series[Any]:
        """One column whole, rows numbered from 0."""
        with self._open() as file:
            column: pd.Series[Any] = file.read(columns=[name]).to_pandas(ignore_metadata=True)[name]
        return column if self._rows is None else column[self._rows].reset_index(drop=True)

    def batches(self) -> Iterator[pd.DataFrame]:
        """All rows that count in their order, some at a time."""
        start = 0
        with self._open() as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=self.columns):
                frame = pa.Table.from_batches([batch]).to_pandas(ignore_metadata=True)[self.columns]
                stop = start + len(frame)
                yield frame if self._rows is None else frame[self._rows[start:stop]].reset_index(drop=True)
                start = stop

    @contextmanager
    def _open(self) -> Iterator[pq.ParquetFile]:
        # By default all that will be read is fetched ahead, and kept.
        with readable(self.path), pq.ParquetFile(self.path, pre_buffer=False, buffer_size=_BUFFER_BYTES) as file:
            yield file

    def _without_row_numbers(self, names: list[str]) -> list[str]:
        unnamed = [name for name in names if name == "" or name.startswith("Unnamed: ")]
        kept = without_row_numbers(pd.DataFrame({name: self.column(name) for name in unnamed})).frame.columns
        return [name for name in names if name not in unnamed or name in kept]


class TrainingRows(NamedTuple):
    """What an estimator is fitted to.

    Attributes
    ----------
    X : StreamedTable
    y : Series
        Target, as in `experiments.data.Table`.
    task : {"classification", "regression"}
    """

    X: StreamedTable
    y: pd.Series[Any]
    task: str


def open_parquet(path: str | Path, *, target: str | None = None, task: str | None = None) -> TrainingRows:
    """Rows of a Parquet file to train on; those without a target are left out.

    Parameters
    ----------
    path : str or Path
    target : str, optional
        Default: ``"target"``.
    task : {"classification", "regression"}, optional
        Default: told from the target.

    Raises
    ------
    DataError
        Where the file, a column or the target cannot be used.

    Examples
    --------
    >>> pd.DataFrame({"a": range(4), "b": list("xyxy"), "target": [0.5, 1.5, None, 2.5]}).to_parquet("small.parquet")
    >>> rows = open_parquet("small.parquet")
    >>> rows.X.shape, rows.y.tolist(), rows.task
    ((3, 2), [0.5, 1.5, 2.5], 'regression')
    """
    table = ParquetTable(path)
    name = target_name(Source(table.path.stem, pd.DataFrame(columns=table.columns), None, ()), target)
    y = table.column(name)
    missing = missing_rows(y).to_numpy()
    if missing.all():
        raise DataError(f"target: column '{name}' has no values; allowed: a column with a value in some rows")
    y = y[~missing].reset_index(drop=True)
    task = infer_task(y, task)
    features = [column for column in table.columns if column != name]
    X = ParquetTable(path, features, ~missing if missing.any() else None)
    check_features(X.columns, X.column)
    return TrainingRows(X, check_target(y, task), task)


def _names(schema: pa.Schema) -> list[str]:
    """Columns as `read_frame` finds them: an index with names comes first, one without is left out."""
    frame = schema.empty_table().to_pandas()
    if all(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    return [str(name) for name in frame.columns]
