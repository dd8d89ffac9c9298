"""Tables from Parquet files, whose sizes are checked before any memory is taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from distilled_experts.errors import DataError
from distilled_experts.files import check_unpacked

__all__ = ["check_size", "read_parquet", "readable"]

_UNREADABLE = (
    *(pa.ArrowException, OSError, ValueError, TypeError, LookupError, ArithmeticError),
    *(NotImplementedError, RecursionError),
)
_NUMBER_BYTES = 8
_BATCH_ROWS = 65_536


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Say in one line what goes wrong while a Parquet file is read.

    Raises
    ------
    DataError
        Where it is damaged.
    """
    try:
        yield
    except DataError:
        raise
    except _UNREADABLE as error:
        raise DataError(f"file '{path}': is not a readable Parquet file ({error})") from error


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a Parquet file; an index with names becomes columns.

    Raises
    ------
    DataError
        Where it is damaged, or unpacks to too much.
    """
    with readable(path):
        check_size(path)
        # Without this a folder called "year=2024" on the way would become a column.
        frame = pd.read_parquet(path, partitioning=None)
        named = [name is not None for name in frame.index.names]
        return frame.reset_index() if all(named) else frame.reset_index(drop=True)


def check_size(path: Path) -> None:
    """Refuse a file that would take too much memory: numbers by their count, text by its length."""
    with pq.ParquetFile(path) as file:
        about = file.metadata
        names = [column.name for column in file.schema_arrow if _is_text(column.type)]
        packed = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
    n_bytes = max(packed, about.num_rows * about.num_columns * _NUMBER_BYTES)
    check_unpacked(path, n_bytes)
    for length in _text_lengths(path, names):
        n_bytes += length
        check_unpacked(path, n_bytes)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return any(
        is_kind(kind)
        for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    )


def _text_lengths(path: Path, names: list[str]) -> Iterator[int]:
    """Bytes of the cells of text, batch by batch; a text that is there often is held once."""
    if not names:
        return
    with pq.ParquetFile(path, read_dictionary=names) as file:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=names):
            # Text that is not UTF-8 would fail much later, wherever it is first looked at.
            batch.validate(full=True)
            yield from map(_length, batch.columns)


def _length(column: pa.Array) -> int:
    if isinstance(column, pa.DictionaryArray):
        lengths = pc.binary_length(column.dictionary).take(column.indices)
    else:
        lengths = pc.binary_length(column)
    # 64 bits, for a batch may well be longer than 4 GiB.
    return int(pc.sum(lengths.cast(pa.int64())).as_py() or 0)
