"""Cells that are trained one by one: resumed, side by side, in the order of the cells."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from distilled_experts.experiments.cells import Cell, comparison_cells, run_cells
from distilled_experts.experiments.comparison import Comparison
from distilled_experts.experiments.records import RunFolder
from distilled_experts.experiments.scheduling import Workers

CELLS = comparison_cells(Comparison("x", "vision", "accuracy", alpha=(0.1, 1.0), seeds=2))


def score(cell: Cell) -> dict[str, Any]:
    return {"score": 10 * cell.seed + cell.alpha}


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    (tmp_path / "run").mkdir()
    return RunFolder(tmp_path / "run")


def test_every_seed_has_a_dense_network_and_a_mixture_for_each_alpha():
    assert [(c.seed, c.arm, c.alpha) for c in CELLS if c.seed == 1] == [
        (1, "dense", 0.0),
        (1, "mixture", 0.0),
        (1, "mixture", 0.1),
        (1, "mixture", 1.0),
    ]
    assert len(CELLS) == 8


def test_an_interrupted_run_goes_on_with_what_it_lacks(folder):
    trained: list[Cell] = []

    def train(cell: Cell) -> dict[str, Any]:
        trained.append(cell)
        if len(trained) == 4:
            raise KeyboardInterrupt
        return score(cell)

    with pytest.raises(KeyboardInterrupt):
        run_cells(CELLS, train, folder)
    assert [Cell.of(model) for model in folder.metrics()] == CELLS[:3]
    models = run_cells(CELLS, train, folder)
    assert trained == [*CELLS[:4], *CELLS[3:]]
    assert models == folder.metrics() == [cell.to_dict() | score(cell) for cell in CELLS]


def test_termination_is_an_interruption(folder):
    def train(cell: Cell) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        return score(cell)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        run_cells(CELLS, train, folder)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
def test_jobs_give_the_same_in_the_same_order(folder):
    told: list[tuple[str, int, int]] = []
    models = run_cells(CELLS, score, folder, workers=Workers(2), progress=lambda *found: told.append(found))
    assert models == folder.metrics() == run_cells(CELLS, score)
    assert told == [("models", done, 8) for done in range(9)]


class SlowFolder(RunFolder):
    """Takes its time to write, and notes how many models it wrote."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.written: list[int] = []

    def write_metrics(self, models: list[dict[str, Any]]) -> None:
        time.sleep(0.01)
        self.written.append(len(models))


def test_many_short_runs_are_written_now_and_then_and_all_at_the_end(tmp_path):
    cells = [Cell(seed, "dense") for seed in range(500)]
    folder = SlowFolder(tmp_path)
    run_cells(cells, score, folder)
    assert folder.written[0] == 1
    assert folder.written[-1] == len(cells)
    assert len(folder.written) < 20
