"""Names and cells of strangers stay text: in folders, on terminals, on pages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilled_experts.errors import DataError
from distilled_experts.experiments.comparison import Comparison
from distilled_experts.experiments.reading import read_frame
from distilled_experts.experiments.records import choose_folder

MARKUP = "<script>alert(1)</script>"
NAMES = [MARKUP, "../../up", "=HYPERLINK('http://x')", "[/b]$x^$", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}"]
FORMULA = "=cmd|' /C calc'!A0"


class Elements(HTMLParser):
    """Counts the elements of a page, and finds attributes that run code."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, int] = {}
        self.running: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found[tag] = self.found.get(tag, 0) + 1
        self.running += [name for name, value in attributes if name.startswith("on") or "javascript:" in (value or "")]


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = {name: [str((i * 7 + j) % 5) + ("" if j % 2 else MARKUP) for i in range(60)] for j, name in enumerate(NAMES)}
    frame = pd.DataFrame(rows | {"target": [FORMULA, MARKUP, "plain"] * 20})
    frame.to_csv(tmp_path / "[red]mine$.csv", index=False)
    return tmp_path / "[red]mine$.csv"


@pytest.mark.slow
def test_a_table_full_of_markup_gives_a_page_without_any_of_it(
    mode: Callable[..., tuple[object, str, str]], table: Path, tmp_path: Path
) -> None:
    small = ["--seeds", 1, "--epochs", 2, "--hidden", 4, "--alpha", 0.1]
    status, out, err = mode("compare", table, *small)
    assert (status, err) == (0, "")
    assert "[red]mine$" in out
    run = next((tmp_path / "runs").iterdir())
    assert re.fullmatch(r"red_mine-[\d-]+", run.name)
    page = Elements((run / "report.html").read_text())
    assert page.running == []
    assert page.found.get("img", 0) == 0
    assert page.found["script"] == 2
    assert json.loads((run / "result.json").read_text())["classes"] == sorted([FORMULA, MARKUP, "plain"])
    assert {path.name for path in tmp_path.iterdir()} == {"runs", table.name}


def test_formulas_are_text_from_the_first_file_to_the_last(
    mode: Callable[..., tuple[object, str, str]], table: Path
) -> None:
    assert read_frame(table)["target"].tolist()[:3] == [FORMULA, MARKUP, "plain"]
    assert mode("fit", table, "--epochs", 1, "--hidden", 4, "--out", "model")[0] == 0
    status, out, _ = mode("predict", "model", table)
    assert status == 0
    assert f"probability_{FORMULA}" in out.splitlines()[0]


@given(name=st.text(min_size=1))
def test_the_folder_of_a_run_is_one_level_below_runs_whatever_the_data_are_called(name: str) -> None:
    path = choose_folder(None, Comparison(name, "classification", "accuracy"), resume=False).path
    assert path.parts[0] == "runs"
    assert len(path.parts) == 2
    assert path.name not in ("", ".", "..")
    assert len(path.name.encode()) <= 255


@given(name=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_errors_are_one_printable_line(name: str) -> None:
    message = str(DataError(f"column '{name}' and \x1b[2J\x07\u202e"))
    assert message.isprintable()
    assert len(message.splitlines()) == 1
    assert len(str(DataError("x" * 10**6))) < 1100


def test_names_that_no_file_can_have_are_bad_usage(mode: Callable[..., tuple[object, str, str]]) -> None:
    for arguments in (["compare", "9" * 400], ["predict", "x" * 300, "a.csv"], ["fit", "wine", "--out", "x" * 300]):
        status, out, err = mode(*arguments)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert "too long" in err
