"""Training, translating, scoring and probing of one translator."""

from __future__ import annotations

import importlib
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sentence_pairs import PAIRS

from distilled_experts.errors import DataError, MissingDependencyError, ModelFolderError, TrainingError
from distilled_experts.probing import ANSWER_TYPES
from distilled_experts.translation import (
    ModelSettings,
    PairBatches,
    Split,
    TrainingSettings,
    TranslationSettings,
    Translator,
    build_model,
    fit,
    score_translations,
    train_model,
    train_tokenizer,
)
from distilled_experts.translation import translator as translator_module
from distilled_experts.translation.knowledge import typical_tokens

SPLIT = Split(tuple(pair for i, pair in enumerate(PAIRS) if i % 8 != 5), PAIRS[5::16], PAIRS[13::16])
MODEL = ModelSettings(distilled="all", width=32, hidden=16, dropout=0.0, longest=24)
SETTINGS = TranslationSettings(MODEL, TrainingSettings(epochs=2, tokens=150), vocabulary=320, beams=2, train_scored=3)

Found = tuple[Translator, dict[str, Any]]


@pytest.fixture(scope="module")
def trained() -> Found:
    return train_model(SPLIT, SETTINGS, seed=0, alpha=0.1)


def losses_by_hand(translator: Translator, pairs: tuple[tuple[str, str], ...]) -> list[float]:
    """Loss of every token, one pair at a time, without batches or padding."""
    losses: list[float] = []
    for source, target in pairs:
        inputs, labels = (torch.tensor([translator.tokenizer(text)["input_ids"]]) for text in (source, target))
        seen = torch.cat([torch.ones_like(labels[:, :1]), labels[:, :-1]], 1)
        with torch.no_grad():
            scores = translator.model.eval()(input_ids=inputs, decoder_input_ids=seen).logits
        losses += F.cross_entropy(scores[0], labels[0], reduction="none").tolist()
    return losses


def test_the_loss_is_that_of_a_token_and_of_the_best_epoch(trained: Found) -> None:
    translator, found = trained
    curve = found["curves"]["validation_loss"]
    assert len(curve) == len(found["curves"]["train_loss"]) == 2
    assert found["validation_loss"] == min(curve) == curve[found["best_epoch"] - 1]
    assert found["validation_loss"] == pytest.approx(np.mean(losses_by_hand(translator, SPLIT.validation)), rel=1e-4)


def test_probing_is_of_the_test_tokens(trained: Found) -> None:
    translator, found = trained
    losses = losses_by_hand(translator, SPLIT.test)
    assert found["perplexity"] == pytest.approx(math.exp(np.mean(losses)), rel=1e-4)
    assert sum(found["shares"]) == pytest.approx(1)
    assert found["probed_layer"].startswith("model.decoder.layers.1")
    assert len(found["domain_tokens"]) == len(found["matrix"]) == found["experts"] == 4
    assert all(0 <= found[name] <= 1 for name in ("own_domain", "routing_accuracy", "oracle", "vision_task"))
    assert found["vision_whole"] != found["vision_task"]


def test_every_token_has_a_domain_and_a_type_of_answer(trained: Found) -> None:
    translator, found = trained
    domains, answers = np.array(found["domains"]), np.array(found["answers"])
    assert len(domains) == len(answers) == len(losses_by_hand(translator, SPLIT.test))
    assert np.bincount(domains, minlength=4) / len(domains) == pytest.approx(found["shares"])
    right, *errors = np.bincount(answers, minlength=len(ANSWER_TYPES)) / len(answers)
    assert dict(zip(ANSWER_TYPES[1:], errors, strict=True)) == pytest.approx({n: found[n] for n in ANSWER_TYPES[1:]})
    assert 0 < right < 1


def test_the_same_seed_gives_the_same_model_and_leaves_random_numbers_alone(trained: Found) -> None:
    before = torch.random.get_rng_state(), random.getstate()
    again = train_model(SPLIT, SETTINGS, seed=0, alpha=0.1)[1]
    assert again | {"seconds": 0} == trained[1] | {"seconds": 0}
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    plain = train_model(SPLIT, SETTINGS, seed=0)[1]
    assert plain["validation_loss"] != again["validation_loss"]
    assert plain["vision_whole"] == plain["vision_task"]


