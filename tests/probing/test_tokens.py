"""Records of predicted tokens: against the measures of whole scores, and sums by sequence against single tokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilled_experts.errors import DataError
from distilled_experts.probing import (
    ExpertOutputs,
    ProbedTokens,
    class_subsets,
    dominated_by,
    frequency_subsets,
    probe_predictions,
    probe_statistic,
)
from distilled_experts.probing.tokens import token_statistic

EXPERTS, VOCABULARY = 3, 4


def probed(n_tokens: int, seed: int, sequences: np.ndarray | None = None) -> ProbedTokens:
    generator = np.random.default_rng(seed)
    tokens = generator.integers(VOCABULARY, size=n_tokens)
    return ProbedTokens(
        tokens,
        generator.integers(VOCABULARY, size=(n_tokens, EXPERTS)),
        generator.integers(VOCABULARY, size=n_tokens),
        generator.exponential(size=(n_tokens, EXPERTS)),
        generator.exponential(size=n_tokens),
        generator.integers(EXPERTS, size=n_tokens),
        np.arange(n_tokens) if sequences is None else sequences,
        class_subsets(tokens, "abcd"),
        np.eye(EXPERTS),
    )


@given(st.integers(1, 30), st.integers(0, 1000))
def test_measures_are_those_of_whole_scores(n_tokens, seed):
    given_ = probed(n_tokens, seed)
    one_hot = np.eye(VOCABULARY)
    weights = dominated_by(given_.domains, EXPERTS)
    outputs = ExpertOutputs(one_hot[given_.experts], weights, one_hot[given_.mixture])
    counts = np.random.default_rng(seed).integers(1, 4, size=(2, n_tokens)).astype(float)
    found = token_statistic(given_)(counts)
    for name, expected in probe_statistic(outputs, given_.tokens, "classification")(counts).items():
        np.testing.assert_allclose(found[name], expected, err_msg=name)


@given(st.integers(0, 1000))
def test_drawing_a_sequence_is_drawing_all_of_its_tokens(seed):
    generator = np.random.default_rng(seed)
    sequences = generator.integers(5, size=30)
    sequences[:5] = np.arange(5)
    counts = generator.integers(1, 4, size=(2, 5)).astype(float)
    by_sequence = token_statistic(probed(30, seed, sequences))(counts)
    by_token = token_statistic(probed(30, seed))(counts[:, sequences])
    for name, expected in by_token.items():
        np.testing.assert_allclose(by_sequence[name], expected, err_msg=name)


def test_perplexity_is_the_exponential_of_the_mean_loss():
    given_ = probed(40, 0)
    record = probe_predictions(given_)
    assert record.perplexity == pytest.approx(np.exp(given_.mixture_losses.mean()))
    inside = given_.domains == 1
    assert record.perplexity_matrix[2, 1] == pytest.approx(np.exp(given_.expert_losses[inside, 2].mean()))
    own = given_.expert_losses[np.arange(40), given_.domains]
    assert record.own_domain_perplexity == pytest.approx(np.exp(own.mean()))
    assert sum(record.errors.values()) == pytest.approx(1 - record.score)


def test_an_empty_domain_has_no_score():
    given_ = probed(9, 0)
    given_.domains[:] = 0
    record = probe_predictions(given_)
    assert np.isnan(record.matrix[:, 1:]).all()
    assert record.to_dict()["perplexity_matrix"]["value"][0][1] is None


def test_no_tokens_are_an_error():
    with pytest.raises(DataError, match="batches: no tokens"):
        probe_predictions(probed(0, 0))


@given(st.lists(st.integers(0, 20), min_size=1, max_size=60))
def test_bands_of_frequency(codes):
    found = frequency_subsets(codes)
    assert len(found.codes) == len(codes)
    assert set(found.codes) == set(range(len(found.names)))
    band = dict(zip(codes, found.codes, strict=True))
    for more in band:
        for fewer in band:
            if codes.count(more) > codes.count(fewer):
                assert band[more] <= band[fewer]
    ends = [int(name.split()[-1]) for name in found.names]
    assert ends == np.cumsum([sum(b == i for b in band.values()) for i in range(len(ends))]).tolist()
