"""Folders with models of Transformers, looked at before anything is loaded from them: they may come from strangers."""

from __future__ import annotations

import json
from pathlib import Path

from distilled_experts.errors import ModelFolderError
from distilled_experts.files import read_small_text

__all__ = ["SAFE", "check_model_folder"]

SAFE = {"use_safetensors": True, "trust_remote_code": False}
"""What ``from_pretrained`` must be told so that nothing is unpickled and no code is run."""


def check_model_folder(path: str | Path) -> None:
    """Look at the descriptions in a local folder; a repository on the hub is left to the hub's client.

    Raises
    ------
    ModelFolderError
        One is no JSON or very large, or names a file of weights outside the folder.
    """
    folder = Path(path)
    for file in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        try:
            described = json.loads(read_small_text(file))
        except (OSError, ValueError, RecursionError) as error:
            raise ModelFolderError(f"model: {str(file)!r} cannot be read: {error}") from error
        if file.name.endswith(".index.json"):
            _check_index(file, described)


def _check_index(file: Path, described: object) -> None:
    """An index says which file holds which weights."""
    places = described.get("weight_map") if isinstance(described, dict) else None
    if not isinstance(places, dict) or not all(_is_plain(name) for name in places.values()):
        raise ModelFolderError(f"model: {str(file)!r} names files that are not in its folder")


def _is_plain(name: object) -> bool:
    return isinstance(name, str) and Path(name).name == name and name.endswith(".safetensors")
