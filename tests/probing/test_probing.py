"""Expert probing on mixtures whose answers are known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import r2_score

from distilled_experts.probing import ExpertOutputs, probe_outputs


def one_hot(codes: np.ndarray, n: int) -> np.ndarray:
    return np.eye(n)[codes]


def outputs_of(experts: np.ndarray, domains: np.ndarray) -> ExpertOutputs:
    """A mixture that follows the dominating expert almost alone."""
    weights = np.full(experts.shape[:-1], 0.01)
    np.put_along_axis(weights, domains[..., None], 1.0, axis=-1)
    weights /= weights.sum(-1, keepdims=True)
    return ExpertOutputs(experts, weights, (experts * weights[..., None]).sum(-2))


def test_experts_that_know_one_class_each():
    """Expert i always answers i, and a perfect gate sends class i to it."""
    y = np.array([0, 0, 0, 1, 1, 2])
    experts = np.broadcast_to(np.eye(3), (6, 3, 3))
    record = probe_outputs(outputs_of(experts, y), y, "classification")
    np.testing.assert_array_equal(record["matrix"], np.eye(3))
    np.testing.assert_allclose(record["shares"], [3 / 6, 2 / 6, 1 / 6])
    assert record["own_domain"] == record["routing_accuracy"] == record["oracle"] == 1
    assert record["gate_error"] == record["expert_error"] == record["combination_error"] == 0


def test_a_gate_that_is_always_wrong():
    y = np.array([0, 0, 0, 1, 1, 2])
    experts = np.broadcast_to(np.eye(3), (6, 3, 3))
    record = probe_outputs(outputs_of(experts, (y + 1) % 3), y, "classification")
    assert record["own_domain"] == record["routing_accuracy"] == 0
    assert record["oracle"] == record["gate_error"] == 1
    np.testing.assert_array_equal(np.diag(record["matrix"]), 0)


def test_identical_experts_have_identical_rows():
    y = np.array([0, 1, 0, 1])
    experts = np.repeat(one_hot(np.array([0, 1, 1, 1]), 2)[:, None], 3, axis=1)
    record = probe_outputs(outputs_of(experts, np.array([0, 1, 2, 1])), y, "classification")
    assert (record["matrix"] == record["matrix"][:1]).all()
    assert record["own_domain"] == record["oracle"] == 0.75
    assert record["expert_error"] == 0.25


def test_empty_domains_are_not_a_number_and_sole_experts_fine():
    y = np.array([0, 1])
    record = probe_outputs(outputs_of(np.broadcast_to(np.eye(2), (2, 2, 2)), np.zeros(2, int)), y, "classification")
    assert np.isnan(record["matrix"][:, 1]).all()
    assert np.isfinite(record["matrix"][:, 0]).all()
    single = probe_outputs(outputs_of(one_hot(y, 2)[:, None], np.zeros(2, int)), y, "classification")
    assert single["own_domain"] == 1


def test_a_combination_error_needs_the_dominating_expert_to_be_right():
    experts = np.array([[[1.0, 0.0], [0.0, 9.0]]])
    weights = np.array([[0.6, 0.4]])
    mixture = (experts * weights[..., None]).sum(1)
    record = probe_outputs(ExpertOutputs(experts, weights, mixture), np.array([0]), "classification")
    assert record["combination_error"] == 1
    assert record["gate_error"] == record["expert_error"] == 0


def test_regression_scores_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(50, 2))
    experts = y[:, None] + rng.normal(size=(50, 3, 2)) * np.array([0.1, 0.5, 2.0])[:, None]
    domains = rng.integers(3, size=50)
    record = probe_outputs(outputs_of(experts, domains), y, "regression")
    for i in range(3):
        for j in range(3):
            inside = domains == j
            assert record["matrix"][i, j] == pytest.approx(r2_score(y[inside], experts[inside, i]))
    assert record["own_domain"] == pytest.approx(r2_score(y, experts[np.arange(50), domains]))


@given(st.integers(0, 10_000))
def test_errors_add_up_and_own_domain_is_the_weighted_diagonal(seed):
    rng = np.random.default_rng(seed)
    n, n_experts, n_classes = rng.integers(1, 30), rng.integers(1, 5), rng.integers(2, 5)
    y = rng.integers(n_classes, size=n)
    experts = rng.normal(size=(2, n, n_experts, n_classes))
    weights = rng.dirichlet(np.ones(n_experts), size=(2, n))
    mixture = (experts * weights[..., None]).sum(-2)
    record = probe_outputs(ExpertOutputs(experts, weights, mixture), y, "classification")
    errors = record["gate_error"] + record["expert_error"] + record["combination_error"]
    np.testing.assert_allclose(errors, (mixture.argmax(-1) != y).mean(-1))
    diagonal = np.nan_to_num(np.diagonal(record["matrix"], axis1=-2, axis2=-1))
    np.testing.assert_allclose((record["shares"] * diagonal).sum(-1), record["own_domain"])
    routed = np.where(record["oracle"] > 0, record["routing_accuracy"], 0) * record["oracle"]
    np.testing.assert_allclose(routed, record["own_domain"], atol=1e-12)


@given(st.integers(0, 10_000), st.permutations(range(4)))
def test_renaming_the_experts_renames_the_results(seed, order):
    rng = np.random.default_rng(seed)
    experts, weights = rng.normal(size=(20, 4, 3)), rng.dirichlet(np.ones(4), size=20)
    y, mixture = rng.integers(3, size=20), rng.normal(size=(20, 3))
    first = probe_outputs(ExpertOutputs(experts, weights, mixture), y, "classification")
    second = probe_outputs(ExpertOutputs(experts[:, order], weights[:, order], mixture), y, "classification")
    np.testing.assert_array_equal(second["matrix"], first["matrix"][np.ix_(order, order)])
    for name in ("own_domain", "routing_accuracy", "oracle", "gate_error", "expert_error", "combination_error"):
        assert second[name] == first[name]
