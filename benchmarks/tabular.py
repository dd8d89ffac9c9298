"""How good are the estimators' defaults? Twenty tables, against what else a practitioner would take, nothing tuned.

    python benchmarks/tabular.py run --data-dir DIR     # resumable; records go to benchmarks/results/tabular
    mode reproduce --tables                             # the page reproduction/tables/tabular-peers.md from them

The peers live in an environment of their own: see requirements.txt beside this file. For a seed all peers see the same
rows: 70 % for training, at most 10,000 of them, and the others for the test. A peer that wants validation rows takes
them from its training rows. Every fit has a process and a time limit of its own: a crash or a timeout is a record too.
Before the clock starts, the peer is fitted once to a few made-up rows, so that imports do not count.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import r2_score
from tabular_peers import PEERS, SEEDS, Fit, version_of, words_of

from distilled_experts.experiments.data import load_table
from distilled_experts.experiments.splits import make_splits
from distilled_experts.reproduction.peer_records import ESTIMATORS

# From few to many cells, so that a partial run shows something of every peer.
# fmt: off
SETS = (
    "vowel", "vehicle", "phoneme", "credit_data", "attrition", "mlc_churn", "mfeat_zer",
    "mfeat_kar", "magic", "shuttle", "wall_robot", "letter", "diamonds", "ames",
    "satimage", "spambase", "mfeat_fac", "optdigits", "splice", "isolet",
)
# fmt: on
RESULTS = Path(__file__).parent / "results" / "tabular"
TRAINING_ROWS = 10_000
PREDICTED_ROWS = 10_000
# No probability counts as smaller: some peers compute in single precision, and forests say zero.
LEAST_PROBABILITY = 1e-7
PREDICTION_SECONDS, PREDICTION_ROUNDS = 5.0, 3


@dataclass(frozen=True)
class Cell:
    """One fit: a set, a seed and a peer."""

    data: str
    seed: int
    peer: str

    @property
    def path(self) -> Path:
        return RESULTS / self.data / f"{self.peer}-{self.seed}.json"

    def __str__(self) -> str:
        return f"{self.data}, seed {self.seed}, {self.peer}"


@dataclass(frozen=True)
class Rows:
    """Training and test rows of a seed; classes are codes."""

    task: str
    X: pd.DataFrame
    y: np.ndarray
    X_test: pd.DataFrame
    y_test: np.ndarray
    digest: str  # tells whether two records saw the same rows


def read_rows(name: str, seed: int, data_dir: str) -> Rows:
    """The rows of a seed; where there are too many for training, some are left out, of every class alike."""
    table = load_table(name, data_dir=data_dir)
    y = table.y.to_numpy(dtype=np.float64) if table.task == "regression" else pd.factorize(table.y, sort=True)[0]
    split = make_splits(y, table.task, seeds=1, first_seed=seed)[0]
    train = np.sort(np.concatenate([split.train, split.validation]))
    if len(train) > TRAINING_ROWS:
        away = 1 - TRAINING_ROWS / len(train)
        kept = make_splits(y[train], table.task, seeds=1, first_seed=seed, test_size=away)[0]
        train = train[np.sort(np.concatenate([kept.train, kept.validation]))]
    digest = hashlib.sha256(b"".join(part.tobytes() for part in (train, split.test, y))).hexdigest()[:16]
    X = [table.X.iloc[rows].reset_index(drop=True) for rows in (train, split.test)]
    return Rows(table.task, X[0], y[train], X[1], y[split.test], digest)


class Stopwatch:
    """Seconds by the wall's clock, and those of the processor."""

    def __enter__(self) -> Stopwatch:
        self._start = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *error: object) -> None:
        self.wall, self.cpu = time.perf_counter() - self._start[0], time.process_time() - self._start[1]


def fit_cell(cell: Cell, data_dir: str, threads: int) -> dict:
    """Fit, score, and take the times."""
    peer, rows = PEERS[cell.peer], read_rows(cell.data, cell.seed, data_dir)
    warm_up(cell.peer, rows.task, threads)
    model = peer.make(Fit(rows.task, cell.seed, threads, words_of(rows.X)))
    with Stopwatch() as fitting:
        model.fit(rows.X, rows.y)
    predict = model.predict if rows.task == "regression" else model.predict_proba
    found = np.asarray(predict(rows.X_test), dtype=np.float64)
    record = {
        **vars(cell),
        "version": version_of(cell.peer),
        "task": rows.task,
        "rows": {"training": len(rows.y), "test": len(rows.y_test), "digest": rows.digest},
        "threads": threads,
        "fit_seconds": {"wall": fitting.wall, "cpu": fitting.cpu},
        "predict_seconds": prediction_seconds(predict, rows.X_test),
    }
    if not np.isfinite(found).all():
        raise ValueError("predictions hold what is not a finite number")
    if rows.task == "regression":
        return {**record, "score": r2_score(rows.y_test, found), "log_loss": None}
    probabilities = np.zeros((len(found), rows.y.max() + 1))
    probabilities[:, model.classes_] = found
    right = probabilities.argmax(-1) == rows.y_test
    of_truth = probabilities[np.arange(len(found)), rows.y_test] / probabilities.sum(-1)
    loss = -np.log(of_truth.clip(LEAST_PROBABILITY)).mean()
    return {**record, "score": float(right.mean()), "log_loss": float(loss)}


def warm_up(name: str, task: str, threads: int) -> None:
    """Fit once to a made-up table: what a process does once is not to be timed."""
    random = np.random.default_rng(0)
    X = pd.DataFrame({"a": random.normal(size=100), "b": random.normal(size=100), "c": random.choice(["x", "y"], 100)})
    y = (X["a"] > 0).astype(int).to_numpy() if task == "classification" else X["a"].to_numpy()
    model = PEERS[name].make(Fit(task, 0, threads, words_of(X)), **PEERS[name].warm_up)
    model.fit(X, y).predict(X)


