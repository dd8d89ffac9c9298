"""What a run must bear: clocks that jump, folders that are read-only, signals, a network that does not answer."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sklearn.datasets._openml as openml
from small_runs import Compared, models_of

from distilled_experts.errors import DataError, WriteError
from distilled_experts.experiments import image_study, sources
from distilled_experts.experiments.cells import Cell
from distilled_experts.transformers import hub

NOBODY = 65534


@pytest.fixture
def clock_running_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock on the wall; what measures how long something took goes its own way."""
    hours = itertools.count(0, -3600)
    monkeypatch.setattr(time, "time", lambda: 1.7e9 + next(hours))
    monkeypatch.setattr(time, "time_ns", lambda: int(1.7e18) + next(hours) * 10**9)


def test_a_clock_that_jumps_changes_nothing(
    whole: list[dict[str, object]], clock_running_backwards: None, compared: Compared, tmp_path: Path
) -> None:
    record = compared(tmp_path / "run")
    assert models_of(tmp_path / "run") == whole
    assert record["seconds"] >= 0
    assert all(arm["seconds"] >= 0 for arm in record["arms"].values())


@pytest.mark.slow
def test_a_clock_that_jumps_does_not_disturb_the_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    study = image_study.image_study("digits", rows=120, epochs=2, alpha="0.1", experts=2, hidden=8, seeds=1)
    cell = Cell(0, "mixture", 0.1)
    before = study.train(cell)
    hours = itertools.count(0, -3600)
    monkeypatch.setattr(time, "time", lambda: 1.7e9 + next(hours))
    after = study.train(cell)
    assert after["seconds"] >= 0
    assert after | {"seconds": 0} == before | {"seconds": 0}


@contextmanager
def as_nobody() -> Iterator[None]:
    """Give up the rights of root, before which every folder can be written."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.fixture
def read_only() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        yield Path(folder)
        Path(folder).chmod(0o755)


def test_a_read_only_folder_is_named_in_one_line(read_only: Path, compared: Compared) -> None:
    read_only.chmod(0o555)
    with as_nobody(), pytest.raises(WriteError, match=r"out: cannot write to '.*run': Permission denied"):
        compared(read_only / "run")
    assert list(read_only.iterdir()) == []


def test_a_finished_run_in_a_read_only_folder_can_be_read(read_only: Path, compared: Compared) -> None:
    first = compared(read_only / "run")
    for path in (read_only / "run", read_only):
        path.chmod(0o555)
    with as_nobody():
        assert compared(read_only / "run", resume=True) == first
    (read_only / "run").chmod(0o755)


TERMINATED = """
import sys
from distilled_experts.cli import main
from distilled_experts.experiments import runner
runner._CHECKPOINT_SECONDS = -1.0
main(["compare", "wine", "--seeds", "1", "--epochs", "100000", "--patience", "100000", "--out", sys.argv[1]])
"""


@pytest.mark.slow
def test_termination_saves_and_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TERMINATED, str(tmp_path / "run")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        checkpoint = tmp_path / "run/checkpoint.safetensors"
        while not checkpoint.exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 1
        assert process.stderr is not None
        # A new line first, after the ^C that a terminal shows.
        assert process.stderr.read().lstrip() == "mode: interrupted; the same command with --continue takes it up\n"
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {"checkpoint.safetensors", "specification.json"}
    assert not (tmp_path / "run/.lock").exists()


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"


def test_a_set_known_by_name_that_cannot_be_fetched_is_an_error_in_seconds(
    silent_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(openml, "_DATA_INFO", silent_server + "{}")
    # It is tried twice.
    assert 2 * sources._CONNECT_SECONDS <= 10
    monkeypatch.setattr(sources, "_CONNECT_SECONDS", 0.3)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"could not be fetched from OpenML \(.*timed out.*\); go online, or put opt"):
        sources.find_source("optdigits")


def test_a_set_of_the_hub_that_cannot_be_fetched_is_an_error_in_seconds(
    silent_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*names: Any) -> None:
        raise AssertionError("asked for data though nobody answers")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=never))
    monkeypatch.setenv("HF_ENDPOINT", silent_server)
    monkeypatch.setattr(hub, "_CONNECT_SECONDS", 0.3)
    with pytest.raises(DataError, match=r"from the Hugging Face hub \(.*timed out.*\); go online, or name a folder"):
        hub.load_from_hub("ylecun/mnist", remedy="name a folder")


def test_the_command_without_a_network_says_what_to_do(
    mode: Callable[..., tuple[object, str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unreachable(*arguments: Any, **options: Any) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", unreachable)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    monkeypatch.delenv("DISTILLED_EXPERTS_DATA", raising=False)
    status, out, err = mode("compare", "optdigits")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "--data-dir" in err
