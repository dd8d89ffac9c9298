"""How a command ends: its exit status, and the one line that says why it failed."""

from __future__ import annotations

import errno
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import click

from distilled_experts.errors import DistilledExpertsError, TrainingError, WriteError

__all__ = ["ended"]

_FAILED, _BAD_USAGE = 1, 2


def ended(command: Callable[[], int | None], *, traced: bool) -> tuple[int, str | None]:
    """Run a command to its end.

    Parameters
    ----------
    command : callable
        Returns an exit status, or None for 0.
    traced : bool
        Whether to show the traceback of an error.

    Returns
    -------
    status : int
        0 done, 1 failed, 2 bad usage or bad input.
    line : str or None
        What is to be said of it.
    """
    try:
        with _warnings_on_one_line():
            status = command()
            sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        return _FAILED, "interrupted; the same command with --continue takes it up"
    except Exception as error:  # noqa: BLE001  (the last resort: one line, and the way to the details)
        if traced and not isinstance(error, click.ClickException):
            traceback.print_exc()
        status, line = _failure(error)
        # As an error: these have one line, whatever is in it.
        return status, None if line is None else str(DistilledExpertsError(line))
    return status or 0, None


def _failure(error: Exception) -> tuple[int, str | None]:
    match error:
        case click.exceptions.NoArgsIsHelpError():
            click.echo(error.format_message())
            return _BAD_USAGE, None
        case click.ClickException():
            return _BAD_USAGE, error.format_message()
        case TrainingError() | WriteError():
            return _FAILED, str(error)
        case DistilledExpertsError():
            return _BAD_USAGE, str(error)
        case MemoryError():
            return _FAILED, f"out of memory {error}"
        case OSError(errno=errno.ENAMETOOLONG):
            return _BAD_USAGE, f"{error.filename!r} is too long for the name of a file"
        case OSError():
            _let_go_of_output()
    words = f"{type(error).__name__}: {error} (--debug shows where)"
    return _FAILED, None if isinstance(error, BrokenPipeError) else words


def _let_go_of_output() -> None:
    """Drop what could not be written: at the end Python would try it again, and complain of it in many lines."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _warnings_on_one_line() -> Iterator[None]:
    def show(message: Warning | str, *where: object, **options: object) -> None:
        click.echo(f"mode: {DistilledExpertsError(message)}", err=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
