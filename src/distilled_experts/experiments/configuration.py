"""Values that come as text: configuration files and lists of numbers."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from distilled_experts.errors import DataError, InvalidParameterError
from distilled_experts.files import read_small_text

__all__ = ["parse_counts", "read_configuration"]

_LARGEST = 1e300


def read_configuration(path: str, names: Sequence[str]) -> dict[str, Any]:
    """Options from a YAML file, under the names of the command's parameters.

    Raises
    ------
    DataError
        When the file is missing, not YAML, or no mapping.
    InvalidParameterError
        When an option is unknown.
    """
    try:
        values = yaml.safe_load(read_small_text(Path(path)))
    except FileNotFoundError as error:
        raise DataError(f"config: no file {path!r}") from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise DataError(f"config: {path!r} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise DataError(f"config: {path!r} holds no mapping of options to values")
    return {_known(str(key), names): _as_text(str(key), value) for key, value in values.items()}


def parse_counts(name: str, text: str) -> list[int]:
    """Ascending whole numbers from 1 out of a comma-separated list.

    Examples
    --------
    >>> parse_counts("experts", "4,2")
    [2, 4]
    """
    try:
        counts = sorted({int(part) for part in str(text).split(",")})
    except ValueError:
        counts = [0]
    if counts[0] < 1:
        raise InvalidParameterError(name, text, "a list of whole numbers from 1, such as 2,4,8")
    return counts


def _known(key: str, names: Sequence[str]) -> str:
    spelled = {"continue": "resume", "json": "as_json"}.get(key, key.replace("-", "_"))
    if spelled in names:
        return spelled
    near = difflib.get_close_matches(spelled, names, n=3)
    raise InvalidParameterError(
        "config", key, f"options of this command{', perhaps ' + ', '.join(near) if near else ''}"
    )


def _as_text(key: str, value: Any) -> Any:
    """A value as the command line writes it.

    References within a file can make a very large value of little text: lists in lists are never written out.
    """
    if value is None or isinstance(value, bool):
        return value
    items = value if isinstance(value, list) else [value]
    if not all(_is_text(item) or _is_number(item) for item in items):
        raise InvalidParameterError("config", key, "with a number, text, yes or no, or a list of numbers and text")
    return ",".join(str(item) for item in items)


def _is_text(value: object) -> bool:
    # No name of a file and no word of a command line can hold a zero byte.
    return isinstance(value, str) and "\0" not in value


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and abs(value) <= _LARGEST
