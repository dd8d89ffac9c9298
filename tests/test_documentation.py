"""Every example that a reader meets runs: in docstrings, in the README and in the documentation."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

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
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_in_pages(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sybil = Sybil(parsers=[PythonCodeBlockParser(doctest_optionflags=OPTIONS), SkipParser()])
    for example in sybil.parse(page).examples():
        example.evaluate()
