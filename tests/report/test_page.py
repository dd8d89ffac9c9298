from __future__ import annotations

import base64
import csv
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from distilled_experts.errors import InvalidParameterError
from distilled_experts.report import report_html, repr_html, write_report
from distilled_experts.report.gallery import gallery

Build = Callable[..., dict[str, Any]]
EVIL = "<script>alert('x')</script>"
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """What a browser sees: elements with attributes, text outside of styles and scripts, balance of the "
    "tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.stack: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack, f"</{tag}> closes nothing"
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        inside = self.stack[-1] if self.stack else ""
        if inside == "script":
            self.scripts.append(data)
        elif inside != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def figures(self) -> list[str]:
        return [card["id"] for card in self.all("article")]

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


CASES: list[Any] = [
    {},
    {"seeds": 1},
    {"experts": 1},
    {"seeds": 1, "experts": 1, "grid": [0.0]},
    {"task": "regression", "metric": "rmse", "scale": -54.2},
    {"why": True},
    pytest.param(
        {"why": True, "experts": 16, "grid": [0.0, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 10.0, 100.0]},
        marks=pytest.mark.slow,
    ),
    pytest.param({"why": True, "experts": 64, "seeds": 5}, marks=pytest.mark.slow),
    {"classes": [EVIL, "x" * 5000, "温度"] * 40, "data": EVIL},
]


@pytest.mark.parametrize("options", CASES, ids=lambda options: ",".join(options) or "usual")
def test_a_page_is_whole_small_and_asks_for_nothing(compare_record: Build, options: dict[str, Any]) -> None:
    html = report_html(compare_record(**options))
    page = Page(html)
    assert page.stack == []
    assert len(html.encode()) < 3_000_000
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "poster", "action", "data", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
    assert not re.search(r"https?://|//[a-z]|@import|url\((?!#)", re.sub(r"base64,[^\"]*", "", html))
    policy = next(meta for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"].startswith("default-src 'none'")
    assert "None" not in page.text
    assert "nan" not in page.text.split()


def test_a_page_shows_the_numbers(compare_record: Build) -> None:
    record = compare_record()
    text = Page(report_html(record)).text
    for arm in record["arms"].values():
        assert f"{arm['mean']:.4f} ± {arm['se']:.4f}" in text
        assert f"{arm['train_mean']:.4f} ± {arm['train_se']:.4f}" in text
    for key in ("difference", "mixture_difference", "own_domain_difference"):
        found = record[key]
        assert f"{found['mean']:+.4f} {found['low']:+.4f} to {found['high']:+.4f} 0.012" in text
    for arm in ("moe", "mode"):
        routing = record["probing"][arm]["routing_accuracy"]
        assert f"{sum(routing) / len(routing):.4f}" in text
    best = max(zip(*record["alpha_path"]["test_scores"], strict=True), key=sum)
    assert f"Highest mean at α = 0.03: {sum(best) / len(best):.4f}" in text
    assert "10 of 10 seeds" in text
    assert record["sentence"] in text


def test_every_exhibit_has_words_data_and_a_drawing(compare_record: Build) -> None:
    record = compare_record(why=True)
    page = Page(report_html(record))
    shown = [exhibit for wing in gallery(record) for exhibit in wing.exhibits]
    assert page.figures == [exhibit.key for exhibit in shown]
    assert len(shown) == 15
    views = [view for exhibit in shown for view in exhibit.views]
    alts = [element["aria-label"] for element in page.all("div") if element.get("role") == "img"]
    assert alts == [view.alt for view in views]
    assert [figure["data-name"] for figure in page.all("figure")] == [view.name for view in views]
    links = {link["download"]: link["href"] for link in page.all("a") if "download" in link}
    for exhibit in shown:
        rows = list(
            csv.reader(io.StringIO(base64.b64decode(links[f"{exhibit.key}.csv"].partition("base64,")[2]).decode()))
        )
        assert rows[0] == list(exhibit.data.header)
        assert len(rows) == len(exhibit.data.rows) + 1
    scores = dict(zip(("alpha", "mean"), zip(*shown[1].data.rows, strict=True), strict=False))
    assert scores["alpha"] == tuple(record["alpha_grid"])


def test_elements_have_unique_names_and_colours_follow_the_theme(compare_record: Build) -> None:
    html = report_html(compare_record(why=True))
    names = re.findall(r'\bid="([^"]*)"', html)
    assert len(names) == len(set(names))
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', html))
    assert used <= set(names)
    drawings = " ".join(re.findall(r"<svg.*?</svg>", html, re.DOTALL))
    assert set(re.findall(r"(?:fill|stroke): (#\w+)", drawings)) == set()
    for variable in set(re.findall(r"var\((--\w+)\)", html)):
        assert len(re.findall(rf"{variable}: ", html)) >= 2, f"{variable} is not defined for light and dark"


def test_names_from_the_users_file_stay_text(compare_record: Build) -> None:
    record = compare_record(data=EVIL, classes=[EVIL, '"><img src=x onerror=alert(1)>'], why=True)
    record["why"]["attention"]["columns"][0] = EVIL
    record["sentence"] = f"On {EVIL} nothing was found."
    record["notes"] = [EVIL]
    record["run"] = EVIL
    record["environment"][EVIL] = EVIL
    html = report_html(record)
    page = Page(html)
    assert EVIL not in html
    assert page.all("img") == []
    assert len(page.all("script")) == 2
    assert page.text.count(EVIL) >= 6
    short = Page(repr_html(record))
    assert short.all("script") == []
    assert EVIL in short.text


def test_the_whole_record_is_inside(compare_record: Build) -> None:
    record = compare_record(classes=[EVIL, "a & b", "\u2028", "</script x", "<!--<script"])
    page = Page(report_html(record))
    assert json.loads(page.scripts[0]) == record
    assert not set("<>&") & set(page.scripts[0])


def test_very_many_experts_leave_their_scores_to_the_file(compare_record: Build) -> None:
    record = compare_record(experts=17, seeds=2)
    page = Page(report_html(record))
    held = json.loads(page.scripts[0])
    assert "matrix" not in held["probing"]["moe"]
    assert held["probing"]["moe"]["shares"] == record["probing"]["moe"]["shares"]
    assert "without the scores of every expert on every domain" in page.text


def test_every_seed_is_listed_with_its_paired_difference(compare_record: Build) -> None:
    record = compare_record()
    text = Page(report_html(record)).text
    scores = [record["arms"][arm]["scores"] for arm in ("dense", "moe", "mode")]
    for seed, (dense, moe, mode) in enumerate(zip(*scores, strict=True)):
        alpha = record["alpha"][seed]
        assert f"{seed} {dense:.4f} {moe:.4f} {mode:.4f} {mode - moe:+.4f} {alpha:g}" in text


def test_numbers_that_json_does_not_know_become_null(compare_record: Build) -> None:
    record = compare_record()
    record["alpha_path"]["test_scores"][0][3] = float("nan")
    record["arms"]["dense"]["scores"][2] = float("inf")
    record["difference"]["p"] = float("nan")
    page = Page(report_html(record))
    embedded = json.loads(page.scripts[0], parse_constant=lambda name: pytest.fail(name))
    assert embedded["alpha_path"]["test_scores"][0][3] is None
    assert embedded["arms"]["dense"]["scores"][2] is None


def test_one_seed_and_one_expert_are_said(compare_record: Build) -> None:
    page = Page(report_html(compare_record(seeds=1, experts=1, grid=[0.0])))
    assert "nothing to distil" in page.text
    record = compare_record(experts=1)
    record["probing"] = {"moe": {"shares": [[1.0]], "matrix": [[[0.9]]], "own_domain": [0.9]}}
    assert "nothing to distil" in Page(report_html(record)).text
    assert "no interval" in page.text
    assert page.figures == ["differences", "learning-curves"]


def test_a_missing_part_leaves_the_rest(compare_record: Build) -> None:
    record = compare_record()
    for key in ("curves", "alpha_path", "probing", "own_domain_difference", "environment", "notes", "run"):
        record[key] = None
    page = Page(report_html(record))
    assert page.figures == ["differences"]
    bare = {key: record[key] for key in ("format", "kind", "data", "metric", "seeds", "arms")}
    assert Page(report_html(bare)).figures == []


def test_a_sweep_page_shows_every_cell(sweep_record: Build) -> None:
    record = sweep_record()
    html = report_html(record)
    page = Page(html)
    assert page.stack == []
    for cell in record["cells"]:
        assert f"{cell['experts']} {cell['alpha']:g} {cell['mean']:.4f} ± {cell['se']:.4f} " in page.text
    measures = ("score", "own-domain", "similarity", "narrow-vision")
    assert page.figures == [f"{name}-against-{along}" for along in ("alpha", "experts") for name in measures]
    assert "E = 16: 0.9539 at α = 0.1" in page.text
    assert "▼ marks" in page.text
    assert "Best cell" in page.text
    assert report_html(sweep_record(seeds=1, experts=(1,), grid=[0.0]))


def test_the_same_record_gives_the_same_bytes(compare_record: Build, tmp_path: Path) -> None:
    first, second = tmp_path / "a.html", tmp_path / "b.html"
    assert write_report(compare_record(), first) == first
    write_report(json.loads(json.dumps(compare_record())), second)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_a_failed_write_leaves_the_old_page_and_no_rubbish(
    compare_record: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "report.html"
    target.write_text("old")

    def fail(self: Path, target: Path) -> Path:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(compare_record(), target)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert target.read_text() == "old"


def test_what_is_no_record_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterError, match="kind"):
        write_report({"kind": "fit", "format": 1}, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_notebooks_get_a_short_table(compare_record: Build, sweep_record: Build) -> None:
    record = compare_record()
    text = Page(repr_html(record)).text
    assert f"{record['arms']['mode']['mean']:.4f} ± {record['arms']['mode']['se']:.4f}" in text
    assert f"{record['difference']['mean']:+.4f}" in text
    assert record["sentence"] in text
    assert "0.9539" in Page(repr_html(sweep_record())).text
    assert "None" not in repr_html(compare_record(seeds=1, experts=1))
