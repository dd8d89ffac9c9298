"""The documentation as `make docs` left it: nothing leads nowhere, it can be searched, and everybody can read it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from chromium import SIZES, chromium
from playwright.sync_api import Browser, Page, expect
from site_links import broken, reached

ROOT = Path(__file__).parents[1]
SITE = ROOT / "docs" / "_build" / "html"
PICTURES = ROOT / "build" / "pages"
READ = ("index.html", "compare.html", "examples/index.html", "examples/own_network.html")
Open = Callable[..., Page]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pages() -> list[Path]:
    """All pages of the site."""
    if not (SITE / "index.html").exists():
        assert not os.environ.get("CI"), "docs/_build/html holds no site; `make docs` comes first"
        pytest.skip("docs/_build/html holds no site; `make docs` makes it")
    return sorted(page for page in SITE.rglob("*.html") if SITE / "_static" not in page.parents)


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_request(self, *about: object) -> None: ...


@pytest.fixture(scope="module")
def address(pages: list[Path]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(SITE)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser(pages: list[Path]) -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def open_page(browser: Browser, address: str) -> Iterator[Open]:
    """Open a page of the site; in the end, no page may have complained, or have missed or asked for anything."""
    complaints, contexts = [], []

    def opened(name: str, *, size: str = "desk", theme: str = "light") -> Page:
        context = browser.new_context(viewport=SIZES[size], color_scheme=theme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("response", lambda answer: complaints.append(answer.url) if answer.status >= 400 else None)
        page.on("request", lambda asked: complaints.append(asked.url) if _foreign(asked.url, address) else None)
        page.goto(address + name)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def _foreign(url: str, address: str) -> bool:
    return not url.startswith((address, "data:", "blob:"))


def test_every_link_leads_to_a_file_and_an_anchor(pages: list[Path]) -> None:
    found = {str(page.relative_to(SITE)): broken(page) for page in pages}
    assert {page: links for page, links in found.items() if links} == {}


def test_every_page_is_reached_from_the_first(pages: list[Path]) -> None:
    assert set(pages) - reached(SITE / "index.html") - {SITE / "search.html"} == set()


def test_every_example_ran(pages: list[Path]) -> None:
    examples = {path.stem for path in (ROOT / "examples").glob("*.py")}
    assert {page.stem for page in pages if page.parent == SITE / "examples"} - {"index"} == examples
    for name in examples:
        assert "sphx-glr-script-out" in (SITE / "examples" / f"{name}.html").read_text(encoding="utf-8")


def test_the_groups_are_at_the_top_of_every_page(open_page: Open) -> None:
    for name in READ:
        links = open_page(name).locator("header .bd-navbar-elements a.nav-link")
        assert links.all_inner_texts() == ["Start", "Guides", "Examples", "In depth", "Extend", "API"]


def test_pages_ask_for_nothing_from_elsewhere(open_page: Open, pages: list[Path]) -> None:
    view = open_page("index.html")
    home = view.url.removesuffix("index.html")
    for page in pages:
        if page.parent in (SITE, SITE / "examples", SITE / "howto"):
            view.goto(home + page.relative_to(SITE).as_posix())


@pytest.mark.parametrize(("words", "page"), [("mutual distillation", "concepts"), ("own domain", "concepts")])
def test_the_search_finds_pages(open_page: Open, words: str, page: str) -> None:
    found = open_page(f"search.html?q={words}").locator("#search-results li a")
    expect(found.first).to_be_visible()
    expect(found.and_(found.page.locator(f"[href^='{page}.html']")).first).to_be_visible()
    for link in found.all():
        assert (SITE / urlsplit(link.get_attribute("href") or "").path).is_file()


def test_the_search_is_reached_by_keyboard(open_page: Open) -> None:
    page = open_page("index.html")
    for _ in range(15):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.search-button, .search-button-field')"):
            break
    page.keyboard.press("Enter")
    expect(page.locator("input[type=search]:focus")).to_be_visible()
    page.keyboard.type("own domain")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=own+domain*")
    expect(page.locator("#search-results li a").first).to_be_visible()


@pytest.mark.parametrize(("size", "theme"), [("desk", "light"), ("desk", "dark"), ("phone", "light")])
@pytest.mark.parametrize("name", READ)
def test_everybody_can_read_it(open_page: Open, name: str, size: str, theme: str) -> None:
    page = open_page(name, size=size, theme=theme)
    page.screenshot(path=PICTURES / f"site-{name.replace('/', '-')}-{size}-{theme}.png")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    # Preloading would ask for style sheets at addresses that axe gets wrong.
    rules = Axe().run(page, options={"preload": False}).response["violations"]
    serious = [rule for rule in rules if rule["impact"] in ("serious", "critical")]
    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in serious] == []
