"""What the source may not hold: ways to run what comes from others."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import distilled_experts

ROOT = Path(distilled_experts.__file__).parent
FORBIDDEN_IMPORTS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "marshal", "shelve", "subprocess", "pty"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "joblib.load", "torch.load"}
FORBIDDEN_CALLS |= {"yaml.load", "yaml.unsafe_load", "yaml.full_load", "pd.read_pickle", "torch.hub.load"}
FORBIDDEN_OPTIONS = {("allow_pickle", True), ("weights_only", False), ("shell", True), ("trust_remote_code", True)}


def problems(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ({alias.name.partition(".")[0] for alias in node.names} & FORBIDDEN_IMPORTS)
        if isinstance(node, ast.ImportFrom):
            yield from ({(node.module or "").partition(".")[0]} & FORBIDDEN_IMPORTS)
        if isinstance(node, ast.Call):
            yield from ({ast.unparse(node.func)} & FORBIDDEN_CALLS)
            options = {(o.arg, o.value.value) for o in node.keywords if isinstance(o.value, ast.Constant)}
            yield from (name for name, _ in options & FORBIDDEN_OPTIONS)


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_from_others_is_run(path: Path) -> None:
    assert list(problems(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from cloudpickle import loads",
        "torch.load(path, weights_only=True)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, Loader=yaml.Loader)",
        "eval(text)",
        "os.system(text)",
        "AutoModel.from_pretrained(path, trust_remote_code=True)",
    ],
)
def test_what_is_forbidden_is_found(source: str) -> None:
    assert len(list(problems(source))) == 1


def test_templates_escape_all_but_what_is_made_safe_here() -> None:
    unescaped = {
        found
        for path in (ROOT / "report/templates").glob("*.j2")
        for found in re.findall(r"{{\s*([^}|]+?)\s*\|[^}]*\bsafe\b", path.read_text(encoding="utf-8"))
    }
    assert unescaped == {"record_json", "view.inline"}
    assert not any(
        "autoescape false" in path.read_text(encoding="utf-8") for path in (ROOT / "report/templates").glob("*.j2")
    )
    assert "innerHTML" not in (ROOT / "report/templates/report.js").read_text(encoding="utf-8")
