"""Reports: records in; terminal text, figures and one self-contained HTML page out.

A record is a plain mapping, as ``result.json`` holds it, so a report can be made again from a committed
file alone. Nothing here trains, reads data or knows a tensor library; matplotlib, Jinja2 and rich are
imported when they are first needed.

Examples
--------
>>> from distilled_experts.report import write_report
>>> from pathlib import Path
>>> import json
>>> record = json.loads(Path("runs/digits/result.json").read_text())  # doctest: +SKIP
>>> write_report(record, "report.html")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from distilled_experts.lazy import lazy_names

if TYPE_CHECKING:
    from distilled_experts.report import figures
    from distilled_experts.report.gallery import write_figures
    from distilled_experts.report.html import repr_html
    from distilled_experts.report.page import report_html, write_report
    from distilled_experts.report.text import (
        compare_renderable,
        compare_text,
        probe_renderable,
        probe_text,
        sweep_renderable,
        sweep_text,
    )

__all__ = [
    "compare_text",
    "sweep_text",
    "probe_text",
    "compare_renderable",
    "sweep_renderable",
    "probe_renderable",
    "report_html",
    "write_report",
    "write_figures",
    "repr_html",
    "figures",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "compare_text": "text",
        "sweep_text": "text",
        "probe_text": "text",
        "compare_renderable": "text",
        "sweep_renderable": "text",
        "probe_renderable": "text",
        "report_html": "page",
        "write_report": "page",
        "write_figures": "gallery",
        "repr_html": "html",
        "figures": "figures",
    },
)
