"""``kill -9`` at every moment of a run: what is continued ends as if nothing had happened."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "support" / "killed_runs.py"


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    folder = tmp_path_factory.mktemp("killed")
    subprocess.run([sys.executable, str(PROGRAM), str(folder)], check=True)
    return json.loads((folder / "ends.json").read_text())


@pytest.mark.slow
def test_a_comparison_killed_at_any_moment_ends_with_the_same_record(ends: dict[str, dict[str, str]]) -> None:
    moments = ends["killed_comparisons"]
    assert {moment: end for moment, end in moments.items() if end != "same"} == {}
    phases = {re.sub(r" \d+ ", " ", moment) for moment in moments}
    assert phases >= {"training", "rendering", "half of checkpoint.safetensors", "before metrics.jsonl", "after DONE"}


@pytest.mark.slow
def test_models_trained_one_by_one_are_the_same_after_a_kill(ends: dict[str, dict[str, str]]) -> None:
    assert set(ends["killed_cells"].values()) == {"same"}
    assert len(ends["killed_cells"]) == 6


@pytest.mark.slow
def test_a_model_that_replaces_another_is_there_or_the_other_is(ends: dict[str, dict[str, str]]) -> None:
    # Weights, description (which makes it the new one), and the weights' last name: before and after each.
    assert list(ends["killed_saves"].values()) == ["0", "0", "0", "1", "1", "1"]
