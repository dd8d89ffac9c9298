"""How much memory does fitting take beside the table itself?

    python benchmarks/table_memory.py [--rows 1000000] [--write]

An array of made-up numbers in single precision, 50 columns and two classes, is fitted for one epoch by eight members in
a process of its own. What counts is how far the process grows from the moment before the fit, divided by the bytes of
the array, which is there already.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from distilled_experts import MoDEClassifier
from distilled_experts.experiments.records import environment

RECORD = Path(__file__).parent / "results" / "table_memory.json"
COLUMNS = 50
MODEL = {"hidden": 8, "alpha": 0.1, "max_iter": 1, "batch_size": 4096, "random_state": 0}


def peak() -> int:
    """Most bytes that the process has held so far."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measured(n_rows: int) -> dict[str, float]:
    """Fit in this process, which should be a new one."""
    random = np.random.default_rng(0)
    # A small fit first: what imports and threads take is not the table's.
    small = random.standard_normal((2_000, COLUMNS), dtype=np.float32)
    MoDEClassifier(**MODEL).fit(small, small[:, 0] > 0)
    x = random.standard_normal((n_rows, COLUMNS), dtype=np.float32)
    y = x[:, 0] + x[:, 1] ** 2 > 1
    before, start = peak(), time.perf_counter()
    MoDEClassifier(**MODEL).fit(x, y)
    return {"rows": n_rows, "bytes": x.nbytes, "growth": peak() - before, "seconds": time.perf_counter() - start}


def in_new_process(n_rows: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--rows", str(n_rows), "--here"]
    found: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found | {"ratio": found["growth"] / found["bytes"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--write", action="store_true", help=f"write the record to {RECORD}")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        print(json.dumps(measured(arguments.rows)))
        return
    record = in_new_process(arguments.rows)
    print(record)
    if arguments.write:
        RECORD.write_text(json.dumps(record | {"environment": environment()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
