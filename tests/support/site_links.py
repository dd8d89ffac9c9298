"""Links and anchors of HTML pages in a folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class _Parser(HTMLParser):
    """Collects what a page can be entered by, and what it refers to."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors |= {value for name in ("id", "name") if (value := given.get(name))}
        self.links += [value for name in ("href", "src") if (value := given.get(name)) is not None]


@cache
def _parsed(page: Path) -> _Parser:
    parser = _Parser()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser


def targets(page: Path) -> list[tuple[str, Path, str]]:
    """Of a page's links within its site: as they are written, the file, and the anchor or an empty text."""
    found = []
    for link in _parsed(page).links:
        parts = urlsplit(link)
        if not parts.scheme and not parts.netloc:
            file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            found.append((link, file, unquote(parts.fragment)))
    return found


def broken(page: Path) -> list[str]:
    """The links of a page that lead to no file, or to no anchor of it."""
    return [link for link, file, anchor in targets(page) if not _leads_somewhere(file, anchor)]


def _leads_somewhere(file: Path, anchor: str) -> bool:
    if not anchor or file.suffix != ".html":
        return file.is_file()
    return file.is_file() and anchor in _parsed(file).anchors


def reached(start: Path) -> set[Path]:
    """All pages that one comes to from a page."""
    seen, left = {start}, [start]
    while left:
        pages = {file for _, file, _ in targets(left.pop()) if file.suffix == ".html" and file.is_file()}
        left += pages - seen
        seen |= pages
    return seen
