"""Translation: sentence pairs, small encoder-decoders with mixtures, training and scores.

Every name is loaded on first use: importing this package loads neither PyTorch nor Transformers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distilled_experts.translation.batches import PairBatches
    from distilled_experts.translation.corpus import Corpus, Split
    from distilled_experts.translation.data import load_corpus
    from distilled_experts.translation.fitting import TrainingSettings, fit
    from distilled_experts.translation.knowledge import expert_knowledge
    from distilled_experts.translation.models import ModelSettings, build_model, dense_settings
    from distilled_experts.translation.scoring import TranslationScores, score_translations
    from distilled_experts.translation.tokenizer import train_tokenizer
    from distilled_experts.translation.training import TranslationSettings, train_model
    from distilled_experts.translation.translator import Translator

__all__ = [
    "load_corpus",
    "Corpus",
    "Split",
    "train_tokenizer",
    "PairBatches",
    "ModelSettings",
    "build_model",
    "dense_settings",
    "TrainingSettings",
    "fit",
    "Translator",
    "score_translations",
    "TranslationScores",
    "expert_knowledge",
    "TranslationSettings",
    "train_model",
]

_HOME = {
    "load_corpus": ".data",
    "Corpus": ".corpus",
    "Split": ".corpus",
    "train_tokenizer": ".tokenizer",
    "PairBatches": ".batches",
    "ModelSettings": ".models",
    "build_model": ".models",
    "dense_settings": ".models",
    "TrainingSettings": ".fitting",
    "fit": ".fitting",
    "Translator": ".translator",
    "score_translations": ".scoring",
    "TranslationScores": ".scoring",
    "expert_knowledge": ".knowledge",
    "TranslationSettings": ".training",
    "train_model": ".training",
}


def __getattr__(name: str) -> object:
    """Import a public name on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
