"""Saved models: JSON for what describes, safetensors for numbers, a checksum for both; no code is ever loaded.

model.json           format, class, parameters, states, and the weights' checksum
weights.safetensors
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from distilled_experts.errors import ModelFolderError

__all__ = ["read_model", "write_model"]

FORMAT = 1
_DESCRIPTION, _WEIGHTS = "model.json", "weights.safetensors"

Arrays = dict[str, NDArray[Any]]


def write_model(
    path: str | os.PathLike[str], description: Mapping[str, Any], arrays: Arrays, *, overwrite: bool = False
) -> Path:
    """Write a model folder, whole or not at all.

    Raises
    ------
    ModelFolderError
        When the folder holds something: a model that `overwrite` does not allow to replace, or anything else.
    """
    folder = Path(path)
    _check_place(folder, overwrite)
    weights = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    body = {"format": FORMAT, **description, "weights_sha256": hashlib.sha256(weights).hexdigest()}
    text = json.dumps(body | {"sha256": _checksum(body)}, indent=1, allow_nan=False)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            (temporary / _WEIGHTS).write_bytes(weights)
            (temporary / _DESCRIPTION).write_text(text + "\n", encoding="utf-8")
            temporary.chmod(0o755)
            if folder.exists():
                shutil.rmtree(folder)
            temporary.replace(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise ModelFolderError(f"cannot write the model to {str(folder)!r}: {error.strerror or error}") from error
    return folder


def read_model(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Arrays]:
    """Read a model folder and check that it is whole.

    Raises
    ------
    ModelFolderError
        When it is missing, damaged, of another format, or no model folder.
    """
    folder = Path(path)
    try:
        description = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
        weights = (folder / _WEIGHTS).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelFolderError(
            f"model: {str(folder)!r} is no model folder ({Path(error.filename).name} is missing)"
        ) from error
    except (OSError, ValueError) as error:
        raise ModelFolderError(f"model: {str(folder)!r} cannot be read: {error}") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise ModelFolderError(f"model: {str(folder)!r} has another format; this version reads format {FORMAT}")
    if description.pop("sha256", None) != _checksum(description):
        raise ModelFolderError(f"model: {_DESCRIPTION} in {str(folder)!r} is damaged: its checksum differs")
    if description["weights_sha256"] != hashlib.sha256(weights).hexdigest():
        raise ModelFolderError(f"model: {_WEIGHTS} in {str(folder)!r} is damaged: its checksum differs")
    try:
        return description, load(weights)
    except SafetensorError as error:
        raise ModelFolderError(f"model: {_WEIGHTS} in {str(folder)!r} cannot be read: {error}") from error


def _check_place(folder: Path, overwrite: bool) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ModelFolderError(f"out: {str(folder)!r} is a file; allowed: a new folder")
    names = {entry.name for entry in folder.iterdir()}
    if names - {_DESCRIPTION, _WEIGHTS}:
        raise ModelFolderError(f"out: {str(folder)!r} holds something else than a model; name a new folder")
    if names and not overwrite:
        raise ModelFolderError(f"out: {str(folder)!r} holds a model already; name a new folder, or allow to replace it")


def _checksum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
