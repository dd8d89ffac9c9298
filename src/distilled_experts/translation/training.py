"""One translator of a comparison: trained, scored, probed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedTokenizerFast

from distilled_experts.errors import DataError
from distilled_experts.transformers.sizes import n_parameters
from distilled_experts.translation.batches import PairBatches
from distilled_experts.translation.corpus import Pair, Split
from distilled_experts.translation.fitting import TrainingSettings, fit
from distilled_experts.translation.knowledge import expert_knowledge
from distilled_experts.translation.models import ModelSettings, build_model, dense_settings
from distilled_experts.translation.scoring import TranslationScores, score_translations
from distilled_experts.translation.tokenizer import train_tokenizer
from distilled_experts.translation.translator import Translator

__all__ = ["TranslationSettings", "train_model"]

_SAMPLES = 10


@dataclass(frozen=True)
class TranslationSettings:
    """How translators are made and judged.

    Attributes
    ----------
    model : ModelSettings
    training : TrainingSettings
    vocabulary : int
        Tokens of both languages together.
    lower : bool
        Whether text loses its capital letters.
    beams : int
        Hypotheses that beam search follows.
    probed : str or int
        Name or position of the mixture that is probed (−1 is the last).
    train_scored : int
        Training pairs that are scored, beside all test pairs.
    """

    model: ModelSettings = field(default_factory=ModelSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    vocabulary: int = 2500
    lower: bool = True
    beams: int = 5
    probed: str | int = -1
    train_scored: int = 200


def train_model(
    split: Split,
    settings: TranslationSettings,
    *,
    seed: int,
    alpha: float = 0.0,
    dense: bool = False,
    after_epoch: Callable[[int], None] | None = None,
) -> tuple[Translator, dict[str, Any]]:
    """Train a translator and measure it.

    All models of a seed see the same pairs, tokens, batches and, as far as their shapes agree, initial weights.

    Parameters
    ----------
    split : Split
    settings : TranslationSettings
    seed : int
        Of initial weights, batches and dropout.
    alpha : float
        Strength of mutual distillation.
    dense : bool
        Whether to train the dense network of equal size in place of the mixtures.
    after_epoch : callable, optional
        Called with the number of epochs done.

    Returns
    -------
    Translator
    dict of plain values
        What `mode compare` records of a model; the score is BLEU. Beside it ``chrf``, ``signatures``,
        ``translations`` of the first test pairs, and how many pairs were ``too_long`` to be trained on, or had to be
        cut in the test.

    Raises
    ------
    DataError
        All pairs of a part are too long.
    TrainingError
        The validation loss was never finite.

    Examples
    --------
    >>> pairs = tuple((f"dog {i}", f"hund {i}") for i in range(20))
    >>> settings = TranslationSettings(ModelSettings(width=16, hidden=8), TrainingSettings(epochs=1), vocabulary=300)
    >>> translator, found = train_model(Split(pairs[:16], pairs[16:18], pairs[18:]), settings, seed=0, alpha=0.1)
    >>> found["experts"], len(found["shares"]), len(found["translations"])
    (4, 4, 2)
    """
    s = settings
    tokenizer = train_tokenizer(split.train, size=s.vocabulary, lower=s.lower)
    train, validation, test = (
        _batches(tokenizer, part, pairs, s, seed if part == "train" else None)
        for part, pairs in split._asdict().items()
    )
    form = dense_settings(s.model) if dense else s.model
    model = build_model(form, len(tokenizer), seed=seed, alpha=alpha)
    curves = fit(model, train, validation, s.training, seed=seed, after_epoch=after_epoch)
    translator = Translator(model, tokenizer)
    found = {
        "experts": s.model.n_experts,
        "parameters": n_parameters(model),
        "seconds": curves.seconds,
        "best_epoch": curves.best_epoch,
        "validation_loss": curves.validation_loss[curves.best_epoch - 1],
        "curves": curves.to_dict(),
        "too_long": {"train": train.n_left_out, "validation": validation.n_left_out, "test": test.n_left_out},
        **_scores(translator, split, s),
    }
    probed = form.n_experts > 1
    return translator, found | (expert_knowledge(translator, test, train, layer=s.probed) if probed else {})


def _batches(
    tokenizer: PreTrainedTokenizerFast, part: str, pairs: Sequence[Pair], s: TranslationSettings, seed: int | None
) -> PairBatches:
    batches = PairBatches(tokenizer, pairs, tokens=s.training.tokens, longest=s.model.longest, seed=seed)
    if not len(batches):
        raise DataError(f"data: all {len(pairs)} {part} pairs have a side of more than {s.model.longest} tokens")
    return batches


def _scores(translator: Translator, split: Split, s: TranslationSettings) -> dict[str, Any]:
    translations, test = _translated(translator, split.test, s)
    _, train = _translated(translator, split.train[: s.train_scored], s)
    samples = zip(split.test, translations, strict=True)
    return {
        "test_score": test.bleu,
        "train_score": train.bleu,
        "chrf": test.chrf,
        "signatures": test.signatures,
        "translations": [
            {"source": source, "reference": reference, "translation": translation}
            for (source, reference), translation in list(samples)[:_SAMPLES]
        ],
    }


def _translated(
    translator: Translator, pairs: Sequence[Pair], s: TranslationSettings
) -> tuple[list[str], TranslationScores]:
    translations = translator.translate([source for source, _ in pairs], beams=s.beams)
    return translations, score_translations(translations, [reference for _, reference in pairs], lower=s.lower)
