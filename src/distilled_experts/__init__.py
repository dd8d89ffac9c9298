"""Mixtures of experts whose experts learn from each other: moderate mutual distillation (MoDE).

Every public name is loaded on first use, so importing the package costs next to nothing:

>>> import distilled_experts
>>> distilled_experts.MoDEClassifier.__name__
'MoDEClassifier'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distilled_experts import (
        errors,
        experiments,
        functional,
        layers,
        probing,
        report,
        tabular,
        transformers,
        translation,
        vision,
    )
    from distilled_experts.experiments.compare import compare
    from distilled_experts.tabular.estimators import MoDEClassifier, MoDERegressor

__version__ = "0.1.0.dev0"

__all__ = [
    "MoDEClassifier",
    "MoDERegressor",
    "compare",
    "errors",
    "experiments",
    "functional",
    "layers",
    "probing",
    "report",
    "tabular",
    "transformers",
    "translation",
    "vision",
]

_HOME = {
    "MoDEClassifier": ".tabular.estimators",
    "MoDERegressor": ".tabular.estimators",
    "compare": ".experiments.compare",
}


def __getattr__(name: str) -> object:
    """Import a public name on first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name], __name__), name)
    else:
        value = importlib.import_module(f".{name}", __name__)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
