"""What the scheduling of a grid costs: 1,000 runs that compute nothing, recorded one by one.

    python benchmarks/scheduling.py [--runs 1000] [--write]

One after the other in this process, in two processes beside it (joblib's loky), and on the two workers of a local Dask
cluster. Each run returns what is recorded of a model, learning curves included. Processes have been started before, as
for the later runs of a grid.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distributed import LocalCluster

from distilled_experts.experiments.cells import Cell, run_cells
from distilled_experts.experiments.records import RunFolder, environment
from distilled_experts.experiments.scheduling import Workers, run_each

RECORD = Path(__file__).parent / "results" / "scheduling.json"
CURVE = [0.123456789] * 100


def train(cell: Cell) -> dict[str, Any]:
    """As much as is recorded of a small model, and no work."""
    return {
        "test_score": cell.seed / 7,
        "validation_loss": cell.alpha / 7,
        "curves": {"train_loss": CURVE, "validation_loss": CURVE},
        "matrix": [CURVE[:4]] * 4,
    }


@contextmanager
def local_cluster() -> Iterator[str]:
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as workers:
        yield workers.scheduler_address


def measured(workers: Workers, n_runs: int) -> float:
    """Seconds a run."""
    cells = [Cell(seed, "mixture", 0.1) for seed in range(n_runs)]
    list(run_each(train, cells[:8], workers))
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        models = run_cells(cells, train, RunFolder(folder), workers=workers)
        seconds = time.perf_counter() - start
        if [model["seed"] for model in models] != list(range(n_runs)) or models != RunFolder(folder).metrics():
            raise SystemExit("runs are missing")
    return seconds / n_runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--write", action="store_true", help=f"write the record to {RECORD}")
    arguments = parser.parse_args()
    with local_cluster() as address:
        ways = {"one by one": Workers(), "loky, 2 processes": Workers(2), "Dask, 2 workers": Workers(cluster=address)}
        seconds = {name: measured(workers, arguments.runs) for name, workers in ways.items()}
    for name, value in seconds.items():
        print(f"{name:20s} {1000 * value:6.2f} ms a run")
    if arguments.write:
        record = {"runs": arguments.runs, "seconds_a_run": seconds, "environment": environment()}
        RECORD.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
