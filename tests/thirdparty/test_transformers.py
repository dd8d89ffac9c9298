"""The tests that Transformers has for each of its models, on swapped and attached ones.

They are not installed with Transformers: its source distribution of the same version is fetched by pip.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import transformers

CASES = Path(__file__).parent / "modeling_cases.py"
# Modules that the common tests import and that need far more than what is tested here.
STUBS = {
    "exporters/test_export.py": "class ExportTesterMixin: pass",
    "generation/test_utils.py": "class GenerationTesterMixin: pass",
}
# Its backward pass leaves out the loss that the model returns. That is an error on purpose.
LEAVES_OUT_THE_LOSS = {"test_retain_grad_hidden_states_attentions"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fetch the tests of Transformers, with this package's cases among them."""
    target = tmp_path_factory.mktemp("transformers")
    name = f"transformers-{transformers.__version__}"
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*fetch, "--no-binary=:all:", "--dest", str(target), name.replace("-", "==")], check=True)
    with tarfile.open(target / f"{name}.tar.gz") as archive:
        members = [member for member in archive if member.name.startswith(f"{name}/tests/")]
        archive.extractall(target, members, filter="data")
    tests = target / name / "tests"
    for path, text in {"__init__.py": "", **STUBS}.items():
        (tests / path).parent.mkdir(exist_ok=True)
        (tests / path).parent.joinpath("__init__.py").touch()
        (tests / path).write_text(text, encoding="utf-8")
    shutil.copy(CASES, tests / "test_cases.py")
    return target / name


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", ["SwappedT5Test", "AttachedMixtralTest", "AttachedQwen3MoeTest"])
def test_common_tests_of_transformers(case: str, folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", f"tests/test_cases.py::{case}", "-q", "-p", "no:xdist", "-W", "ignore"]
    options = ["--junit-xml", str(report), "--rootdir", str(folder), "-c", os.devnull]
    done = subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True, check=False)
    results = list(ElementTree.parse(report).iter("testcase"))
    failed = {result.get("name") for result in results if {child.tag for child in result} & {"failure", "error"}}
    passed = [result for result in results if not len(result)]
    assert failed == LEAVES_OUT_THE_LOSS, done.stdout[-5000:]
    assert len(passed) > 90
