"""A small comparison that every fault is injected into, and what it writes when nothing happens."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from small_runs import Compared, models_of

import distilled_experts.report
from distilled_experts.experiments import runner
from distilled_experts.experiments.compare import Run, resolve, run_comparison
from distilled_experts.experiments.data import Table, load_table
from distilled_experts.experiments.records import RunFolder


@pytest.fixture(scope="session")
def wine() -> Table:
    return load_table("wine")


@pytest.fixture
def compared(wine: Table, monkeypatch: pytest.MonkeyPatch) -> Compared:
    """Run or continue the comparison in a folder; every epoch is saved, and the page is a short one."""
    monkeypatch.setattr(runner, "_CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(distilled_experts.report, "report_html", lambda record: "a page" * 2000, raising=False)
    specification = resolve(wine, seeds=2, epochs=4, hidden=8, alpha="0,0.1")

    def run(folder: Path, **options: Any) -> dict[str, Any]:
        progress = options.pop("progress", None)
        return run_comparison(Run(wine, None, specification, RunFolder(folder), **options), progress)

    return run


@pytest.fixture
def whole(compared: Compared, tmp_path: Path) -> list[dict[str, Any]]:
    """The models of a run that nothing happens to."""
    compared(tmp_path / "whole")
    return models_of(tmp_path / "whole")


@pytest.fixture
def interrupted(compared: Compared, tmp_path: Path) -> Path:
    """A run that was interrupted after the third epoch of its first stack."""

    def interrupt(name: str, done: int, total: int) -> None:
        if done == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        compared(tmp_path / "broken", progress=interrupt)
    return tmp_path / "broken"
