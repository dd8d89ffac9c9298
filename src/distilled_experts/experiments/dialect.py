"""How a CSV file is written: its delimiter, decimal sign and header, told from its first lines."""

from __future__ import annotations

import csv
import gzip
import io
import re
from pathlib import Path
from typing import IO, Literal, NamedTuple

from distilled_experts.errors import DataError

__all__ = ["Dialect", "sniff"]

_GZIP_MAGIC = b"\x1f\x8b"
_FOREIGN_MAGIC = {
    b"PK\x03\x04": "a zip archive or Excel file",
    b"PAR1": "Parquet",
    b"\xd0\xcf\x11\xe0": "Excel",
}
_DELIMITERS = (",", ";", "\t", "|")
_SNIFFED_LINES = 50
_SNIFFED_CHARACTERS = 4_000_000
_COMMA_NUMBER = re.compile(r"\s*-?\d+,\d+\s*")
_POINT_NUMBER = re.compile(r"\s*-?\d+\.\d+\s*")


class Dialect(NamedTuple):
    """What pandas must be told to read a CSV file.

    Attributes
    ----------
    delimiter, decimal : str
        Between fields, and in numbers.
    header : list of str
        Column names, stripped; empty where the file leaves one empty.
    width : int
        Fields of the widest of the first lines.
    compression : {"gzip"} or None
        As the content tells, whatever the name says.
    """

    delimiter: str
    decimal: str
    header: list[str]
    width: int
    compression: Literal["gzip"] | None


def sniff(path: Path) -> Dialect:
    """Look at the first lines of a CSV file.

    Raises
    ------
    DataError
        Where the file is empty, not a text file or not in UTF-8, or has too long a first line.
    """
    with path.open("rb") as stream:
        start = stream.read(4)
    if start[:4] in _FOREIGN_MAGIC:
        raise DataError(f"file '{path}': the content is {_FOREIGN_MAGIC[start[:4]]}; allowed under this name: CSV")
    compression: Literal["gzip"] | None = "gzip" if start[:2] == _GZIP_MAGIC else None
    with _open_text(path, compression) as text:
        lines = _first_lines(path, text)
    if any("\0" in line for line in lines):
        raise DataError(f"file '{path}': holds zero bytes, so it is binary or UTF-16; allowed: UTF-8 text")
    if not any(line.strip() for line in lines):
        raise DataError(f"file '{path}': is empty; allowed: a header line and rows")
    delimiter = _delimiter(lines)
    records = _records(lines, delimiter)
    header, width = [name.strip() for name in records[0]], max(map(len, records))
    return Dialect(delimiter, _decimal(records, delimiter), header, width, compression)


def _open_text(path: Path, compression: str | None) -> io.TextIOWrapper:
    binary: gzip.GzipFile | IO[bytes] = gzip.GzipFile(path) if compression else path.open("rb")
    return io.TextIOWrapper(binary, encoding="utf-8-sig", newline="")


def _first_lines(path: Path, text: io.TextIOWrapper) -> list[str]:
    """Some lines, the first one whole; a file may have very long ones."""
    lines: list[str] = []
    left = _SNIFFED_CHARACTERS
    while len(lines) < _SNIFFED_LINES and left > 0 and (line := text.readline(left)):
        lines.append(line)
        left -= len(line)
    if left <= 0 and len(lines) == 1:
        raise DataError(f"file '{path}': its first line is too long; allowed: {_SNIFFED_CHARACTERS:,} characters")
    # The last one may have been cut.
    return lines if left > 0 else lines[:-1]


def _records(lines: list[str], delimiter: str) -> list[list[str]]:
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    try:
        records = [record for record in reader if record]
    except csv.Error:
        return [[""]]
    # A quoted field may be cut off by the end of the sample.
    return records[:-1] if len(lines) == _SNIFFED_LINES and len(records) > 1 else records


def _delimiter(lines: list[str]) -> str:
    """Return the delimiter that splits most records as the header, and into most fields."""

    def quality(delimiter: str) -> tuple[float, int]:
        widths = [len(record) for record in _records(lines, delimiter)]
        if widths[0] < 2:
            return 0.0, 0
        return sum(width == widths[0] for width in widths) / len(widths), widths[0]

    return max(_DELIMITERS, key=quality)


def _decimal(records: list[list[str]], delimiter: str) -> str:
    fields = [field for record in records[1:] for field in record]
    if delimiter == "," or any(_POINT_NUMBER.fullmatch(field) for field in fields):
        return "."
    return "," if any(_COMMA_NUMBER.fullmatch(field) for field in fields) else "."
