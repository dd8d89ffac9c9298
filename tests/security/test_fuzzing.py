"""A short form of ``benchmarks/fuzzing.py``: bad inputs of every kind end well."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "fuzzing.py"
RECORD = PROGRAM.parent / "results" / "fuzzing.json"


@pytest.mark.slow
def test_bad_inputs_are_refused_in_one_line() -> None:
    done = subprocess.run([sys.executable, str(PROGRAM), "--inputs", "100"], stdout=subprocess.PIPE, check=False)
    record = json.loads(done.stdout)
    assert {name: kind["wrong"] for name, kind in record["kinds"].items() if kind["failed"]} == {}
    assert done.returncode == 0
    for name, kind in record["kinds"].items():
        assert kind["inputs"] == 100, name
        assert kind["refused"] >= 25, name


def test_the_record_has_a_hundred_thousand_refusals_and_no_failure() -> None:
    record = json.loads(RECORD.read_text())
    assert sum(kind["refused"] for kind in record["kinds"].values()) >= 100_000
    assert record["failed"] == 0
    assert all(kind["slowest_seconds"] < 5 for kind in record["kinds"].values())
