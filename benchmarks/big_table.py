"""A table that is larger than what is held of it: memory and time to learn from Parquet, and to predict.

    python benchmarks/big_table.py [--rows 5000000] [--write]

A made-up table, 50 columns of numbers and a target, is written in pieces to a temporary folder. Then processes of their
own learn from it for one epoch, and predict all of its rows. Their memory is read off Linux ten times a second: what is
theirs alone, and what is lent for the file of features, which the system takes back when it is short of memory.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from distilled_experts import MoDERegressor
from distilled_experts.experiments.models import predict_file
from distilled_experts.experiments.records import environment
from distilled_experts.experiments.streaming import open_parquet

RECORD = Path(__file__).parent / "results" / "big_table.json"
COLUMNS, PIECE = 50, 250_000
MODEL = {"n_estimators": 1, "n_bins": 0, "alpha": 0.1, "max_iter": 1, "batch_size": 1024, "random_state": 0}


def write_table(path: Path, n_rows: int) -> None:
    """Numbers, one of fifty missing, in single precision; the target bends and jumps."""
    random = np.random.default_rng(0)
    writer = None
    for start in range(0, n_rows, PIECE):
        x = random.standard_normal((min(PIECE, n_rows - start), COLUMNS), dtype=np.float32)
        target = x[:, 0] + x[:, 1] ** 2 + (x[:, 2] > 0.5) + 0.1 * x[:, 3]
        x[random.random(x.shape, dtype=np.float32) < 0.02] = np.nan
        table = pa.table({**{f"x{i}": column for i, column in enumerate(x.T)}, "target": target})
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


class Watch(threading.Thread):
    """The most memory since its start: bytes of the process alone, and with what is lent."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.own = self.whole = 0

    def run(self) -> None:
        while True:
            found = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            own, whole = (1024 * int(found[name].split()[0]) for name in ("RssAnon", "VmRSS"))
            self.own, self.whole = max(self.own, own), max(self.whole, whole)
            time.sleep(0.1)


def learn(folder: Path) -> None:
    rows = open_parquet(folder / "table.parquet")
    MoDERegressor(**MODEL).fit(rows.X, rows.y).save(folder / "model")


def predict(folder: Path) -> None:
    with (folder / "predictions.csv").open("w") as out:
        for number, rows in enumerate(predict_file(folder / "model", folder / "table.parquet")):
            rows.to_csv(out, index=False, header=number == 0)


def measured(name: str, folder: Path) -> dict[str, float]:
    """In a process of its own."""
    watch, start = Watch(), time.perf_counter()
    watch.start()
    {"learn": learn, "predict": predict}[name](folder)
    return {"seconds": time.perf_counter() - start, "own_bytes": watch.own, "bytes_with_lent": watch.whole}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--write", action="store_true", help=f"write the record to {RECORD}")
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps(measured(arguments.part[0], Path(arguments.part[1]))))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # The table, its features, and predictions.
        if shutil.disk_usage(folder).free < 3 * 4 * arguments.rows * COLUMNS:
            raise SystemExit(f"{folder}: not enough room")
        write_table(folder / "table.parquet", arguments.rows)
        record = {"rows": arguments.rows, "columns": COLUMNS, "file_bytes": (folder / "table.parquet").stat().st_size}
        for part in ("learn", "predict"):
            command = [sys.executable, __file__, "--part", part, name]
            record[part] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            print(part, record[part], flush=True)
        record["predictions"] = sum(len(rows) for rows in pd.read_csv(folder / "predictions.csv", chunksize=10**6))
    print(record)
    if arguments.write:
        RECORD.write_text(json.dumps(record | {"environment": environment()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
