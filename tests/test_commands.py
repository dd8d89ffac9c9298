"""Every command that a page shows is one: its options exist, and those on a table of one's own run as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from distilled_experts.cli import cli
from distilled_experts.reproduction.registry import find_piece

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md", "reproduction/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "howto").glob("*.md")),
]
# In the order in which they run, with what makes them take seconds.
QUICK = {"compare": ["--seeds", "1", "--epochs", "3"], "fit": ["--epochs", "3"], "predict": [], "probe": []}


def split(command: str) -> list[str]:
    """Name and arguments, without what the shell would do or what is said beside it."""
    return shlex.split(re.split(r" > | #", command)[0])[1:]


def whole_commands(page: Path) -> list[list[str]]:
    """Those on lines of their own."""
    return [split(found) for found in re.findall(r"^mode [a-z].*$", page.read_text(encoding="utf-8"), re.MULTILINE)]


def mentioned_commands(page: Path) -> list[list[str]]:
    """Those within a sentence, which may leave out what does not matter there."""
    return [split(found) for found in re.findall(r"`(mode [a-z][^`]*)`", page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_is_understood(page: Path) -> None:
    for name, *rest in whole_commands(page):
        cli.commands[name].make_context(name, list(rest))
    for name, *rest in (*whole_commands(page), *mentioned_commands(page)):
        known = {spelling for option in cli.commands[name].params for spelling in option.opts}
        assert {word for word in rest if word.startswith("-")} <= known
        if name == "reproduce" and rest and rest[0][0] not in "-I":
            find_piece(rest[0])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_target_of_make_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"^ *make ([a-z]+) +#", text, re.MULTILINE) + re.findall(r"`make ([a-z]+)`", text)
    assert set(named) <= targets


@pytest.fixture
def sales(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the pages name, in the current folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"visits": rng.poisson(3, 150), "region": rng.choice(["north", "south"], 150)})
    table["churn"] = np.where(table["visits"] + rng.normal(size=150) > 3, "no", "yes")
    table[:100].to_csv("sales.csv", index=False)
    table[100:].to_csv("held_out.csv", index=False)
    table[100:].drop(columns="churn").to_csv("new.csv", index=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/compare.md"])
def test_commands_on_a_table_of_ones_own_run(mode, sales, page: str) -> None:
    commands = [*whole_commands(ROOT / page), *mentioned_commands(ROOT / page)]
    ours = [command for command in commands if command[0] in QUICK and {"sales.csv", "model/"} & set(command)]
    if "fit" not in [command[0] for command in ours]:
        ours.append(["fit", "sales.csv", "--target", "churn", "--out", "model/"])
    for command in sorted(ours, key=lambda command: list(QUICK).index(command[0])):
        status, _, err = mode(*command, *QUICK[command[0]])
        assert status == 0, (command, err)
