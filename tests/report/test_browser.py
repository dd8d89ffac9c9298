"""Pages in a real browser: no error, no request, and the controls work. What they look like is kept in build/pages."""

from __future__ import annotations

import csv
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from chromium import SIZES, chromium
from playwright.sync_api import Browser, Download, Locator, Page

from distilled_experts.report import report_html

Build = Callable[..., dict[str, Any]]
Open = Callable[..., Page]
pytestmark = pytest.mark.slow

PICTURES = Path(__file__).parents[2] / "build" / "pages"
EVIL = "<script>document.title = 'taken over'</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Open the page of a record; in the end, no page may have complained or asked for anything."""
    file, seen, contexts = tmp_path / "report.html", [], []

    def opened(record: dict[str, Any], *, theme: str = "light", script: bool = True) -> Page:
        file.write_text(_html(json.dumps(record)), encoding="utf-8")
        context = browser.new_context(viewport=SIZES["desk"], color_scheme=theme, java_script_enabled=script)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: seen.append(message.text))
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.on("dialog", lambda dialog: seen.append(dialog.message))
        page.on("request", lambda request: seen.append(request.url) if request.url != file.as_uri() else None)
        page.goto(file.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [entry for entry in seen if not entry.startswith(("data:", "blob:"))] == []


@cache
def _html(record: str) -> str:
    return report_html(json.loads(record))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("kind", "options"), [("compare", {"why": True}), ("probe", {}), ("sweep", {})])
def test_every_page_can_be_read_by_all(
    request: pytest.FixtureRequest, open_page: Open, kind: str, options: dict[str, Any], theme: str
) -> None:
    page = open_page(request.getfixturevalue(f"{kind}_record")(**options), theme=theme)
    for size, viewport in SIZES.items():
        page.set_viewport_size(viewport)
        page.screenshot(path=PICTURES / f"{kind}-{theme}-{size}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        # Contrast, names of controls, order of headings, what can be reached by keyboard.
        found = Axe().run(page).response["violations"]
        assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found] == []


def test_the_control_steps_through_alpha(compare_record: Build, open_page: Open) -> None:
    record = compare_record(why=True)
    page = open_page(record)
    control, output = page.get_by_role("slider", name="Strength of distillation"), page.locator(".stepper output")
    domains, matrix = page.locator("#domains figure:visible"), page.locator("#expert-domain-matrix figure:visible")
    assert output.inner_text() == "α = 0.03, chosen by 5 of 10 seeds"
    assert _alphas(matrix) == "0.03"
    before = domains.inner_html()
    control.focus()
    for key, alpha in (("ArrowLeft", "0.01"), ("End", "0.1"), ("ArrowLeft", "0.03"), ("Home", "0")):
        page.keyboard.press(key)
        assert re.match(rf"α = {alpha}\b", output.inner_text())
        assert control.get_attribute("aria-valuetext") == output.inner_text()
        for figure in (domains, matrix):
            assert figure.count() == 1
            assert _alphas(figure) == alpha
            assert f"α = {alpha}" in figure.locator("figcaption").inner_text().replace("\N{NO-BREAK SPACE}", " ")
    assert domains.inner_html() != before
    page.screenshot(path=PICTURES / "compare-alpha-0.png", full_page=True)


def _alphas(figure: Locator) -> str:
    (found,) = set(re.findall(r"MoDE, α = ([\d.]+)", figure.locator("svg").text_content() or ""))
    return found


def test_print_shows_the_chosen_alpha_alone(compare_record: Build, open_page: Open) -> None:
    page = open_page(compare_record(why=True))
    page.get_by_role("slider").press("End")
    page.emulate_media(media="print")
    page.pdf(path=PICTURES / "compare-print.pdf", format="A4", print_background=True)
    assert page.locator(".stepper output").inner_text().startswith("α = 0.1,")
    assert page.get_by_role("slider").count() == 0
    assert page.locator("#domains figure:visible").count() == 1
    assert page.get_by_text("Download SVG").and_(page.locator(":visible")).count() == 0


def test_without_a_script_one_alpha_is_shown_and_no_control(compare_record: Build, open_page: Open) -> None:
    page = open_page(compare_record(why=True), script=False)
    assert page.get_by_role("slider").count() == 0
    assert page.locator("#domains figure:visible").count() == 1
    assert _alphas(page.locator("#domains figure:visible")) == "0.03"
    assert page.locator("a[href='#']:visible").count() == 0


def test_tables_are_sorted_by_mouse_and_keyboard(compare_record: Build, open_page: Open) -> None:
    page = open_page(compare_record(why=True))
    table = page.locator("table.sortable").first
    head = table.get_by_role("columnheader", name="Test accuracy")
    head.get_by_role("button").click()
    assert table.locator("tbody th").all_inner_texts() == ["dense", "MoE", "MoDE"]
    assert head.get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Enter")
    assert table.locator("tbody th").all_inner_texts() == ["MoDE", "MoE", "dense"]
    assert head.get_attribute("aria-sort") == "descending"


def test_figures_data_and_record_are_downloaded(compare_record: Build, open_page: Open) -> None:
    record = compare_record(why=True)
    page = open_page(record, theme="dark")
    page.get_by_role("slider").press("End")
    card = page.locator("#expert-domain-matrix")
    drawing = _downloaded(page, card.get_by_role("link", name="Download SVG"))
    assert drawing.suggested_filename == "expert-domain-matrix-alpha-0.1.svg"
    svg = drawing.path().read_text(encoding="utf-8")
    assert ET.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert "MoDE, α = 0.1" in svg
    assert "#1c2127" in svg
    assert "var(" not in svg
    table = _downloaded(page, card.get_by_role("link", name="Data as CSV"))
    assert table.suggested_filename == "expert-domain-matrix.csv"
    rows = list(csv.DictReader(table.path().read_text(encoding="utf-8").splitlines()))
    assert {row["alpha"] for row in rows} == {f"{alpha:g}" for alpha in record["alpha_grid"]}
    whole = _downloaded(page, page.get_by_role("link", name="Download the record"))
    assert json.loads(whole.path().read_text(encoding="utf-8")) == record


def _downloaded(page: Page, link: Locator) -> Download:
    with page.expect_download() as found:
        link.click()
    return found.value


def test_names_from_the_users_file_stay_text(compare_record: Build, probe_record: Build, open_page: Open) -> None:
    comparison = compare_record(data=EVIL, classes=[EVIL, "b"], why=True)
    comparison["why"]["attention"]["columns"][0] = EVIL
    probing = probe_record(classes=(EVIL, "b"), data=EVIL, model=EVIL, target=EVIL)
    for record in (comparison, probing):
        page = open_page(record)
        assert page.get_by_role("heading", level=1).inner_text() == EVIL
        assert page.title().startswith(EVIL)
        assert page.locator("img").count() == 0
