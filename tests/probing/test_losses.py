"""Log loss of experts and mixture: scikit-learn's, known answers, and single samples summed one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.svm import SVC

from distilled_experts import MoDEClassifier, MoDERegressor
from distilled_experts.layers import MixtureOfExperts
from distilled_experts.probing import (
    ExpertLosses,
    ExpertOutputs,
    ProbedSamples,
    class_subsets,
    dominated_by,
    log_losses,
    loss_statistic,
    probe,
    probe_samples,
)

X, Y = load_iris(return_X_y=True)
ZERO = -np.log(np.finfo(float).eps)


@given(st.integers(1, 40), st.integers(0, 1000))
def test_the_mean_is_that_of_scikit_learn_for_probabilities_of_zero_too(n, seed):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet([0.3, 0.3, 0.3], size=n)
    probabilities[rng.random(n) < 0.2] = [1, 0, 0]
    y = rng.integers(3, size=n)
    expected = log_loss(y, probabilities, labels=range(3))
    assert log_losses(probabilities, y).mean() == pytest.approx(expected, rel=1e-12, abs=1e-15)


def sure(gate: list[int], y: np.ndarray) -> ProbedSamples:
    """Expert i is sure of class i; the gate sends class c to the expert `gate[c]`, whose answer is the mixture's."""
    n = len(gate)
    experts = np.broadcast_to(np.eye(n), (len(y), n, n))
    weights = dominated_by(np.array(gate)[y], n)
    losses = ExpertLosses(log_losses(experts, y), log_losses(weights, y))
    return ProbedSamples(
        ExpertOutputs(experts, weights, weights), y, "classification", class_subsets(y, "abc"), losses=losses
    )


def test_experts_that_are_sure_of_one_class_each():
    y = np.array([0, 0, 0, 1, 1, 2])
    right, wrong = probe_samples(sure([0, 1, 2], y)), probe_samples(sure([1, 2, 0], y))
    assert right.log_loss == right.own_domain_log_loss == pytest.approx(0, abs=1e-15)
    np.testing.assert_allclose(right.log_loss_matrix, ZERO * (1 - np.eye(3)), atol=1e-15)
    assert wrong.log_loss == wrong.own_domain_log_loss == pytest.approx(ZERO)
    assert right.perplexity is right.perplexity_matrix is right.to_dict()["perplexity"] is None
    assert "log loss 36.044" in wrong._repr_html_()


@given(st.integers(1, 12), st.integers(0, 1000))
def test_counts_are_samples_drawn_several_times(n, seed):
    rng = np.random.default_rng(seed)
    losses = ExpertLosses(rng.exponential(size=(n, 3)), rng.exponential(size=n))
    domains, counts = rng.integers(3, size=n), rng.integers(3, size=(4, n))
    counts[:, 0] = 1
    found = loss_statistic(losses, domains)(counts.astype(float))
    for r, row in enumerate(counts):
        drawn = np.repeat(np.arange(n), row)
        assert found["log_loss"][r] == pytest.approx(np.mean([losses.mixture[i] for i in drawn]))
        own = [losses.experts[i, domains[i]] for i in drawn]
        assert found["own_domain_log_loss"][r] == pytest.approx(np.mean(own))
        for i in range(3):
            for j in range(3):
                inside = [losses.experts[k, i] for k in drawn if domains[k] == j]
                expected = np.mean(inside) if inside else np.nan
                np.testing.assert_allclose(found["log_loss_matrix"][r, i, j], expected)


def test_intervals_of_the_losses_are_those_of_a_mean():
    rng = np.random.default_rng(0)
    outputs = ExpertOutputs(
        rng.normal(size=(400, 2, 2)), np.eye(2)[rng.integers(2, size=400)], rng.normal(size=(400, 2))
    )
    y = rng.integers(2, size=400)
    losses = ExpertLosses.of_scores(outputs, y)
    record = probe_samples(ProbedSamples(outputs, y, "classification", class_subsets(y, "ab"), losses=losses))
    half = 1.96 * losses.mixture.std() / 20
    assert record.intervals["log_loss"].low == pytest.approx(record.log_loss - half, abs=0.1 * half)
    assert record.intervals["log_loss"].high == pytest.approx(record.log_loss + half, abs=0.1 * half)
    assert record.intervals["log_loss_matrix"].low.shape == (2, 2)


def test_the_loss_of_an_estimator_is_that_of_its_probabilities():
    model = MoDEClassifier(n_estimators=1, max_iter=10, n_experts=3, random_state=0).fit(X, Y)
    weight = np.random.default_rng(0).uniform(size=len(Y))
    plain, weighted = probe(model, X, Y), probe(model, X, Y, sample_weight=weight)
    probabilities = model.predict_proba(X)
    assert plain.log_loss == pytest.approx(log_loss(Y, probabilities), rel=1e-5)
    assert weighted.log_loss == pytest.approx(log_loss(Y, probabilities, sample_weight=weight), rel=1e-5)
    sizes = plain.shares > 0
    own = (np.diagonal(plain.log_loss_matrix) * plain.shares)[sizes].sum()
    assert plain.own_domain_log_loss == pytest.approx(own)


def test_the_loss_of_a_torch_module_is_its_cross_entropy():
    layer = MixtureOfExperts(4, 3, hidden=8, n_experts=2)
    x, y = torch.from_numpy(X).float(), torch.from_numpy(Y)
    expected = torch.nn.functional.cross_entropy(layer(x).output, y)
    assert probe(layer, x, y).log_loss == pytest.approx(float(expected.detach()), rel=1e-5)


def test_members_of_ensembles_that_give_probabilities_and_those_that_give_none():
    forest = RandomForestClassifier(3, max_depth=2, random_state=0).fit(X, Y)
    record = probe(forest, X, Y)
    assert record.log_loss == pytest.approx(log_loss(Y, forest.predict_proba(X)))
    alone = [log_loss(Y, tree.predict_proba(X)) for tree in forest.estimators_]
    shares = record.shares
    for row, expected in zip(record.log_loss_matrix, alone, strict=True):
        assert row[shares > 0] @ shares[shares > 0] == pytest.approx(expected)
    voting = VotingClassifier([("labels", SVC()), ("probabilities", LogisticRegression(max_iter=500))]).fit(X, Y)
    plain = probe(voting, X, Y).to_dict()
    assert plain["log_loss"] == plain["own_domain_log_loss"] == {"value": None, "low": None, "high": None}
    labels, probabilities = plain["log_loss_matrix"]["value"]
    assert labels == [None, None]
    assert any(loss is not None for loss in probabilities)


def test_numbers_have_none():
    X, y = load_diabetes(return_X_y=True)
    record = probe(MoDERegressor(max_iter=2, hidden=4, random_state=0).fit(X, y), X, y)
    plain = record.to_dict()
    assert plain["log_loss"] is plain["own_domain_log_loss"] is plain["log_loss_matrix"] is None
    assert "log loss" not in record._repr_html_()