@pytest.mark.parametrize("model", ["marian", "nllb-moe"])
@pytest.mark.parametrize("dense", [False, True])
def test_saved_translators_translate_as_before(tmp_path: Path, model: Any, dense: bool) -> None:
    settings = replace(SETTINGS, model=replace(MODEL, model=model), training=replace(SETTINGS.training, epochs=1))
    translator, found = train_model(SPLIT, settings, seed=0, alpha=0.1, dense=dense)
    assert ("own_domain" in found) == (not dense)
    translator.save(tmp_path)
    sources = ["A dog sleeps here.", "x", "The man waits at the lake."]
    loaded = Translator.load(tmp_path)
    assert loaded.translate(sources, beams=3) == translator.translate(sources, beams=3)
    assert loaded.model.num_parameters() == found["parameters"]


@pytest.mark.slow
def test_a_translator_learns_what_it_is_shown() -> None:
    settings = replace(SETTINGS, training=TrainingSettings(epochs=40, tokens=150, learning_rate=5e-3))
    translator, found = train_model(SPLIT, settings, seed=0, alpha=0.1)
    assert found["train_score"] > 95
    assert translator.translate([PAIRS[0][0].upper()]) == [PAIRS[0][1].lower()]
    # Words that were seen in other places.
    assert found["test_score"] > 40


def test_translations_come_in_the_order_of_the_sources_whatever_is_beside_them(
    trained: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    translator, _ = trained
    by_length: dict[int, list[str]] = {}
    for source, _ in PAIRS:
        by_length.setdefault(len(translator.tokenizer(source)["input_ids"]), []).append(source)
    first, second = [sources[:2] for sources in by_length.values() if len(sources) > 1][:2]
    sources = [second[0], first[0], second[1], first[1]]
    monkeypatch.setattr(translator_module, "_BATCH", 2)
    assert translator.translate(sources) == [translator.translate([source])[0] for source in sources]
    assert translator.translate([]) == []


def test_a_source_that_is_too_long_is_cut(trained: Found) -> None:
    translator, _ = trained
    longest = translator.model.config.max_position_embeddings - 1
    tokens = translator.tokenizer("a " * 400)["input_ids"]
    cut = translator.tokenizer.decode(tokens[: longest - 1])
    assert translator.translate(["a " * 400]) == translator.translate([cut])


def test_training_that_diverges_is_an_error() -> None:
    tokenizer = train_tokenizer(PAIRS, size=320)
    batches = PairBatches(tokenizer, PAIRS, tokens=300)
    model = build_model(MODEL, len(tokenizer), seed=0)
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(math.nan)
    with pytest.raises(TrainingError, match="the validation loss was never finite"):
        fit(model, batches, batches, TrainingSettings(epochs=1), seed=0)


def test_pairs_that_are_all_too_long_are_an_error() -> None:
    settings = replace(SETTINGS, model=replace(MODEL, longest=3))
    with pytest.raises(DataError, match="all 56 train pairs have a side of more than 3 tokens"):
        train_model(SPLIT, settings, seed=0)


def test_folders_without_a_translator(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match="no translator can be loaded from it"):
        Translator.load(tmp_path)


def test_scores_are_those_of_their_definition() -> None:
    reference = ["the cat sits on the mat near the door"]
    found = score_translations(["The cat sits on the mat by the door"], reference)
    # Matching n-grams of 1 to 4 words among those of the translation, which is as long as the reference.
    precisions = [8 / 9, 6 / 8, 4 / 7, 3 / 6]
    assert found.bleu == pytest.approx(100 * math.exp(np.mean(np.log(precisions))))
    assert score_translations(["The cat"], reference, lower=False).signatures["bleu"].split("|")[1] == "case:mixed"
    assert score_translations(reference, reference)[:2] == pytest.approx((100, 100))


def test_sacrebleu_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingDependencyError, match=r"pip install 'distilled-experts\[translation\]'"):
        score_translations(["a"], ["a"])


def test_typical_tokens_are_more_frequent_than_by_chance() -> None:
    tokens = np.array([5] * 8 + [6] * 8 + [7] * 2)
    domains = np.array([0] * 7 + [1] + [1] * 7 + [0] + [0, 1])
    assert typical_tokens(tokens, domains, 3) == [[5], [6], []]
    assert typical_tokens(tokens, domains, 2, most=0) == [[], []]
