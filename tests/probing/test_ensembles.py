"""Ensembles as mixtures without a gate: scikit-learn's, and lists of torch networks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from torch import nn

from distilled_experts.errors import DataError, InvalidParameterError
from distilled_experts.probing import Ensemble, probe

X, Y = load_iris(return_X_y=True, as_frame=True)
SPECIES = Y.map({0: "setosa", 1: "versicolor", 2: "virginica"})
NUMBERS, TARGET = load_diabetes(return_X_y=True, as_frame=True)
TREE = DecisionTreeClassifier(max_depth=2, random_state=0)


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(4, max_depth=2, random_state=0),
        VotingClassifier([("tree", TREE), ("linear", LogisticRegression(max_iter=500))], voting="soft"),
        VotingClassifier([("svm", SVC()), ("linear", LogisticRegression(max_iter=500))], voting="hard"),
        BaggingClassifier(TREE, 4, max_features=0.5, random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.parametrize("y", [Y, SPECIES], ids=["codes", "names"])
def test_classifiers(model, y):
    model.fit(X, y)
    record = probe(model, X, y)
    assert record.score == model.score(X, y)
    assert record.subsets == tuple(map(str, model.classes_))
    assert record.narrow_vision is None
    members = len(model.estimators_)
    for i in range(members):
        rows = X.to_numpy() if hasattr(model, "estimators_features_") or members == 4 else X
        rows = rows[:, model.estimators_features_[i]] if hasattr(model, "estimators_features_") else rows
        right = model.classes_[model.estimators_[i].predict(rows).astype(int)] == y.to_numpy()
        assert (record.matrix[i] * record.shares)[record.shares > 0].sum() == pytest.approx(right.mean())


@pytest.mark.parametrize(
    "model",
    [
        RandomForestRegressor(4, max_depth=3, random_state=0),
        ExtraTreesRegressor(4, max_depth=3, random_state=0),
        VotingRegressor([(f"tree {n}", DecisionTreeRegressor(max_depth=n)) for n in (2, 3, 4)]),
        BaggingRegressor(DecisionTreeRegressor(max_depth=3), 4, max_features=0.5, random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_regressors(model):
    record = probe(model.fit(NUMBERS, TARGET), NUMBERS, TARGET)
    assert record.score == pytest.approx(model.score(NUMBERS, TARGET))
    # The member nearest to the ensemble says about what the ensemble says.
    assert record.own_domain == pytest.approx(record.score, abs=0.05)


def test_the_first_of_two_members_dominates_as_both_are_equally_near_to_their_mean():
    pair = [("linear", LinearRegression()), ("tree", DecisionTreeRegressor(max_depth=2))]
    record = probe(VotingRegressor(pair).fit(NUMBERS, TARGET), NUMBERS, TARGET)
    assert record.shares.tolist() == [1, 0]


def test_several_targets():
    both = np.column_stack([TARGET, -TARGET])
    forest = RandomForestRegressor(3, max_depth=3, random_state=0).fit(NUMBERS, both)
    assert probe(forest, NUMBERS, both).score == pytest.approx(forest.score(NUMBERS, both))


def test_a_member_that_never_saw_a_class_gives_it_no_probability():
    y = np.array([0] + [1] * 20 + [2] * 20)
    rows = pd.DataFrame({"x": np.arange(41.0)})
    nearest = KNeighborsClassifier(1)  # trees would get the classes that were not drawn with a weight of zero
    bagging = BaggingClassifier(nearest, 5, max_samples=0.3, random_state=0).fit(rows, y)
    assert min(len(member.classes_) for member in bagging.estimators_) < 3
    samples = Ensemble(bagging).members_on(rows, y)
    np.testing.assert_allclose(samples.outputs.experts.sum(-1), 1)
    np.testing.assert_allclose(samples.outputs.experts.mean(1), samples.outputs.mixture)


def network(shift: float) -> nn.Module:
    """Class scores of one feature; the surer, the farther it lies from `shift`."""
    layer = nn.Linear(1, 2).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-1.0], [1.0]]))
        layer.bias.copy_(torch.tensor([shift, -shift]))
    return nn.Sequential(layer, nn.Dropout(0.5))


def test_the_most_confident_network_dominates():
    x, y = np.array([[-2.0], [2.0], [5.0]]), np.array([0, 1, 1])
    networks = [network(0.0), network(4.0)]
    record = probe(networks, x, y)
    assert record.domains.tolist() == [1, 0, 0]
    assert networks[0].training
    assert record.score == probe(Ensemble(networks), x, y).score
    scores = torch.stack([member.eval()(torch.from_numpy(x)).softmax(-1) for member in networks]).mean(0)
    np.testing.assert_allclose(Ensemble(networks).members_on(x, y).outputs.mixture, scores.detach())


def test_rules_of_ones_own():
    networks, x, y = [network(0.0), network(4.0)], np.array([[1.0], [2.0]]), np.array([1, 1])
    second = probe(Ensemble(networks, rule=lambda members, ensemble: np.array([1, 1])), x, y)
    assert second.own_domain == 0
    weighted = probe(Ensemble(networks, rule=lambda members, ensemble: np.array([[0.9, 0.1]] * 2)), x, y)
    assert weighted.own_domain == 1


def test_numbers_from_networks():
    record = probe([nn.Linear(2, 1), nn.Linear(2, 1)], np.ones((4, 2)), np.arange(4.0))
    assert record.task == "regression"


@pytest.mark.parametrize("rule", ["confident", "confidence"])
def test_rules_that_do_not_go_with_numbers(rule):
    with pytest.raises(InvalidParameterError, match=r"rule: .* allowed: nearest, or a function"):
        probe(Ensemble([nn.Linear(2, 1)], rule=rule), np.ones((4, 2)), np.arange(4.0))


def test_bad_input():
    forest = RandomForestClassifier(2, random_state=0)
    with pytest.raises(NotFittedError):
        probe(forest, X, Y)
    forest.fit(X, Y)
    with pytest.raises(DataError, match="unknown class '7'; the ensemble knows 0, 1, 2"):
        probe(forest, X, Y + 7)
    with pytest.raises(DataError, match="y: 3 targets for 150 samples"):
        probe(forest, X, Y[:3])
    with pytest.raises(InvalidParameterError, match="layer: 'top' is not allowed"):
        probe(forest, X, Y, layer="top")
    with pytest.raises(DataError, match=r"rule: weights of shape \(150, 3\)"):
        probe(Ensemble(forest, rule=lambda members, ensemble: ensemble), X, Y)
    with pytest.raises(InvalidParameterError, match="model: 'GradientBoostingClassifier'"):
        probe(GradientBoostingClassifier(n_estimators=2).fit(X, Y), X, Y)
