"""The exceptions that the package raises on purpose.

Every class derives from `DistilledExpertsError`, so one ``except`` catches them all, and from the standard
exception that fits, so code that knows nothing of this package catches them too. A message is always one
line: the command prints it as it is.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable

__all__ = [
    "ClusterError",
    "DataError",
    "DistilledExpertsError",
    "InvalidParameterError",
    "MissingDependencyError",
    "ModelFolderError",
    "RunFolderError",
    "TrainingError",
    "UnknownDataError",
    "WriteError",
]

_SHOWN_CHARACTERS = 80
_LONGEST_MESSAGE = 1000


def _one_line(text: str) -> str:
    """One line for a terminal: cut where it is very long, and what a terminal would obey is spelled out."""
    shown = text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]} …"
    line = " ".join(line.strip() for line in shown.splitlines() if line.strip())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def _shown(value: object) -> str:
    """Represent a value on one line, cut in the middle where it is long."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = _SHOWN_CHARACTERS
    return _one_line(short.repr(value))


class DistilledExpertsError(Exception):
    """Base of all exceptions of this package.

    Parameters
    ----------
    message : str
        What went wrong and what can be done; line breaks become spaces.

    Examples
    --------
    >>> print(DistilledExpertsError("first line\\n  second line"))
    first line second line
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(_one_line(str(message)))


class InvalidParameterError(DistilledExpertsError, ValueError):
    """A parameter has a value that is not allowed.

    Parameters
    ----------
    parameter : str
        Name of the parameter, as the caller wrote it.
    value : object
        The value that was given.
    allowed : str or iterable of object
        What is allowed: in words, or the choices themselves.

    Examples
    --------
    >>> print(InvalidParameterError("alpha", -1, "numbers ≥ 0"))
    alpha: -1 is not allowed; allowed: numbers ≥ 0
    >>> print(InvalidParameterError("gate", "soft", ["dense", "sparse"]))
    gate: 'soft' is not allowed; allowed: dense, sparse
    """

    def __init__(self, parameter: str, value: object, allowed: str | Iterable[object]) -> None:
        self.parameter = parameter
        self.value = value
        self.allowed = allowed if isinstance(allowed, str) else ", ".join(str(choice) for choice in allowed)
        super().__init__(f"{parameter}: {_shown(value)} is not allowed; allowed: {self.allowed}")

    def __reduce__(self) -> tuple[type[InvalidParameterError], tuple[str, object, str]]:
        # The default rebuilds from the message alone, and so fails on the way back from a worker process.
        return type(self), (self.parameter, self.value, self.allowed)


class DataError(DistilledExpertsError, ValueError):
    """A table, column or target cannot be used as it is.

    Examples
    --------
    >>> raise DataError("column 'age': 3 values are infinite")
    Traceback (most recent call last):
    distilled_experts.errors.DataError: column 'age': 3 values are infinite
    """


class UnknownDataError(DataError, LookupError):
    """No file and no known data set has the name that was asked for."""


class RunFolderError(DistilledExpertsError, RuntimeError):
    """A run folder holds another run, is in use, or cannot be read or continued."""


class ModelFolderError(DistilledExpertsError, ValueError):
    """A folder is not a saved model, or not one that this version can read."""


class WriteError(DistilledExpertsError, OSError):
    """A file cannot be written: the disk is full, say, or the folder read-only. What was there before is unharmed."""


class TrainingError(DistilledExpertsError, RuntimeError):
    """Training failed on valid input, for example because the loss stopped being finite."""


class ClusterError(DistilledExpertsError, ConnectionError):
    """A cluster cannot be reached, or cannot compute what it was given."""


class MissingDependencyError(DistilledExpertsError, ImportError):
    """An optional package is needed and not installed; the message names the extra to install."""
