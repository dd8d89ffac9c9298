"""Saved models: JSON for what describes, safetensors for numbers, a checksum for both; no code is ever loaded.

model.json           format, class, parameters, states, and the weights' checksum
weights.safetensors
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from distilled_experts.errors import ModelFolderError, WriteError
from distilled_experts.files import clear_parts, is_part, read_small_text, replacing

__all__ = ["check_place", "read_model", "write_model"]

FORMAT = 2
_DESCRIPTION, _WEIGHTS = "model.json", "weights.safetensors"
# Those of a model that takes the place of another, until the other's are gone.
_NEXT_WEIGHTS = "weights.next.safetensors"
_FILES = (_DESCRIPTION, _WEIGHTS, _NEXT_WEIGHTS)

Arrays = dict[str, NDArray[Any]]


def write_model(
    path: str | os.PathLike[str], description: Mapping[str, Any], arrays: Arrays, *, overwrite: bool = False
) -> Path:
    """Write a model folder, whole or not at all.

    Raises
    ------
    ModelFolderError
        When the folder holds something: a model that `overwrite` does not allow to replace, or anything else.
    WriteError
        When it cannot be written, on a full disk for example; what was there before stays.
    """
    folder = Path(path)
    check_place(folder, overwrite=overwrite)
    weights = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    body = {"format": FORMAT, **description, "weights_sha256": hashlib.sha256(weights).hexdigest()}
    text = json.dumps(body | {"sha256": _checksum(body)}, indent=1, allow_nan=False)
    with _made(folder), replacing(folder / _DESCRIPTION) as new_description:
        clear_parts(folder, _FILES)
        new_description.write_text(text + "\n", encoding="utf-8")
        with replacing(folder / _NEXT_WEIGHTS) as new_weights:
            new_weights.write_bytes(weights)
    # The folder holds the new model already: its weights are told from the old ones by their checksum.
    (folder / _NEXT_WEIGHTS).replace(folder / _WEIGHTS)
    return folder


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """A folder that is there, or is made and on failure removed again."""
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if made:
            with suppress(OSError):
                folder.rmdir()
        raise WriteError(f"out: {error.strerror or error} ({str(folder)!r})") from error


def read_model(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Arrays]:
    """Read a model folder and check that it is whole.

    Raises
    ------
    ModelFolderError
        When it is missing, damaged, of another format, or no model folder.
    """
    folder = Path(path)
    try:
        description = json.loads(read_small_text(folder / _DESCRIPTION))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelFolderError(f"model: {str(folder)!r} is no model folder ({_DESCRIPTION} is missing)") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFolderError(f"model: {str(folder)!r} cannot be read: {error}") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise ModelFolderError(f"model: {str(folder)!r} has another format; this version reads format {FORMAT}")
    if description.pop("sha256", None) != _checksum(description):
        raise ModelFolderError(f"model: {_DESCRIPTION} in {str(folder)!r} is damaged: its checksum differs")
    try:
        return description, load(_weights(folder, description.get("weights_sha256")))
    except (SafetensorError, OSError, ValueError, TypeError, LookupError) as error:
        raise ModelFolderError(f"model: {_WEIGHTS} in {str(folder)!r} cannot be read: {error}") from error


def _weights(folder: Path, checksum: object) -> bytes:
    """The weights that a description belongs to."""
    for path in (folder / _WEIGHTS, folder / _NEXT_WEIGHTS):
        if path.is_file():
            weights = path.read_bytes()
            if hashlib.sha256(weights).hexdigest() == checksum:
                return weights
    raise ValueError("it is damaged, its checksum differs" if (folder / _WEIGHTS).is_file() else "it is missing")


def check_place(folder: Path, *, overwrite: bool) -> None:
    """Raise an error unless a model may be written there.

    Raises
    ------
    ModelFolderError
        When it is a file, or holds a model that `overwrite` does not allow to replace, or anything else.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ModelFolderError(f"out: {str(folder)!r} is a file; allowed: a new folder")
    names = {entry.name for entry in folder.iterdir() if not is_part(entry, _FILES)}
    if names - set(_FILES):
        raise ModelFolderError(f"out: {str(folder)!r} holds something else than a model; name a new folder")
    if names and not overwrite:
        raise ModelFolderError(f"out: {str(folder)!r} holds a model already; name a new folder, or --force")


def _checksum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
