"""Several processes that do the same, each for its part: ``torchrun … processes.py MODULE FOLDER CASE …``.

A module of cases has ``CASES``, by name what each process computes, and what one process alone would find.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from moe_oracle import Gradients, kept_double


@dataclass(frozen=True)
class Case:
    """What every process of several computes, what each of so many is to find, and how many are tested."""

    run: Callable[[], Gradients]
    wanted: Callable[[int], Sequence[Gradients]]
    tolerance: float = 1e-10
    worlds: tuple[int, ...] = (2, 4)


def run_processes(n_processes: int, module: str, folder: Path, names: Sequence[str]) -> dict[str, list[Gradients]]:
    """What each process found, by case."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n_processes}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*launch, __file__, module, str(folder), *names], env=environment, check=True, timeout=240)
    return {name: [torch.load(folder / f"{name} {rank}.pt") for rank in range(n_processes)] for name in names}


def main(module: str, folder: str, names: Sequence[str]) -> None:
    """Compute cases in one of the processes."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    cases = importlib.import_module(module).CASES
    with kept_double():
        for name in names:
            torch.save(cases[name].run(), Path(folder) / f"{name} {dist.get_rank()}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