def prediction_seconds(predict: Callable[[pd.DataFrame], object], X: pd.DataFrame) -> dict:
    """Median seconds for one call with 10,000 rows, the test rows repeated or cut."""
    batch = X.iloc[np.resize(np.arange(len(X)), PREDICTED_ROWS)].reset_index(drop=True)
    watches: list[Stopwatch] = []
    while len(watches) < PREDICTION_ROUNDS and sum(watch.wall for watch in watches) < PREDICTION_SECONDS:
        with Stopwatch() as watch:
            predict(batch)
        watches.append(watch)
    return {clock: float(np.median([getattr(watch, clock) for watch in watches])) for clock in ("wall", "cpu")}


def run(cells: list[Cell], data_dir: str, threads: int, jobs: int, limit: float) -> None:
    """Fit what has no record yet, and write a record of each."""

    def settle(cell: Cell) -> None:
        record = in_own_process(cell, data_dir, threads, limit)
        write(cell.path, record)
        told = f"failed: {record['failed']}" if "failed" in record else f"{record['score']:.4f}"
        print(f"{cell}: {told}, {record['process_seconds']:.0f} s", flush=True)

    pool = ThreadPoolExecutor(jobs)
    try:
        # The list makes an error come out instead of being kept in the future.
        list(pool.map(settle, cells))
    finally:
        pool.shutdown(cancel_futures=True)


def in_own_process(cell: Cell, data_dir: str, threads: int, limit: float) -> dict:
    """The record of a fit, or why there is none."""
    names = ("OMP", "MKL", "OPENBLAS", "NUMEXPR")
    environment = os.environ | {f"{name}_NUM_THREADS": str(threads) for name in names}
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "record.json"
        command = [sys.executable, str(Path(__file__).resolve()), "fit", cell.data, str(cell.seed), cell.peer]
        command += ["--data-dir", data_dir, "--threads", str(threads), "--out", str(out)]
        # Its working folder is a throwaway: some peers write logs where they stand.
        failed = None
        try:
            # A session of its own: an interrupt is for this process, which then waits for the fit.
            ended = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                timeout=limit,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                check=False,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            failed = f"no end after {limit:g} s"
        seconds = {"process_seconds": time.perf_counter() - start}
        if failed is None and ended.returncode == 0:
            return json.loads(out.read_text(encoding="utf-8")) | seconds
    if failed is None and ended.returncode < 0:
        failed = f"killed by {signal.Signals(-ended.returncode).name}"
    failed = failed or (ended.stderr.strip().splitlines() or ["no message"])[-1][:300]
    return {**vars(cell), "version": version_of(cell.peer), "threads": threads, "failed": failed} | seconds


def write(path: Path, record: dict) -> None:
    """Write whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.part")
    temporary.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def wanted(arguments: argparse.Namespace) -> list[Cell]:
    """The cells asked for, seed by seed, less those with a record."""
    missing = sorted({ESTIMATORS[peer].package for peer in arguments.peers if version_of(peer) is None})
    if missing:
        raise SystemExit(f"not installed: {', '.join(missing)}; see benchmarks/requirements.txt, or choose by --peers")
    cells = [
        Cell(data, seed, peer)
        for seed in arguments.seeds or range(SEEDS)
        for data in arguments.sets
        for peer in arguments.peers
        if arguments.seeds or seed < PEERS[peer].seeds
    ]
    cells = [cell for cell in cells if not is_settled(cell, arguments.renew)]
    # A set that cannot be read is no peer's failure.
    for data in {cell.data for cell in cells}:
        load_table(data, data_dir=arguments.data_dir)
    return cells


def is_settled(cell: Cell, renew: str | None) -> bool:
    if renew == "all" or not cell.path.exists():
        return False
    return renew is None or "failed" not in json.loads(cell.path.read_text(encoding="utf-8"))


def words(choices: Collection[str]) -> Callable[[str], list[str]]:
    """A list with commas, each word one of the choices."""

    def split(text: str) -> list[str]:
        chosen = text.split(",")
        for word in chosen:
            if word not in choices:
                raise argparse.ArgumentTypeError(f"{word!r}; allowed: {', '.join(choices)}")
        return chosen

    return split


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    running, fitting = (commands.add_parser(name) for name in ("run", "fit"))
    running.add_argument("--sets", type=words(SETS), default=SETS, help="names with commas; all by default")
    running.add_argument("--peers", type=words(PEERS), default=tuple(PEERS), help="names with commas; all by default")
    running.add_argument("--seeds", type=lambda text: [int(word) for word in text.split(",")], help="such as 0,1")
    running.add_argument("--limit", type=float, default=3600, help="seconds a fit may take with all around it")
    running.add_argument("--jobs", type=int, default=1, help="fits at a time")
    running.add_argument("--renew", choices=("failed", "all"), help="also run what has a record that failed, or any")
    for command in (running, fitting):
        command.add_argument("--data-dir", required=True)
        command.add_argument("--threads", type=int, default=1, help="threads of a fit")
    fitting.add_argument("data")
    fitting.add_argument("seed", type=int)
    fitting.add_argument("peer")
    fitting.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    if arguments.command == "fit":
        cell = Cell(arguments.data, arguments.seed, arguments.peer)
        write(arguments.out, fit_cell(cell, arguments.data_dir, arguments.threads))
        return
    data_dir = str(Path(arguments.data_dir).resolve())
    run(wanted(arguments), data_dir, arguments.threads, arguments.jobs, arguments.limit)


if __name__ == "__main__":
    main()
