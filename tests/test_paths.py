"""The maps for those who change something lead to files that exist, and name what is in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "distilled_experts"
PAGES = [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs" / "howto").glob("*.md"))]
# What commands make, and what stands for the file of any package.
NOT_COMMITTED = (".venv/", "build/", "__init__.py")


def prose_of(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def paths_of(text: str) -> set[str]:
    """Inline code that is nothing but a path."""
    spans = re.findall(r"`([\w.-]*(?:/[\w.-]+)+/?|[\w-]+\.(?:py|md|toml|txt|cff))`", prose_of(text))
    return {path for path in spans if not path.startswith(NOT_COMMITTED)}


def names_of(text: str) -> set[str]:
    """Inline code that is nothing but a private name, a constant or a test."""
    return set(re.findall(r"`(_[a-zA-Z]\w+|[A-Z_]{4,}|test_\w+)`", prose_of(text)))


def links_of(text: str) -> set[str]:
    return set(re.findall(r"\]\(([^)#:]+)\)", text))


def found(path: str) -> list[Path]:
    return [home / path for home in (ROOT, PACKAGE) if (home / path).exists()]


def code_in(path: Path) -> str:
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def test_what_is_looked_for_is_told_from_other_code() -> None:
    text = (
        "`cli.py` `docs/api.md`, `.ci/run` `a/b.py --write` `nn.Linear` `(N, d)` `.venv/bin/x` `_HUB` `test_it` `N`\n"
    )
    text += "```\n`no/no.py` `_no`\n```\n"
    assert paths_of(text) == {"cli.py", "docs/api.md", ".ci/run"}
    assert names_of(text) == {"_HUB", "test_it"}
    assert len(paths_of(PAGES[0].read_text(encoding="utf-8"))) > 50


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_and_name_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    paths = {path: found(path) for path in paths_of(text)}
    lost = {path for path, places in paths.items() if not places}
    lost |= {target for target in links_of(text) if not (page.parent / target).exists()}
    code = "\n".join(code_in(place) for places in paths.values() for place in places)
    lost |= {name for name in names_of(text) if not re.search(rf"\b{name}\b", code)}
    assert not lost
