"""One model of a grid that fails: the others go on, the record says which, and continuing tries it again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import Compared, models_of

from distilled_experts.errors import TrainingError
from distilled_experts.experiments import image_study, runner, stacks
from distilled_experts.experiments.cells import Cell, run_cells
from distilled_experts.experiments.failures import Attempt, whole_seeds
from distilled_experts.experiments.records import RunFolder
from distilled_experts.tabular.training import StackedTraining

CELLS = [Cell(seed, arm) for seed in range(3) for arm in ("dense", "mixture")]


def no_memory() -> None:
    torch.empty(2**60)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "out of memory"),
        (MemoryError("Unable to allocate 9 GiB"), "out of memory (Unable to allocate 9 GiB)"),
        (torch.OutOfMemoryError("CUDA out of memory.\nTried"), "out of memory (CUDA out of memory. Tried)"),
        (TrainingError("the loss was not finite"), "the loss was not finite"),
    ],
    ids=["bare", "numpy", "accelerator", "loss"],
)
def test_what_counts_as_a_failed_model(error: Exception, reason: str) -> None:
    def fail(unit: object) -> str:
        raise error

    assert Attempt(fail, lambda unit, why: why)("unit") == reason


def test_the_real_message_of_the_allocator_is_known() -> None:
    assert Attempt(lambda unit: no_memory(), lambda unit, why: why)("unit").startswith("out of memory (")


@pytest.mark.parametrize("error", [RuntimeError("a shape"), ValueError("a bug"), KeyboardInterrupt()], ids=repr)
def test_other_errors_are_not_hidden(error: BaseException) -> None:
    def fail(unit: object) -> None:
        raise error

    with pytest.raises(type(error)):
        Attempt(fail, lambda unit, why: None)("unit")


def test_the_other_cells_go_on_and_continuing_tries_the_failed_one_again(tmp_path: Path) -> None:
    folder, short = RunFolder(tmp_path / "run"), {Cell(1, "mixture")}
    folder.path.mkdir()

    def train(cell: Cell) -> dict[str, Any]:
        if cell in short:
            no_memory()
        return {"score": cell.seed}

    models = run_cells(CELLS, train, folder)
    whole, failed = whole_seeds(models)
    assert [Cell(m["seed"], m["arm"]) for m in whole] == [cell for cell in CELLS if cell.seed != 1]
    assert [(m["arm"], m["seed"], m["alpha"], m["failed"][:13]) for m in failed] == [("mixture", 1, 0, "out of memory")]
    short.clear()
    trained: list[Cell] = []
    again = run_cells(CELLS, lambda cell: trained.append(cell) or train(cell), folder)
    assert trained == [Cell(1, "mixture")]
    assert again == run_cells(CELLS, train)


def test_without_a_whole_seed_there_is_no_record() -> None:
    failed = [{"seed": seed, "arm": "mixture", "alpha": 1.0, "failed": "out of memory"} for seed in range(2)]
    with pytest.raises(TrainingError, match="no seed could be trained in whole; mixture, seed 0, α = 1: out of memory"):
        whole_seeds([*failed, {"seed": 0, "arm": "dense"}, {"seed": 1, "arm": "dense"}])


@pytest.fixture
def seed_by_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "_STACK_BYTES", 1)


def test_a_stack_without_memory_leaves_the_other_seeds_their_record(
    seed_by_seed: None, compared: Compared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = runner.prepare

    def short(table: Any, specification: Any, seeds: tuple[int, ...], test: Any) -> Any:
        if seeds == (0,):
            no_memory()
        return prepare(table, specification, seeds, test)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "prepare", short)
        record = compared(tmp_path / "run")
    assert (record["seeds"], len(record["arms"]["mode"]["scores"])) == (1, 1)
    assert {(m["arm"], m["seed"]) for m in record["failed"]} == {("dense", 0), ("mixture", 0)}
    assert "seeds 0; dense, seed 0: out of memory" in record["notes"][-1]
    assert (tmp_path / "run/report.html").exists()
    assert not (tmp_path / "run/DONE").exists()
    assert compared(tmp_path / "run", resume=True)["failed"] == []
    compared(tmp_path / "whole")
    order = sorted(models_of(tmp_path / "whole"), key=str)
    assert sorted(models_of(tmp_path / "run"), key=str) == order
    assert (tmp_path / "run/DONE").exists()


def test_the_command_ends_with_1_and_says_which(
    mode: Callable[..., tuple[object, str, str]],
    seed_by_seed: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = StackedTraining.step

    def diverge(training: StackedTraining, rows: torch.Tensor) -> Any:
        if list(training.seeds) == [1]:
            with torch.no_grad():
                training.working.network.output_bias.fill_(float("nan"))
        return step(training, rows)

    monkeypatch.setattr(StackedTraining, "step", diverge)
    small = ["--seeds", 2, "--epochs", 2, "--hidden", 4, "--json", "--out", tmp_path / "run"]
    status, out, err = mode("compare", "wine", *small)
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith("mode: 2 models failed, and their seeds were left out; dense, seed 1: the loss was not fin")
    record = json.loads(out)
    assert [m["seed"] for m in record["failed"]] == [1, 1]
    assert record["difference"]["low"] is None


@pytest.mark.slow
def test_a_loss_that_is_no_number_fails_one_image_model_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from distilled_experts.experiments.trained import run_study

    study = image_study.image_study("digits", rows=120, epochs=2, alpha="0.1", experts=2, hidden=8, seeds=2)
    train = image_study.train_model

    def diverge(model: torch.nn.Module, *arguments: Any, seed: int, **options: Any) -> Any:
        if seed == 1:
            with torch.no_grad():
                next(model.parameters()).fill_(float("nan"))
        return train(model, *arguments, seed=seed, **options)

    monkeypatch.setattr(image_study, "train_model", diverge)
    record = run_study(study, RunFolder(tmp_path / "run"))
    assert record["seeds"] == 1
    assert {m["seed"] for m in record["failed"]} == {1}
    assert all("never finite" in m["failed"] for m in record["failed"])
