"""What tests of faults ask of a small comparison."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Compared = Callable[..., dict[str, Any]]
"""Runs or continues it in a folder."""


def models_of(folder: Path) -> list[dict[str, Any]]:
    """Models that a run has recorded, but for times."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]
