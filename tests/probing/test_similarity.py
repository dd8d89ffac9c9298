"""Similarity of experts, on experts whose likeness is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilled_experts.errors import InvalidParameterError
from distilled_experts.probing import expert_similarity, linear_cka, mean_off_diagonal, prediction_agreement


def cka_by_hand(x: np.ndarray, y: np.ndarray) -> float:
    """From Gram matrices of samples, centred on both sides."""
    n = len(x)
    centre = np.eye(n) - 1 / n
    k, m = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    return float((k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum()))


def test_cka_is_that_of_gram_matrices():
    experts = np.random.default_rng(0).normal(size=(2, 3, 17, 4, 5))
    cka = linear_cka(experts)
    for index in np.ndindex(2, 3, 4, 4):
        a, b, i, j = index
        assert cka[index] == pytest.approx(cka_by_hand(experts[a, b, :, i], experts[a, b, :, j]))


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1.0, 1e30, 1e200])
def test_cka_does_not_see_scale_shift_and_rotation(scale):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(30, 4))
    rotation = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    cka = linear_cka(np.stack([x, scale * (x @ rotation + 3)], axis=1))
    np.testing.assert_allclose(cka, 1)


def test_an_expert_that_says_the_same_of_all_samples_has_no_cka():
    rng = np.random.default_rng(2)
    constant = np.full((40, 3), 0.1)
    similarity = expert_similarity(np.stack([rng.normal(size=(40, 3)), constant, constant], axis=1), "regression")
    assert np.isnan(similarity.cka[1:]).all()
    assert similarity.cka[0, 0] == 1
    assert similarity.agreement[1, 2] == 1
    only = expert_similarity(np.stack([constant, constant], axis=1), "regression")
    assert np.isnan(only.mean_cka)
    assert only.homogenised


def test_agreement_of_regression_is_lins_concordance():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=20), rng.normal(size=20) + 0.5
    b += 2 * a
    expected = 2 * np.cov(a, b, bias=True)[0, 1] / (a.var() + b.var() + (a.mean() - b.mean()) ** 2)
    agreement = prediction_agreement(np.stack([a, b, -a], axis=1)[..., None], "regression")
    assert agreement[0, 1] == pytest.approx(expected)
    assert agreement[0, 2] == 0


def test_the_alarm_needs_both_measures_and_says_so():
    rng = np.random.default_rng(4)
    scores = rng.normal(size=(200, 1, 3))
    alike = np.repeat(scores, 3, axis=1)
    sharper = np.concatenate([scores, scores**3], axis=1)  # same classes, other confidence
    assert expert_similarity(alike, "classification").homogenised
    assert not expert_similarity(sharper, "classification").homogenised
    both = expert_similarity(np.stack([alike, rng.normal(size=alike.shape)]), "classification")
    assert both.homogenised.tolist() == [True, False]
    assert both.warning() == (
        "in 1 of 2 models the experts have become alike: similarity and agreement above 0.95; a smaller α may help"
    )
    assert expert_similarity(sharper, "classification").warning() is None


def test_one_expert_is_not_alike_to_anything():
    similarity = expert_similarity(np.random.default_rng(5).normal(size=(9, 1, 2)), "classification")
    assert np.isnan(similarity.mean_cka)
    assert np.isnan(similarity.mean_agreement)
    assert not similarity.homogenised


@pytest.mark.parametrize("threshold", [0, 1, 1.5, float("nan")])
def test_thresholds_lie_between_zero_and_one(threshold):
    with pytest.raises(InvalidParameterError, match="threshold"):
        expert_similarity(np.zeros((3, 2, 2)), "classification", threshold=threshold)


@given(st.integers(0, 10_000), st.permutations(range(4)), st.sampled_from(["classification", "regression"]))
def test_ranges_symmetry_and_names_of_experts(seed, order, task):
    rng = np.random.default_rng(seed)
    experts = rng.normal(size=(2, rng.integers(2, 20), 4, rng.integers(1, 4)))
    first, second = expert_similarity(experts, task), expert_similarity(experts[..., order, :], task)
    for name in ("cka", "agreement"):
        matrix = getattr(first, name)
        assert ((matrix >= 0) & (matrix <= 1)).all()
        np.testing.assert_array_equal(matrix, np.swapaxes(matrix, -1, -2))
        np.testing.assert_allclose(np.diagonal(matrix, axis1=-2, axis2=-1), 1)
        np.testing.assert_allclose(getattr(second, name), matrix[..., order, :][..., order], atol=1e-12)
        np.testing.assert_allclose(getattr(second, f"mean_{name}"), getattr(first, f"mean_{name}"))


def test_undefined_pairs_do_not_count():
    assert mean_off_diagonal(np.array([[1, np.nan, 0.2], [np.nan, 1, 0.4], [0.2, 0.4, 1]])) == pytest.approx(0.3)
    assert np.isnan(mean_off_diagonal(np.full((2, 2), np.nan)))
