"""The package's outside: what importing it costs, which names it offers, which version it says it is."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

import distilled_experts

HEAVY = (
    "matplotlib",
    "numpy",
    "pandas",
    "pyarrow",
    "rich",
    "scipy",
    "sklearn",
    "torch",
    "transformers",
)


def loaded_by(statement: str) -> set[str]:
    """Run a statement in a new interpreter; return the top-level modules that are loaded afterwards."""
    program = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import distilled_experts",
        "import distilled_experts.errors",
        "from distilled_experts import __version__",
    ],
)
def test_importing_the_package_loads_nothing_heavy(statement: str) -> None:
    assert not loaded_by(statement).intersection(HEAVY)


def test_asking_for_a_module_loads_that_module() -> None:
    assert "torch" in loaded_by("from distilled_experts import functional")


@pytest.mark.parametrize("name", distilled_experts.__all__)
def test_every_public_name_resolves_and_is_listed(name: str) -> None:
    assert getattr(distilled_experts, name) is not None
    assert name in dir(distilled_experts)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'MoDEClusterer'"):
        distilled_experts.MoDEClusterer  # noqa: B018


def test_the_version_is_that_of_the_distribution() -> None:
    assert distilled_experts.__version__ == importlib.metadata.version("distilled-experts")


def test_the_command_is_installed() -> None:
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="mode")
    assert command.value == "distilled_experts.cli:main"
    assert callable(command.load())
