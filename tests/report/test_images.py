"""The parts of a page that comparisons of images have beside those of tables."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from distilled_experts.report import report_html
from distilled_experts.report.images import by_class, sheets

PNG = base64.b64encode(b"\x89PNG and so on").decode()


@pytest.fixture
def record(compare_record: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    found = compare_record()
    examples = {
        arm: [
            {"share": 0.75, "classes": ["cat", "cat", "dog"], "png": PNG},
            {"share": 0, "classes": [], "png": None},
        ]
        for arm in ("moe", "mode")
    }
    scores = {arm: [0.5, 0.25] for arm in ("dense", "moe", "mode")}
    return found | {"classes": ["cat", "dog"], "examples": examples, "by_class": scores}


def test_sheets_say_what_they_show_and_empty_domains_have_none(record):
    (moe, (sheet,)), (mode, _) = sheets(record)
    assert (moe, mode) == ("moe", "mode")
    assert sheet.link == f"data:image/png;base64,{PNG}"
    assert sheet.alt == "3 test images: cat (2), dog (1)"
    assert sheet.caption == "Domain 1, 75 % of the images: mostly cat (2), dog (1)"


def test_the_page_shows_them(record):
    html = report_html(record)
    assert html.count(f'src="data:image/png;base64,{PNG}"') == 2
    assert "Accuracy in each class" in html


def test_a_table_has_neither(compare_record):
    html = report_html(compare_record())
    assert "What each domain looks like" not in html
    assert "Accuracy in each class" not in html


@pytest.mark.parametrize("png", ['" onerror="alert(1)', base64.b64encode(b"<svg>").decode(), "é", "%%%"])
def test_what_is_no_png_is_not_shown(record, png):
    record["examples"]["moe"][0] = {"share": 1, "classes": ["<script>"], "png": png}
    assert [arm for arm, _ in sheets(record)] == ["mode"]
    assert f'src="data:image/png;base64,{png}' not in report_html(record)


def test_names_of_classes_are_escaped(record):
    record["examples"]["moe"][0]["classes"] = ["<b>bold</b>"]
    record["classes"][0] = "<b>bold</b>"
    html = report_html(record)
    assert "<b>bold" not in html
    assert by_class(record)[0] == ("<b>bold</b>", [0.5, 0.5, 0.5])
