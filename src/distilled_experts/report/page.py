"""One self-contained HTML page for a record: no request leaves the browser, nothing from a file is markup."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distilled_experts.report import formats, words
from distilled_experts.report.context import context_of
from distilled_experts.report.experts import embedded
from distilled_experts.report.records import check, script_json
from distilled_experts.report.values import Record, mean

if TYPE_CHECKING:
    from jinja2 import Environment


def report_html(record: Record) -> str:
    """Return the page for the record of a comparison, a sweep or a probing.

    Parameters
    ----------
    record : mapping or ProbeRecord
        What ``result.json`` holds, or what `distilled_experts.probing.probe` returns.

    Returns
    -------
    str
        HTML with styles, scripts, figures, their data and the record inside, of more than 16 experts without
        their scores on every domain. The same record gives the same text.

    Raises
    ------
    InvalidParameterError
        If ``record`` is of no known kind.
    """
    from distilled_experts.report.gallery import first_step, gallery

    record = check(record, "compare", "probe", "sweep")
    return render(
        f"{record['kind']}.html.j2",
        wings=gallery(record),
        first_step=first_step(record),
        record_json=script_json(embedded(record)),
        whole=embedded(record) is record,
        **context_of(record),
    )


def write_report(record: Record, path: str | os.PathLike[str]) -> Path:
    """Write the page for a record; a reader finds the old file or the new one, never half of one.

    Parameters
    ----------
    record : mapping or ProbeRecord
        As in `report_html`.
    path : str or path-like
        The file to write, in a folder that exists.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    InvalidParameterError
        If ``record`` is of no known kind.
    OSError
        If the file cannot be written.
    """
    target = Path(path)
    html = report_html(record)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(html, encoding="utf-8", newline="\n")
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def render(template: str, **context: Any) -> str:
    """Fill one of the templates of this package."""
    return _environment().get_template(template).render(**context)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("distilled_experts.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    named = {name: getattr(formats, name) for name in ("clean", "counted", "fixed", "percent", "signed", "tied")}
    named |= {
        name: getattr(formats, name)
        for name in ("probability", "strength", "whole", "seconds", "upper_first", "with_error")
    }
    environment.filters.update(named, mean=mean)
    environment.globals.update(words=words, arm_names=words.ARM_NAMES)
    return environment
