"""Sentence pairs, and how a seed divides them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentence_pairs import PAIRS

from distilled_experts.errors import DataError
from distilled_experts.translation.corpus import Corpus, tidied

LANGUAGES = ("en", "de")


@given(st.integers(10, 64), st.integers(0, 10), st.sampled_from(["none", "validation", "test", "both"]))
def test_parts_of_a_seed_share_no_pair_and_leave_none_out(n: int, seed: int, published: str) -> None:
    parts = {part: PAIRS[:3] for part in ("validation", "test") if published in (part, "both")}
    own = tuple((f"{i}", f"{i}") for i in range(n))
    corpus = Corpus("own", LANGUAGES, own, **parts)
    split = corpus.split(seed)
    drawn = [part for name, part in split._asdict().items() if name not in parts]
    assert sorted(pair for part in drawn for pair in part) == sorted(own)
    assert all(getattr(split, part) == PAIRS[:3] for part in parts)
    assert min(map(len, split)) >= 1
    assert corpus.split(seed) == split


def test_seeds_draw_different_tests_unless_one_is_published() -> None:
    own = Corpus("own", LANGUAGES, PAIRS)
    assert own.split(0).test != own.split(1).test
    assert own.test_share == pytest.approx(6 / 58)
    published = Corpus("own", LANGUAGES, PAIRS[:50], test=PAIRS[50:])
    assert published.split(0).test == published.split(1).test == PAIRS[50:]
    assert published.test_share == 0


def test_a_corpus_is_cut_with_a_note() -> None:
    corpus = Corpus("own", LANGUAGES, PAIRS)
    assert corpus.first(None) is corpus.first(64) is corpus
    cut = corpus.first(20)
    assert cut.train == PAIRS[:20]
    assert cut.notes == ("the first 20 of 64 pairs to train on were used",)
    assert cut.fingerprint != corpus.fingerprint


def test_fingerprints_tell_languages_and_parts_apart() -> None:
    corpora = [
        Corpus("own", LANGUAGES, PAIRS),
        Corpus("own", ("de", "en"), PAIRS),
        Corpus("own", LANGUAGES, PAIRS, test=PAIRS[:1]),
        Corpus("own", LANGUAGES, PAIRS, validation=PAIRS[:1]),
    ]
    assert len({corpus.fingerprint for corpus in corpora}) == 4


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": PAIRS[:9]}, "9 sentence pairs for train in 'own'; allowed: 10 or more"),
        ({"train": PAIRS, "test": ()}, "0 sentence pairs for test in 'own'; allowed: 1 or more"),
    ],
)
def test_too_few_pairs_are_an_error(parts: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Corpus("own", LANGUAGES, **parts)


def test_text_is_composed_and_has_single_spaces() -> None:
    assert tidied([("  two\u00a0 words\t", "ko\u0308nnen")]) == [("two words", "können")]
