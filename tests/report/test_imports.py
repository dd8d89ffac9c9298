from __future__ import annotations

import subprocess
import sys

import pytest

from distilled_experts import report


def test_importing_the_reports_loads_nothing_heavy() -> None:
    code = (
        "import sys, distilled_experts.report;"
        "heavy = {'matplotlib', 'jinja2', 'rich', 'torch', 'numpy', 'pandas', 'sklearn'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_page_needs_no_tensor_library() -> None:
    code = (
        "import sys; from distilled_experts.report import report_html;"
        "record = {'format': 1, 'kind': 'sweep', 'data': 'x', 'metric': 'accuracy', 'seeds': 1, 'alpha': [],"
        "          'experts': [], 'cells': []};"
        "report_html(record);"
        "heavy = {'torch', 'pandas', 'sklearn'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", report.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert name in dir(report)
    assert getattr(report, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        report.__getattr__("nothing")
