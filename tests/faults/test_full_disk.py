"""A full disk: one clear line, what was there before stays, nothing half written is left."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sklearn.datasets import load_iris
from small_runs import Compared, models_of

from distilled_experts import MoDEClassifier
from distilled_experts.errors import WriteError
from distilled_experts.experiments import runner
from distilled_experts.experiments.models import load_model
from distilled_experts.experiments.probed import probe_table, write_probe

SIZE = 2**22
FAST = {"hidden": 4, "max_iter": 2, "n_estimators": 1, "alpha": 0.1}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("small file systems cannot be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@contextmanager
def left(disk: Path, n_bytes: int) -> Iterator[None]:
    """Fill a file system but for so many bytes."""
    filler = disk / "filler"
    filler.write_bytes(bytes(max(0, shutil.disk_usage(disk).free - n_bytes)))
    try:
        yield
    finally:
        filler.unlink()


def error_of(write: Callable[[], object]) -> str | None:
    try:
        write()
    except WriteError as error:
        return str(error)
    return None


def run_within(disk: Path, free: int, compared: Compared) -> None:
    with left(disk, free):
        compared(disk / "run")


@contextmanager
def files_of_at_most(n_bytes: int) -> Iterator[None]:
    """Let the system refuse to write larger files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seconds", "names"),
    [(-1, {"specification", "environment", "checkpoint"}), (30, {"environment", "metrics", "result", "report"})],
    ids=["saved", "unsaved"],
)
def test_a_disk_that_is_full_at_any_write_costs_nothing(
    seconds: float,
    names: set[str],
    disk: Path,
    compared: Compared,
    whole: list[dict[str, object]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "_CHECKPOINT_SECONDS", seconds)
    refused: set[str] = set()
    for free in (*range(0, 2**15, 2**12), *range(2**15, SIZE, 2**13)):
        error = error_of(lambda free=free: run_within(disk, free, compared))
        if error is None:
            break
        assert "No space left on device" in error
        refused.add(Path(error.split("'")[1]).stem)
        assert list(disk.rglob("*.part")) == []
        compared(disk / "run", resume=True)
        assert models_of(disk / "run") == whole
        shutil.rmtree(disk / "run")
    assert refused >= names


def test_files_that_may_not_grow_are_reported(interrupted: Path, compared: Compared) -> None:
    before = {path.name: path.read_bytes() for path in interrupted.iterdir()}
    with files_of_at_most(2000), pytest.raises(WriteError, match=r"cannot write '.*checkpoint\.safetensors': .*arge"):
        compared(interrupted, resume=True)
    assert {path.name: path.read_bytes() for path in interrupted.iterdir()} == before


def test_a_model_that_does_not_fit_leaves_the_old_one(tmp_path: Path) -> None:
    X, y = load_iris(return_X_y=True)
    old = MoDEClassifier(**FAST, random_state=0).fit(X, y)
    new = MoDEClassifier(**FAST | {"hidden": 400}, random_state=1).fit(X, y)
    old.save(tmp_path / "model")
    with files_of_at_most(20_000):
        with pytest.raises(WriteError, match=r"out: cannot write '.*weights\.next\.safetensors'"):
            new.save(tmp_path / "model", overwrite=True)
        with pytest.raises(WriteError):
            new.save(tmp_path / "other")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"model.json", "weights.safetensors"}
    assert (load_model(tmp_path / "model").predict_proba(X) == old.predict_proba(X)).all()
    assert not (tmp_path / "other").exists()


def test_a_page_that_does_not_fit_leaves_the_old_one(tmp_path: Path) -> None:
    X, y = load_iris(return_X_y=True, as_frame=True)
    MoDEClassifier(**FAST).fit(X, y).save(tmp_path / "model")
    X.assign(target=y).to_csv(tmp_path / "iris.csv", index=False)
    record = probe_table(tmp_path / "model", str(tmp_path / "iris.csv"))
    page = write_probe(record, tmp_path / "page.html")
    before = page.read_bytes()
    with files_of_at_most(20_000), pytest.raises(WriteError, match=r"report: cannot write to '.*page\.html'"):
        write_probe(record, page)
    assert page.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"model", "iris.csv", "page.html"}


@pytest.mark.slow
def test_an_answer_that_cannot_be_written_is_one_line() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no device that is always full")
    command = [sys.executable, "-m", "distilled_experts", "compare", "--help"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("mode: OSError: [Errno 28] No space left on device")
    assert done.stderr.count("\n") == 1
