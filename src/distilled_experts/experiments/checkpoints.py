"""Checkpoints of a stack in training: its tensors and a checksum of them, in one file of safetensors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from distilled_experts.errors import RunFolderError

__all__ = ["read_checkpoint", "write_checkpoint"]


def write_checkpoint(path: Path, stack: str, state: Mapping[str, Tensor]) -> None:
    """Write the state of the stack with this name.

    Raises
    ------
    OSError
        When it cannot be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    try:
        save_file(tensors, path, metadata={"stack": stack, "sha256": _checksum(stack, tensors)})
    except SafetensorError as error:
        raise OSError(str(error)) from error


def read_checkpoint(path: Path, stack: str) -> dict[str, Tensor] | None:
    """The state of a stack; None where there is no file, or one of another stack.

    Raises
    ------
    RunFolderError
        When the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError) as error:
        raise RunFolderError(f"{str(path)!r} is damaged: {error}") from error
    if about.get("sha256") != _checksum(about.get("stack", ""), tensors):
        raise RunFolderError(f"{str(path)!r} is damaged: its checksum differs")
    return tensors if about["stack"] == stack else None


def _checksum(stack: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(stack.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).numpy().data)
    return digest.hexdigest()
