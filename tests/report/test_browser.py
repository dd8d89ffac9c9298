"""The page in a real browser, where one is installed: no error, no request, and the controls work."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distilled_experts.report import report_html

Build = Callable[..., dict[str, Any]]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")]

# Runs after the page's own script, and leaves what it saw in the title.
PROBE = """<script>
const problems = [];
document.addEventListener("securitypolicyviolation", (event) => problems.push(event.violatedDirective));
const heads = Array.from(document.querySelectorAll("table.sortable")[0].tHead.rows[0].cells);
heads[1].querySelector("button").click();
heads[1].querySelector("button").click();
const rows = document.querySelectorAll("table.sortable")[0].tBodies[0].rows;
const order = Array.from(rows, (row) => row.cells[0].innerText);
const requests = performance.getEntriesByType("resource").map((entry) => entry.name);
const wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
const record = JSON.parse(document.getElementById("record").textContent);
document.title = JSON.stringify([order, heads[1].ariaSort, problems, requests, wide, record.kind]);
</script>"""


def test_the_page_works_in_a_browser(compare_record: Build, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(report_html(compare_record()).replace("</body>", PROBE + "</body>"), encoding="utf-8")
    seen = subprocess.run(
        [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
         f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", seen.stdout)
    assert title is not None
    assert title[1] == '[["MoDE","MoE","dense"],"descending",[],[],false,"compare"]'
    assert "CONSOLE" not in seen.stderr
