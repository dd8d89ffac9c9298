"""Quantised models can be attached to. torchao is fetched for these tests alone, into a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_models_that_torchao_quantised(tmp_path: Path) -> None:
    fetch = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(tmp_path),
        "torchao==0.18.0",
    ]
    subprocess.run(fetch, check=True)
    paths = os.pathsep.join([str(tmp_path), str(HERE.parent / "support")])
    # torchao warns of kernels for other machines, and of PyTorch.
    command = [sys.executable, "-m", "pytest", str(HERE / "quantised_cases.py"), "-q", "-p", "no:xdist", "-W", "ignore"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
    assert "6 passed" in done.stdout
