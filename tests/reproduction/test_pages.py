"""The committed pages are what the committed records say, and no tensor library is needed for that."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from distilled_experts.reproduction.page import piece_text
from distilled_experts.reproduction.piece import VERDICTS
from distilled_experts.reproduction.registry import PIECES

HOME = Path(__file__).parents[2] / "reproduction"
WITHOUT_TORCH = """
import sys

class Refused:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] in ("torch", "sklearn", "transformers"):
            raise ImportError(f"{name} is not to be imported")

sys.meta_path.insert(0, Refused())
from distilled_experts.cli import main
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    arguments = ["reproduce", "--tables", "--records", HOME / "results", "--out", folder]
    subprocess.run([sys.executable, "-W", "error", "-c", WITHOUT_TORCH, *map(str, arguments)], check=True)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "results" not in path.relative_to(folder).parts
    }


@pytest.mark.slow
def test_the_committed_pages_are_made_from_the_committed_records_without_torch(pages):
    made, committed = files(pages), files(HOME)
    assert sorted(made) == sorted(committed)
    assert [name for name in made if made[name] != committed[name]] == []


@pytest.mark.slow
def test_every_link_of_the_pages_leads_to_a_file(pages):
    for path in pages.rglob("*.md"):
        for target in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


@pytest.mark.parametrize("name", list(PIECES))
def test_every_piece_says_what_the_paper_shows_and_has_a_verdict(name):
    piece = PIECES[name]
    outcome = piece.examine(HOME / "results")
    assert outcome.verdict in VERDICTS
    text = piece_text(piece, outcome)
    assert f"# {piece.title}" in text
    assert f"**{outcome.verdict.capitalize()}" in text
    if outcome.finding is not None:
        assert outcome.finding.claims
        assert not re.search(r"\bnan\b", text)


def test_numbers_of_tables_and_figures_are_given_once():
    numbers = [piece.number for piece in PIECES.values() if piece.number]
    assert len(set(numbers)) == len(numbers)
    assert {f"table {n}" for n in range(1, 11)} | {f"figure {n}" for n in range(1, 5)} == set(numbers)


def test_records_are_small_and_hold_no_path_of_a_machine():
    for path in (HOME / "results").rglob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert len(text) < 150_000, path
        run = json.loads(text).get("run")
        assert run is None or not Path(run).is_absolute(), path


def test_fits_to_one_split_of_a_table_saw_the_same_rows():
    rows = defaultdict(set)
    for path in (HOME.parent / "benchmarks" / "results" / "tabular").rglob("*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        if "failed" not in record:
            rows[record["data"], record["seed"]].add(record["rows"]["digest"])
    assert rows
    assert all(len(digests) == 1 for digests in rows.values())
