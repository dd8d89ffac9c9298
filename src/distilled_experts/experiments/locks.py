"""A folder for one process at a time; the death of that process frees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from distilled_experts.errors import RunFolderError, WriteError

__all__ = ["LOCK", "locked"]

LOCK = ".lock"
"""Name of the file that is locked."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made where it is not there.

    Raises
    ------
    RunFolderError
        When another process holds it, or it is a file.
    WriteError
        When nothing can be written there.
    """
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise RunFolderError(
            f"out: another process is at work in {str(folder)!r}; wait for its end, or name another folder"
        ) from error
    except (FileExistsError, NotADirectoryError) as error:
        raise RunFolderError(f"out: {str(folder)!r} is, or is below, a file; allowed: a new or empty folder") from error
    except OSError as error:
        raise WriteError(f"out: cannot write to {str(folder)!r}: {error.strerror or error}") from error
    try:
        yield
    finally:
        # While it is held: a file that someone else has locked by then would go. Windows keeps files that are open.
        with suppress(OSError):
            (folder / LOCK).unlink()
        lock.release()
