"""Peak memory of a step: what the process held at most (Linux), or what PyTorch allocated on a GPU."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

import torch


def reset_peak(device: str = "cpu") -> None:
    """Forget the peak so far."""
    gc.collect()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return
    # Memory that was freed, but not given back, would hide what the step needs.
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak(device: str = "cpu") -> int:
    """Bytes that were held at most since the last reset."""
    return torch.cuda.max_memory_allocated() if device == "cuda" else _status("VmHWM")


def held() -> int:
    """Bytes that the process holds now."""
    return _status("VmRSS")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
