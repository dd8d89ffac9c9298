"""Mixtures of experts whose experts learn from each other: moderate mutual distillation (MoDE).

Every public name is loaded on first use, so importing the package costs next to nothing:

>>> import distilled_experts
>>> distilled_experts.MoDEClassifier.__name__
'MoDEClassifier'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from distilled_experts.lazy import lazy_names

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

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "MoDEClassifier": "tabular.estimators",
        "MoDERegressor": "tabular.estimators",
        "compare": "experiments.compare",
        "errors": "errors",
        "experiments": "experiments",
        "functional": "functional",
        "layers": "layers",
        "probing": "probing",
        "report": "report",
        "tabular": "tabular",
        "transformers": "transformers",
        "translation": "translation",
        "vision": "vision",
    },
)
