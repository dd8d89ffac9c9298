"""Translation: sentence pairs, small encoder-decoders with mixtures, training and scores.

Every name is loaded on first use: importing this package loads neither PyTorch nor Transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from distilled_experts.lazy import lazy_names

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

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "load_corpus": "data",
        "Corpus": "corpus",
        "Split": "corpus",
        "train_tokenizer": "tokenizer",
        "PairBatches": "batches",
        "ModelSettings": "models",
        "build_model": "models",
        "dense_settings": "models",
        "TrainingSettings": "fitting",
        "fit": "fitting",
        "Translator": "translator",
        "score_translations": "scoring",
        "TranslationScores": "scoring",
        "expert_knowledge": "knowledge",
        "TranslationSettings": "training",
        "train_model": "training",
    },
)
