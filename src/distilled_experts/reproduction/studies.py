"""Which runs the pieces rest on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from distilled_experts.reproduction.study import Run, Study

__all__ = [
    "ALPHA",
    "COMPARISONS",
    "DOMAINS",
    "EXPERTS",
    "IMAGES",
    "LANGUAGE",
    "LOSS_VARIANTS",
    "MULTI_VIEW",
    "OPPOSITES",
    "PEERS",
    "REASONS",
    "STUDIES",
    "TRANSLATION",
]

_SETS = ("optdigits", "satimage", "mfeat_fac", "mfeat_kar", "isolet", "phoneme", "wall_robot", "vehicle", "splice")
_FEW_SETS = ("digits", "mfeat_kar", "vehicle")
_GATES = ("dense", "sparse")
# Sets that scikit-learn ships, and training that lasts seconds.
_SHIPPED = ("breast_cancer", "wine")
_SHORT: dict[str, Any] = {"seeds": 3, "epochs": 20}


_SWEPT, _MODERATE = (0, 0.001, 0.01, 0.1, 1, 10, 100), (0, 0.01, 0.1, 1)


def _arms(maker: str, sets: tuple[str, ...], keep: str = "scores", **options: Any) -> Iterator[Run]:
    """One run for every set and gate."""
    for data in sets:
        for gate in _GATES:
            yield Run(f"{data}-{gate}", maker, {"data": data, "gate": gate, **options}, keep)


COMPARISONS = Study(
    "comparisons",
    tuple(_arms("compare", _SETS)),
    tuple(_arms("compare", _SHIPPED, **_SHORT)),
)
REASONS = Study(
    "reasons",
    tuple(_arms("compare", _SETS, keep="reasons", explain=True)),
    tuple(_arms("compare", _SHIPPED[1:], keep="reasons", explain=True, **_SHORT)),
)


def _sweep(name: str, data: str, experts: tuple[int, ...], alpha: tuple[float, ...] = _SWEPT, **options: Any) -> Run:
    return Run(name, "sweep", {"data": data, "experts": experts, "alpha": alpha, **options})


ALPHA = Study(
    "alpha",
    tuple(_sweep(data, data, (4,)) for data in _SETS),
    tuple(_sweep(data, data, (4,), **_SHORT) for data in _SHIPPED),
)
EXPERTS = Study(
    "experts",
    (
        _sweep("digits-dense", "digits", (2, 4, 8, 16)),
        _sweep("digits-dense-32", "digits", (32,), _MODERATE),
        _sweep("mfeat_kar-sparse", "mfeat_kar", (2, 4, 8, 16), gate="sparse"),
        _sweep("mfeat_kar-sparse-32", "mfeat_kar", (32,), _MODERATE, gate="sparse"),
    ),
    (_sweep("wine-dense", "wine", (2, 4, 8), **_SHORT),),
)
_CONTRAST = (0, 0.01, 100)
DOMAINS = Study(
    "domains",
    tuple(_arms("compare", _FEW_SETS, keep="domains", alpha=_CONTRAST, seeds=5)),
    tuple(_arms("compare", _SHIPPED[1:], keep="domains", alpha=_CONTRAST, **_SHORT)),
)
LOSS_VARIANTS = Study(
    "loss-variants",
    tuple(_arms("loss_variants", _FEW_SETS, seeds=5)),
    tuple(_arms("loss_variants", _SHIPPED[1:], **_SHORT)),
)
OPPOSITES = Study(
    "opposites",
    tuple(_arms("opposites", _FEW_SETS, seeds=5)),
    tuple(_arms("opposites", _SHIPPED[1:], **_SHORT)),
)
MULTI_VIEW = Study(
    "multi-view",
    (Run("dense", "multi_view"), Run("sparse", "multi_view", {"top_k": 2})),
    (Run("dense", "multi_view", {"alphas": (0.0, 0.1, 0.3), "seeds": 3}),),
)
_SHORT_TEXT: dict[str, Any] = {"corpus": "descriptions", "seed": 0, "steps": 4, "windows": 8}
_STRENGTHS = (0.003, 0.01, 0.03, 0.1)


def _language() -> Iterator[Run]:
    """One seed after the other, so that an unfinished study holds whole comparisons."""
    for seed in range(3):
        for corpus, layers in (("shakespeare", ("first", "all")), ("multi30k", ("first",))):
            cells = [("none", 0.0), *((where, alpha) for where in layers for alpha in _STRENGTHS)]
            for where, alpha in cells:
                options = {"corpus": corpus, "layers": where, "alpha": alpha, "seed": seed}
                yield Run(f"{corpus}-{where}-{alpha:g}-{seed}", "language", options)


LANGUAGE = Study(
    "language",
    tuple(_language()),
    tuple(
        Run(f"descriptions-{where}-{alpha:g}-0", "language", {**_SHORT_TEXT, "layers": where, "alpha": alpha})
        for where, alpha in (("none", 0.0), ("first", 0.01), ("first", 0.1))
    ),
)
IMAGES = Study(
    "images",
    folder="../../benchmarks/results/vision",
    command="python benchmarks/vision.py run --data-dir DIR",
    quick=(Run("digits-sparse", "images", {"data": "digits", "gate": "sparse", "rows": 400, "epochs": 2, "seeds": 2}),),
)
TRANSLATION = Study(
    "translation",
    folder="../../benchmarks/results/translation",
    command="python benchmarks/translation.py run --data-dir DIR",
)
PEERS = Study(
    "tabular-peers",
    folder="../../benchmarks/results/tabular",
    command="python benchmarks/tabular.py run --data-dir DIR",
)
STUDIES = (
    *(COMPARISONS, PEERS, IMAGES, TRANSLATION, LANGUAGE, ALPHA, EXPERTS, REASONS, DOMAINS),
    *(MULTI_VIEW, LOSS_VARIANTS, OPPOSITES),
)
