"""From sentences to batches: vocabulary, lengths, epochs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sentence_pairs import PAIRS
from transformers import AutoTokenizer

from distilled_experts.transformers.tokens import IGNORED
from distilled_experts.translation import PairBatches, train_tokenizer
from distilled_experts.translation.tokenizer import BEGIN, END, PAD

TOKENIZER = train_tokenizer(PAIRS, size=320)
LONG = ("a very long sentence " * 5, "ein sehr langer satz " * 5)
MIXED = tuple((source * (1 + i % 3), target * (1 + i % 4)) for i, (source, target) in enumerate(PAIRS))


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp", "Mn"]), min_size=1))
def test_every_text_comes_back_in_small_letters(text: str) -> None:
    tokens = TOKENIZER(text)["input_ids"]
    assert tokens[-1] == END
    normal = TOKENIZER.backend_tokenizer.normalizer.normalize_str(text)
    assert TOKENIZER.decode(tokens, skip_special_tokens=True) == normal
    assert normal == normal.lower() or "İ" in text


def test_capital_letters_can_be_kept() -> None:
    tokenizer = train_tokenizer(PAIRS, size=320, lower=False)
    assert tokenizer.decode(tokenizer("Ein Hund")["input_ids"], skip_special_tokens=True) == "Ein Hund"


def test_the_vocabulary_is_shared_limited_and_always_the_same(tmp_path: Path) -> None:
    assert len(TOKENIZER) == 320
    assert [TOKENIZER.pad_token_id, TOKENIZER.bos_token_id, TOKENIZER.eos_token_id] == [PAD, BEGIN, END]
    assert train_tokenizer(PAIRS, size=320).get_vocab() == TOKENIZER.get_vocab()
    # The word is one token at the begin of a sentence and within it.
    first, within = (TOKENIZER(text)["input_ids"] for text in ("in the park", "here in the park"))
    assert within[-len(first) :] == first
    TOKENIZER.save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").exists()
    sentences = [sentence for pair in PAIRS for sentence in pair]
    assert AutoTokenizer.from_pretrained(tmp_path)(sentences)["input_ids"] == TOKENIZER(sentences)["input_ids"]


def rows_of(batches: PairBatches) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Tokens of source and target of all pairs, without padding."""
    return [
        (tuple(source[mask.bool()].tolist()), tuple(labels[labels != IGNORED].tolist()))
        for batch in batches
        for source, mask, labels in zip(batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True)
    ]


@pytest.mark.parametrize("seed", [None, 3])
def test_every_epoch_has_every_pair_once_in_as_many_batches(seed: int | None) -> None:
    batches = PairBatches(TOKENIZER, MIXED, tokens=100, seed=seed)
    wanted = sorted((tuple(TOKENIZER(s)["input_ids"]), tuple(TOKENIZER(t)["input_ids"])) for s, t in MIXED)
    epochs = []
    for epoch in range(3):
        batches.set_epoch(epoch)
        epochs.append(rows_of(batches))
        assert len(batches) == len(list(batches)) > 5
        assert sorted(epochs[-1]) == wanted
    assert (epochs[0] == epochs[1]) == (seed is None)
    batches.set_epoch(0)
    assert rows_of(batches) == epochs[0]
    again = PairBatches(TOKENIZER, MIXED, tokens=100, seed=seed)
    assert rows_of(again) == epochs[0]


def test_batches_are_full_and_hold_one_length() -> None:
    batches = PairBatches(TOKENIZER, MIXED, tokens=100, seed=0)
    sizes = [batch["labels"].numel() for batch in batches]
    assert max(sizes) <= 100
    padding = np.mean([(batch["labels"] == IGNORED).float().mean() for batch in batches])
    assert padding < 0.1
    # Sentences in random order would be padded by more than a quarter.
    assert len(sizes) < 1.3 * sum(len(target) for _, target in rows_of(batches)) / 100


def test_the_decoder_sees_the_tokens_before_the_one_it_predicts() -> None:
    pairs = [("a dog", "ein hund"), ("a dog", "ein hund rennt")]
    batch = PairBatches(TOKENIZER, pairs, tokens=100)[0]
    labels, seen = batch["labels"], batch["decoder_input_ids"]
    assert seen[:, 0].tolist() == [BEGIN, BEGIN]
    known = labels[:, :-1] != IGNORED
    assert torch.equal(seen[:, 1:][known], labels[:, :-1][known])
    assert (seen[:, 1:][~known] == PAD).all()
    assert (batch["attention_mask"] == (batch["input_ids"] != PAD)).all()


def test_pairs_with_a_long_side_are_left_out_and_counted() -> None:
    batches = PairBatches(TOKENIZER, [*PAIRS, LONG, ("short", LONG[1]), (LONG[0], "kurz")], tokens=100, longest=40)
    assert batches.n_left_out == 3
    assert len(rows_of(batches)) == len(PAIRS)
    assert len(PairBatches(TOKENIZER, [], tokens=100)) == 0
