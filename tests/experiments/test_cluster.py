"""Grids on a Dask cluster: complete, each run once in the record, whatever happens to a worker."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distilled_experts.errors import ClusterError, InvalidParameterError, MissingDependencyError
from distilled_experts.experiments import clusters
from distilled_experts.experiments.cells import Cell, comparison_cells, run_cells
from distilled_experts.experiments.compare import Run, resolve, run_comparison
from distilled_experts.experiments.comparison import Comparison
from distilled_experts.experiments.data import load_table
from distilled_experts.experiments.records import RunFolder
from distilled_experts.experiments.runner import StackTask
from distilled_experts.experiments.scheduling import Workers, run_each

distributed = pytest.importorskip("distributed")

CELLS = comparison_cells(Comparison("x", "vision", "accuracy", alpha=(0.1, 1.0), seeds=4))
OPTIONS = {"seeds": 2, "epochs": 4, "hidden": 8, "alpha": "0,0.1"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as workers:
        yield workers.scheduler_address.replace("tcp://", "dask://")


def score(cell: Cell) -> dict[str, Any]:
    return {"score": 10 * cell.seed + cell.alpha}


@pytest.mark.slow
def test_a_grid_is_complete_although_a_worker_is_killed(cluster: str, tmp_path: Path) -> None:
    killed, folder = tmp_path / "killed", RunFolder(tmp_path / "run")
    folder.path.mkdir()

    def train(cell: Cell) -> dict[str, Any]:
        if cell == CELLS[5] and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return {"score": 10 * cell.seed + cell.alpha}

    models = run_cells(CELLS, train, folder, workers=Workers(cluster=cluster))
    assert killed.exists()
    assert models == folder.metrics() == run_cells(CELLS, score)


def models_of(path: Path) -> list[dict[str, Any]]:
    models = [{k: v for k, v in model.items() if k != "seconds"} for model in RunFolder(path).metrics()]
    return sorted(models, key=lambda model: (model["arm"], model["seed"], model["alpha"]))


@pytest.mark.slow
def test_tables_on_a_cluster_give_what_stacks_of_one_seed_give(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distilled_experts.experiments.stacks._STACK_BYTES", 1)
    wine = load_table("wine")
    specification = resolve(wine, **OPTIONS)
    run_comparison(Run(wine, None, specification, RunFolder(tmp_path / "here")))
    there = Run(wine, None, specification, RunFolder(tmp_path / "there"), workers=Workers(cluster=cluster))
    run_comparison(there)
    assert models_of(tmp_path / "there") == models_of(tmp_path / "here")


@pytest.mark.slow
def test_a_run_that_no_worker_survives_ends_the_grid() -> None:
    import dask

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as workers,
        pytest.raises(ClusterError, match="no worker survives"),
    ):
        list(
            run_each(lambda _: os.kill(os.getpid(), signal.SIGKILL), [1, 2], Workers(cluster=workers.scheduler_address))
        )


def test_workers_with_several_threads_are_refused() -> None:
    options = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": ":0"}
    with (
        distributed.LocalCluster(**options, protocol="tcp://") as workers,
        pytest.raises(ClusterError, match="2 threads"),
    ):
        list(run_each(abs, [-1, -2], Workers(cluster=workers.scheduler_address)))


def test_where_nobody_answers_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "_CONNECT_SECONDS", 0.5)
    with pytest.raises(ClusterError, match=r"no Dask scheduler answers at 'tcp://127.0.0.1:9'"):
        list(run_each(abs, [1], Workers(cluster="dask://127.0.0.1:9")))


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match="pip install ray"):
        list(run_each(abs, [1], Workers(cluster="ray")))


@pytest.mark.parametrize("address", ["", "localhost:8786", "http://host:1", "dask://", "rays"])
def test_addresses_of_no_known_form_are_refused(address: str) -> None:
    with pytest.raises(InvalidParameterError, match="cluster"):
        Workers(cluster=address)


def test_the_command_names_what_is_wrong(mode: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, err = mode("compare", "wine", "--cluster", "nowhere")
    assert (status, err.count("\n")) == (2, 1)
    assert "dask://HOST:PORT" in err
    assert not list(tmp_path.iterdir())


def test_a_stack_that_was_begun_elsewhere_goes_on_with_the_seeds_that_it_lacks() -> None:
    task = StackTask("mixture", resolve(load_table("wine"), **OPTIONS), (0, 1, 2, 3, 4))
    done = [{"arm": "mixture", "experts": 4, "seed": seed} for seed in (1, 4)]
    others = [{"arm": "dense", "experts": 4, "seed": 0}, {"arm": "mixture", "experts": 2, "seed": 0}]
    assert [part.seeds for part in task.without(done + others)] == [(0,), (2, 3)]
    assert [part.seeds for part in task.apart()] == [(0,), (1,), (2,), (3,), (4,)]
