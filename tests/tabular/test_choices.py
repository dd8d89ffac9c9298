"""What held-out rows decide for an estimator."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from distilled_experts import MoDEClassifier
from distilled_experts.errors import TrainingError

FAST = {"max_iter": 15, "hidden": 8, "learning_rate": 0.02, "random_state": 0}


def test_large_tables_hold_rows_out_and_choose_alpha_there():
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
    options = {"max_iter": 40, "hidden": 32, "n_estimators": 2, "random_state": 0}
    model = MoDEClassifier(**options).fit(X_train, y_train)
    assert model.score(X_test, y_test) > 0.95
    assert model.alpha_ == min(model.alpha_path_, key=model.alpha_path_.get)
    assert model.n_iter_ == len(model.history_["validation_loss"]) <= 40
    again = MoDEClassifier(**options).fit(X_train, y_train)
    np.testing.assert_array_equal(model.predict_proba(X_test), again.predict_proba(X_test))


def test_given_validation_rows_are_the_ones_that_choose():
    X, y = load_breast_cancer(return_X_y=True)
    one = MoDEClassifier(**FAST, alpha=[0.0, 0.1], n_estimators=1)
    model = one.fit(X[:300], y[:300], eval_set=(X[300:], y[300:]))
    assert set(model.alpha_path_) == {0.0, 0.1}
    held = log_loss(y[300:], model.predict_proba(X[300:]))
    assert held == pytest.approx(model.alpha_path_[model.alpha_], rel=1e-4)


def test_an_array_of_strengths_is_a_list_of_them(tmp_path):
    X, y = load_breast_cancer(return_X_y=True)
    options = {**FAST, "max_iter": 3, "early_stopping": True, "n_estimators": 1, "n_bins": 0}
    arrays = MoDEClassifier(**options, alpha=np.array([0.0, 0.5]), weight_decay=np.array([1.0, 4.0])).fit(X, y)
    lists = MoDEClassifier(**options, alpha=[0.0, 0.5], weight_decay=[1.0, 4.0]).fit(X, y)
    assert arrays.alpha_path_ == lists.alpha_path_
    assert arrays.weight_decay_ in (1.0, 4.0)
    arrays.save(tmp_path / "model")
    assert MoDEClassifier.load(tmp_path / "model").get_params() == lists.get_params()


def test_held_out_rows_choose_the_encoding():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(400, 2))
    options = {**FAST, "max_iter": 60, "alpha": 0.0, "n_estimators": 2}
    jumps, plane = np.sin(20 * X[:, 0]) > 0, X.sum(1) > 0
    assert MoDEClassifier(**options).fit(X, jumps).network_.encoding is not None
    assert MoDEClassifier(**options, n_bins=0).fit(X, jumps).network_.encoding is None
    for y in (jumps, plane):
        losses = {n: MoDEClassifier(**options, n_bins=n).fit(X, y).alpha_path_[0.0] for n in (0, 16)}
        automatic = MoDEClassifier(**options).fit(X, y)
        assert automatic.alpha_path_[0.0] == min(losses.values())
        assert (automatic.network_.encoding is not None) == (losses[16] < losses[0])


def test_features_that_say_nothing_are_left_aside():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 40))
    y = X[:, 0] * X[:, 1] > 0
    options = {**FAST, "max_iter": 150, "n_bins": 0, "n_estimators": 2, "early_stopping": True}
    plain = MoDEClassifier(**options, weight_decay=0.0, scale_features=False).fit(X[:400], y[:400])
    found = MoDEClassifier(**options).fit(X[:400], y[:400])
    assert found.score(X[400:], y[400:]) > plain.score(X[400:], y[400:]) + 0.1
    size = found.network_.hidden_weight.abs().mean((0, 1, 2, 3))
    assert size[:2].min() > 3 * size[2:].max()


def test_members_that_decide_nothing_are_made_with_what_the_others_chose():
    X, y = load_breast_cancer(return_X_y=True)
    options = {**FAST, "early_stopping": True, "max_iter": 30}
    model = MoDEClassifier(**options, n_estimators=4).fit(X, y)
    assert model.network_.stack_shape == (4, 1)
    chosen = {"alpha": model.alpha_, "weight_decay": model.weight_decay_}
    chosen["n_bins"] = 0 if model.network_.encoding is None else 16
    told = MoDEClassifier(**options, **chosen, n_estimators=4).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), told.predict_proba(X), atol=1e-5)
    assert np.isfinite(list(model.history_.values())).all()


def test_encoding_and_decay_are_chosen_with_the_middle_strength_and_then_the_strength():
    X, y = load_digits(return_X_y=True)
    options = {**FAST, "n_estimators": 2}
    model = MoDEClassifier(**options).fit(X, y)
    single = {
        (n_bins, decay): MoDEClassifier(**options, alpha=0.1, n_bins=n_bins, weight_decay=decay).fit(X, y)
        for n_bins in (0, 16)
        for decay in (2.0, 10.0)
    }
    n_bins, decay = min(single, key=lambda choice: single[choice].alpha_path_[0.1])
    assert (model.network_.encoding is not None) == (n_bins > 0)
    assert model.weight_decay_ == decay
    path = MoDEClassifier(**options, alpha=[0.0, 0.1, 1.0], n_bins=n_bins, weight_decay=decay).fit(X, y).alpha_path_
    assert list(model.alpha_path_) == [0.0, 0.1, 1.0]
    assert model.alpha_path_ == pytest.approx(path, rel=1e-4)


@pytest.mark.parametrize("alphas", [[1e300, 0.0], [0.0, 1e300]])
def test_what_has_no_finite_loss_is_not_chosen(alphas):
    X, y = load_breast_cancer(return_X_y=True)
    model = MoDEClassifier(**FAST, alpha=alphas, early_stopping=True).fit(X, y)
    assert model.alpha_ == 0.0
    assert set(model.alpha_path_) == {0.0}
    with pytest.raises(TrainingError, match="not finite in epoch 1 "):
        MoDEClassifier(**FAST, alpha=1e300, early_stopping=True).fit(X, y)


def test_a_fit_that_diverges_keeps_its_best_weights_and_says_so(tmp_path):
    X, y = load_breast_cancer(return_X_y=True)
    options = {"max_iter": 60, "hidden": 8, "n_estimators": 3, "random_state": 0, "alpha": [0.0, 0.1]}
    with pytest.warns(UserWarning, match=r"the loss of \d of 3 mixtures was not finite from epoch \d+ on"):
        model = MoDEClassifier(**options, learning_rate=3e4, weight_decay=0.0).fit(X, y)
    assert model.score(X, y) > 0.8
    assert len(model.history_["train_loss"]) == model.n_iter_ < 60
    assert np.isfinite(list(model.history_.values())).all()
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(MoDEClassifier.load(tmp_path / "model").predict_proba(X), model.predict_proba(X))


def test_weights_are_rows_also_where_rows_are_held_out():
    X, y = load_breast_cancer(return_X_y=True)
    X, y = X[:260], y[:260]
    weight = np.random.default_rng(0).integers(0, 3, size=len(y))
    order = np.random.default_rng(1).permutation(weight.sum())
    twice = [np.repeat(values, weight, axis=0)[order] for values in (X, y)]
    options = {**FAST, "max_iter": 5, "early_stopping": True}
    weighted = MoDEClassifier(**options).fit(X, y, sample_weight=weight)
    assert weighted.network_.encoding is not None
    np.testing.assert_array_equal(weighted.predict_proba(X), MoDEClassifier(**options).fit(*twice).predict_proba(X))


def test_members_that_end_early_leave_no_gaps_behind(tmp_path):
    X, y = load_breast_cancer(return_X_y=True)
    options = {**FAST, "max_iter": 60, "n_estimators": 5, "n_iter_no_change": 1, "alpha": 0.1, "n_bins": 0}
    classifier = MoDEClassifier(**options).fit(X, y)
    ends = [MoDEClassifier(**{**options, "n_iter_no_change": 60}).fit(X, y).n_iter_, classifier.n_iter_]
    assert ends[1] < ends[0]
    assert np.isfinite(list(classifier.history_.values())).all()
    classifier.save(tmp_path / "model")
    assert MoDEClassifier.load(tmp_path / "model").history_ == classifier.history_
