"""Files, written whole or not at all, and read within limits.

A file from strangers can be a few kilobytes and unpack to terabytes. What is too large is refused before it takes any
memory: every reader of compressed files asks here.
"""

from __future__ import annotations

import gzip
import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from distilled_experts.errors import DataError, WriteError

__all__ = [
    "check_gzip",
    "check_unpacked",
    "clear_parts",
    "is_part",
    "most_bytes",
    "read_small_text",
    "replacing",
]

_ALWAYS_ALLOWED = 2**30
_MOST_TIMES = 100
# A byte of deflate gives so many at most.
_DEFLATE_GAIN = 1032
_PIECE = 2**20
_SMALL = 2**26
_PART = ".part"


@contextmanager
def replacing(path: Path, advice: str = "") -> Iterator[Path]:
    """Give a temporary path, which takes the place of `path` when it has been written whole.

    Parameters
    ----------
    path : Path
        In a folder that exists.
    advice : str
        What to do on failure, for the end of the message.

    Raises
    ------
    WriteError
        When it cannot be written; what was there before stays, and nothing else is left.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_PART}")
    try:
        yield temporary
        temporary.replace(path)
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(f"cannot write {str(path)!r}: {error.strerror or error}{advice}") from error
    finally:
        temporary.unlink(missing_ok=True)


def clear_parts(folder: Path, names: Collection[str]) -> None:
    """Remove what processes that died have left of these files."""
    for path in folder.iterdir():
        if is_part(path, names):
            path.unlink(missing_ok=True)


def is_part(path: Path, names: Collection[str]) -> bool:
    """Whether a file is what a process that died has left of one of these.

    Examples
    --------
    >>> is_part(Path("run/.DONE.123.part"), ["DONE"]), is_part(Path("run/.DONE.part"), ["DONE"])
    (True, False)
    """
    name, _, number = path.name.removesuffix(_PART).rpartition(".")
    return path.suffix == _PART and number.isdigit() and name.removeprefix(".") in names


def most_bytes(path: Path) -> int:
    """Bytes that a file may unpack to: 1 GiB, or 100 times its size where that is more."""
    return max(_ALWAYS_ALLOWED, _MOST_TIMES * path.stat().st_size)


def check_unpacked(path: Path, n_bytes: int) -> None:
    """Refuse a file that unpacks to so many bytes, if they are too many.

    Raises
    ------
    DataError
        With the limit.
    """
    most = most_bytes(path)
    if n_bytes > most:
        raise DataError(
            f"file '{path}': unpacks to more than {most / 2**30:.1f} GiB; allowed: 1 GiB, or "
            f"{_MOST_TIMES} times the size of the file"
        )


def check_gzip(path: Path) -> None:
    """Refuse a file compressed by gzip that unpacks to too much; what it says of its own length counts for nothing.

    Raises
    ------
    DataError
        With the limit.
    EOFError, zlib.error, OSError
        When it is damaged.
    """
    if path.stat().st_size * _DEFLATE_GAIN <= most_bytes(path):
        return
    n_bytes = 0
    with gzip.open(path) as stream:
        while piece := stream.read(_PIECE):
            n_bytes += len(piece)
            check_unpacked(path, n_bytes)


def read_small_text(path: Path) -> str:
    """Text in UTF-8 of a file that describes something, and so is small: 64 MiB at most.

    Raises
    ------
    ValueError
        When it is larger, no regular file, or other than UTF-8.
    OSError
        When it is not there or cannot be read.
    """
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise ValueError(f"{path.name} is no regular file")
    if about.st_size > _SMALL:
        raise ValueError(f"{path.name} has more than {_SMALL // 2**20} MiB")
    return path.read_text(encoding="utf-8")
