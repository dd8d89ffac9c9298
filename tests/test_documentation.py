"""Every example that a reader meets runs: in docstrings, in the README and in the documentation."""

from __future__ import annotations

import builtins
import doctest
import importlib
import inspect
import os
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

import distilled_experts

ROOT = Path(__file__).parents[1]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# What the examples of docstrings may use without importing it, as is customary in numerical packages.
CUSTOMARY = {"np": np, "pd": pd, "torch": torch}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "howto").glob("*.md"))]


def module_names() -> Iterator[str]:
    yield distilled_experts.__name__
    for module in pkgutil.walk_packages(distilled_experts.__path__, f"{distilled_experts.__name__}."):
        if not module.name.endswith("__main__"):
            yield module.name


@pytest.mark.parametrize("name", list(module_names()))
def test_examples_in_docstrings(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, extraglobs=CUSTOMARY, optionflags=OPTIONS)
    assert not failed, "the report above shows the examples"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_in_pages(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    link_data(tmp_path)
    sybil = Sybil(parsers=[PythonCodeBlockParser(doctest_optionflags=OPTIONS), SkipParser()])
    document = sybil.parse(page)
    for example in document.examples():
        example.evaluate()
    run_tests(document.namespace, tmp_path)


def link_data(folder: Path) -> None:
    """Put tables that are not part of the package where pages look for them; without them these parts are skipped."""
    if "DISTILLED_EXPERTS_DATA" in os.environ:
        for table in Path(os.environ["DISTILLED_EXPERTS_DATA"]).resolve().rglob("*.csv.gz"):
            (folder / table.name).symlink_to(table)


def run_tests(names: dict[str, Any], folder: Path) -> None:
    """Run the tests that a page shows; `tmp_path` is the one fixture that they have."""
    # Sybil takes them out again, and modules written in C look for them there when they import.
    names["__builtins__"] = builtins
    for name in [name for name in names if name.startswith("test_")]:
        place = folder / name
        place.mkdir()
        names[name](**{fixture: {"tmp_path": place}[fixture] for fixture in inspect.signature(names[name]).parameters})
