"""`mode reproduce` from the outside: what it lists, shows and refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from distilled_experts.reproduction.registry import PIECES

RESULTS = Path(__file__).parents[2] / "reproduction" / "results"


@pytest.fixture(autouse=True)
def inside_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISTILLED_EXPERTS_DATA", raising=False)


def test_it_lists_every_piece_with_its_verdict_and_cost(mode):
    status, out, err = mode("reproduce", "--records", RESULTS)
    assert (status, err) == (0, "")
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert list(lines) == list(PIECES)
    assert "6 min" in lines["tabular-dense"]


def test_it_shows_a_piece_whose_records_are_there_and_writes_nothing(mode, tmp_path):
    status, out, err = mode("reproduce", "figure4", "--records", RESULTS)
    assert (status, err) == (0, "")
    assert "# The strength of distillation" in out
    assert "Cost of the records: 16 min." in out
    assert list(tmp_path.iterdir()) == []


def test_it_says_who_makes_records_that_it_does_not_make_itself(mode, tmp_path):
    (tmp_path / "results").mkdir()
    status, out, err = mode("reproduce", "translation", "--records", tmp_path / "results")
    assert (status, err.count("\n")) == (0, 1)
    assert err.startswith("translation: its records are made by python benchmarks/translation.py")
    assert "**Could not be checked**: not run yet." in out


def test_pages_go_where_they_are_asked_to_go(mode, tmp_path):
    shutil.copytree(RESULTS / "alpha", tmp_path / "results/alpha")
    status, _, err = mode("reproduce", "--tables", "--records", tmp_path / "results", "--out", tmp_path / "pages")
    assert (status, err) == (0, f"pages written to {tmp_path / 'pages'}\n")
    made = {str(path.relative_to(tmp_path / "pages")) for path in (tmp_path / "pages").rglob("*.*")}
    assert made == {"README.md", "tables/alpha.md", "tables/overview.md", "figures/alpha.svg", "figures/overview.svg"}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["table11"], "mode: piece: 'table11' is not allowed; allowed: tabular-dense, tabular-sparse, "),
        (["alpha", "--quick"], "mode: reproduce: ['PIECE', '--quick'] is not allowed; allowed: one of them"),
        ([], "mode: records: no folder 'reproduction/results'; go to the root of the repository, or name the folder"),
        (["--tables", "--records", "nowhere"], "mode: records: no folder 'nowhere'; "),
    ],
)
def test_bad_usage_is_one_line(mode, arguments, line):
    status, out, err = mode("reproduce", *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(line)
