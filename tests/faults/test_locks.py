"""A run folder is for one process at a time."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_runs import Compared

from distilled_experts.errors import RunFolderError
from distilled_experts.experiments.locks import locked

HOLD = """
import sys
from pathlib import Path
from distilled_experts.experiments.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process at work in the folder "run"."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"force": True}], ids=["new", "continued", "replaced"])
def test_a_second_process_is_refused(
    options: dict[str, bool], holder: subprocess.Popen[str], compared: Compared, tmp_path: Path
) -> None:
    with pytest.raises(RunFolderError, match=r"out: another process is at work in '.*run'; wait") as caught:
        compared(tmp_path / "run", **options)
    assert len(str(caught.value).splitlines()) == 1
    assert {path.name for path in (tmp_path / "run").iterdir()} == {".lock"}


def test_the_death_of_the_first_one_frees_the_folder(
    holder: subprocess.Popen[str], compared: Compared, tmp_path: Path
) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run/.lock").exists()
    assert compared(tmp_path / "run")["arms"]
    assert not (tmp_path / "run/.lock").exists()


def test_a_folder_is_free_after_an_error_and_held_within_one_process_too(tmp_path: Path) -> None:
    def fail_within() -> None:
        with locked(tmp_path / "run"):
            with pytest.raises(RunFolderError), locked(tmp_path / "run"):
                pass
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_within()
    with locked(tmp_path / "run"):
        pass
    assert list((tmp_path / "run").iterdir()) == []


def test_a_finished_run_is_read_while_another_process_looks_at_it(compared: Compared, tmp_path: Path) -> None:
    first = compared(tmp_path / "run")
    with locked(tmp_path / "run"):
        assert compared(tmp_path / "run", resume=True) == first
