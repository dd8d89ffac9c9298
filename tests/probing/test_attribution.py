"""Attention to features: on experts whose features are known, by gradients and by shuffling."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
import torch

from distilled_experts import MoDEClassifier, MoDERegressor
from distilled_experts.errors import DataError, InvalidParameterError, MissingDependencyError
from distilled_experts.layers import MixtureOfExperts
from distilled_experts.probing import Attention, ExpertFunction, MixtureModule, attention, expert_attention

METHODS = ("gradients", "permutation")


def drawn(n: int, d: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def linear(weights: list[list[list[float]]], n: int = 400, task: str = "regression") -> ExpertFunction:
    """Linear experts with weights (E, C, D), without a gate: domains in turn."""
    matrix = torch.tensor(weights, dtype=torch.float64)
    n_experts, _, d = matrix.shape
    domains = np.arange(n) % n_experts
    columns = [f"x{i}" for i in range(d)]
    run = lambda x: torch.einsum("ecd,nd->nec", matrix, x)  # noqa: E731
    return ExpertFunction(run, drawn(n, d), domains, task, columns, np.arange(d))


@pytest.mark.parametrize("method", METHODS)
def test_a_feature_that_one_expert_alone_uses(method):
    found = expert_attention(linear([[[2.0, 0.0, 1.0]], [[0.0, 3.0, 0.0]]]), method=method)
    np.testing.assert_allclose(found.values.sum(1), 1)
    np.testing.assert_allclose(found.values[0], [2 / 3, 0, 1 / 3], atol=0.05)
    np.testing.assert_allclose(found.values[1], [0, 1, 0])
    np.testing.assert_array_equal(found.ignored, [[False, True, False], [True, False, True]])


def test_gradients_of_linear_experts_are_their_weights_times_the_features():
    experts = linear([[[2.0, -1.0]], [[0.5, 3.0]]])
    size = np.abs(experts.x.numpy()[:, None] * np.array([[2.0, 1.0], [0.5, 3.0]])[experts.domains][:, None])[:, 0]
    expected = np.stack([size[experts.domains == i].sum(0) for i in range(2)])
    found = expert_attention(experts).values
    np.testing.assert_allclose(found, expected / expected.sum(1, keepdims=True))


@pytest.mark.parametrize("method", METHODS)
def test_what_moves_all_class_scores_alike_is_no_attention(method):
    weights = [[[1.0, 5.0], [-1.0, 5.0]], [[0.0, 5.0], [2.0, 5.0]]]
    found = expert_attention(linear(weights, task="classification"), method=method)
    np.testing.assert_allclose(found.values, [[1, 0], [1, 0]], atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_features_of_one_column_count_together(method):
    experts = linear([[[1.0, 1.0, 1.0]]])
    together = ExpertFunction(
        experts.run, experts.x, experts.domains, "regression", ["a", "unused", "b"], np.array([0, 2, 2])
    )
    found = expert_attention(together, method=method).values[0]
    assert found[1] == 0
    assert found[2] > 0.55
    if method == "gradients":
        apart = expert_attention(experts, method=method).values[0]
        np.testing.assert_allclose(found[[0, 2]], [apart[0], apart[1] + apart[2]])


@pytest.mark.parametrize("method", METHODS)
def test_several_targets_add_up(method):
    one = expert_attention(linear([[[1.0, 0.0], [0.0, 1.0]]]), method=method).values
    np.testing.assert_allclose(one, 0.5, atol=0.05)


@pytest.mark.parametrize("method", METHODS)
def test_experts_without_domain_or_attention_have_none(method):
    experts = linear([[[1.0, 0.0]], [[0.0, 0.0]], [[1.0, 1.0]]])
    experts.domains[experts.domains == 2] = 0
    found = expert_attention(experts, method=method)
    assert np.isnan(found.values[1:]).all()
    assert not found.ignored[1:].any()
    assert found.to_dict()["values"][1] == [None, None]
    assert found.to_dict()["ignored"] == [["x1"], [], []]


def test_shuffling_stays_within_a_domain():
    """A feature that tells the domains apart, and is the same within one, moves nothing there."""
    experts = linear([[[1.0, 1.0]], [[1.0, 1.0]]])
    experts.x[:, 0] = torch.from_numpy(experts.domains * 10.0)
    np.testing.assert_array_equal(expert_attention(experts, method="permutation").values, [[0, 1], [0, 1]])


def test_batches_do_not_matter(monkeypatch):
    experts = linear([[[1.0, 2.0]], [[3.0, 0.5]]], n=50)
    whole = [expert_attention(experts, method=method).values for method in METHODS]
    monkeypatch.setattr("distilled_experts.probing.attribution._ROWS", 7 * 32)
    for method, expected in zip(METHODS, whole, strict=True):
        np.testing.assert_allclose(expert_attention(experts, method=method).values, expected)


def test_picked_up_is_what_was_ignored_before_and_no_more():
    before = Attention(("a", "b"), np.array([[1.0, 0.0], [0.5, 0.5], [1.0, 0.0]]), "gradients")
    after = Attention(("a", "b"), np.array([[0.5, 0.5], [1.0, 0.0], [np.nan, np.nan]]), "gradients")
    np.testing.assert_array_equal(before.picked_up(after), [[False, True], [False, False], [False, False]])


@pytest.mark.parametrize("method", METHODS)
def test_estimators_look_at_the_columns_that_matter(method):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"useful": rng.normal(size=300), "noise": rng.normal(size=300), "constant": 1.0})
    X["kind"] = rng.choice(["a", "b", "c"], size=300)
    y = 3 * X["useful"] + 2 * (X["kind"] == "a")
    model = MoDERegressor(n_experts=2, max_iter=100, random_state=0).fit(X, y)
    found = attention(model, X, method=method)
    assert found.columns == ("useful", "noise", "constant", "kind")
    values = dict(zip(found.columns, np.nanmean(found.values, 0), strict=True))
    assert values["useful"] > 0.5
    assert values["kind"] > 0.1 > values["noise"]
    assert values["constant"] == 0


def test_a_mixture_of_an_ensemble_and_of_a_module():
    X = drawn(40, 3).numpy()
    classifier = MoDEClassifier(n_estimators=2, max_iter=3, random_state=0).fit(X, X[:, 0] > 0)
    first, second = (attention(classifier, X, layer=i).values for i in range(2))
    assert not np.allclose(first, second, equal_nan=True)
    layer = MixtureOfExperts(3, 2, hidden=4, n_experts=2, generator=torch.Generator().manual_seed(0))
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Dropout(0.5), layer)
    for method in METHODS:
        found = attention(MixtureModule(model), pd.DataFrame(X, columns=list("abc")), method=method)
        assert found.columns == ("a", "b", "c")
        assert found.values.shape == (2, 3)
    assert model.training
    assert all(p.grad is None for p in model.parameters())


def test_without_captum_one_line_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    experts = linear([[[1.0, 2.0]]])
    with pytest.raises(MissingDependencyError, match=r'need Captum: pip install "distilled-experts\[probing\]"'):
        expert_attention(experts)
    assert expert_attention(experts, method="permutation").values.shape == (1, 2)


def test_bad_input():
    with pytest.raises(InvalidParameterError, match="method: 'shap' is not allowed; allowed: gradients, permutation"):
        expert_attention(linear([[[1.0]]]), method="shap")
    with pytest.raises(InvalidParameterError, match="model: 'Linear'"):
        attention(torch.nn.Linear(1, 1), np.ones((2, 1)))
    tokens = ExpertFunction(lambda x: x, torch.ones(2, 3, 4), np.zeros(2, dtype=int), "regression", "ab", np.arange(2))
    with pytest.raises(DataError, match=r"X: numbers of shape \(N, D\)"):
        expert_attention(tokens)
