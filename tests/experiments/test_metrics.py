from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as oracle
from scipy.special import softmax

from distilled_experts.errors import DataError, InvalidParameterError
from distilled_experts.experiments.metrics import METRICS, default_metric, score, score_many, validate

GENERATOR_SEED = 3


def _classes(n_classes: int, models: tuple[int, ...] = (4,)) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(GENERATOR_SEED)
    y = np.concatenate([np.arange(n_classes), generator.integers(0, n_classes, 40)])
    # Rounding makes ties, which ranks must handle.
    return y, softmax(generator.normal(size=(*models, y.size, n_classes)).round(1), axis=-1)


@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_classification_agrees_with_scikit_learn(n_classes: int) -> None:
    y, p = _classes(n_classes)
    for one in p:
        labels = one.argmax(axis=1)
        area = oracle.roc_auc_score(y, one[:, 1]) if n_classes == 2 else oracle.roc_auc_score(y, one, multi_class="ovr")
        assert score("accuracy", y, one) == pytest.approx(oracle.accuracy_score(y, labels))
        assert score("balanced_accuracy", y, one) == pytest.approx(oracle.balanced_accuracy_score(y, labels))
        assert score("log_loss", y, one) == pytest.approx(-oracle.log_loss(y, one))
        assert score("roc_auc", y, one) == pytest.approx(area)


@pytest.mark.parametrize("shape", [(30,), (30, 1), (30, 3)])
def test_regression_agrees_with_scikit_learn(shape: tuple[int, ...]) -> None:
    generator = np.random.default_rng(GENERATOR_SEED)
    y, p = generator.normal(size=shape), generator.normal(size=shape)
    assert score("r2", y, p) == pytest.approx(oracle.r2_score(y, p))
    assert score("mae", y, p) == pytest.approx(-oracle.mean_absolute_error(y, p))
    assert score("rmse", y, p) == pytest.approx(-oracle.root_mean_squared_error(y, p))


@pytest.mark.parametrize("metric", METRICS)
def test_stacks_of_models_score_as_each_alone(metric: str) -> None:
    if METRICS[metric].task == "classification":
        y, p = _classes(3, (2, 5))
    else:
        generator = np.random.default_rng(GENERATOR_SEED)
        y, p = generator.normal(size=20), generator.normal(size=(2, 5, 20))
    scores = score_many(metric, y, p)
    assert scores.shape == (2, 5)
    np.testing.assert_allclose(scores, [[score(metric, y, one) for one in row] for row in p], rtol=1e-12)


def test_certain_and_wrong_has_a_finite_loss() -> None:
    y, p = np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]])
    for dtype in (np.float32, np.float64):
        assert score("log_loss", y, p.astype(dtype)) == pytest.approx(-oracle.log_loss(y, p.astype(dtype)))
    assert score("log_loss", y, np.array([[1, 0], [0, 1]])) == pytest.approx(0, abs=1e-12)


def test_constant_truth() -> None:
    for p in (np.ones(3), np.array([1.0, 2.0, 1.0])):
        assert score("r2", np.ones(3), p) == oracle.r2_score(np.ones(3), p)


def test_absent_classes() -> None:
    y = np.array([0, 0, 2, 2, 2])
    p = _classes(4)[1][0, :5]
    expected = np.mean([oracle.roc_auc_score(y == code, p[:, code]) for code in (0, 2)])
    assert score("roc_auc", y, p) == pytest.approx(expected)
    with pytest.raises(DataError, match="roc_auc is not defined"):
        score("roc_auc", np.zeros(5, dtype=int), p)


def test_names_are_checked() -> None:
    assert validate(default_metric("classification"), "classification") == "accuracy"
    assert validate(default_metric("regression"), "regression") == "r2"
    with pytest.raises(InvalidParameterError, match="metric: 'accuracy' is not allowed; allowed: r2, mae, rmse"):
        validate("accuracy", "regression")
    with pytest.raises(InvalidParameterError, match="metric: 'f1'"):
        score("f1", [0], [[1.0]])


def test_shapes_are_checked() -> None:
    for metric, y, p in (
        ("accuracy", np.zeros(3, int), np.ones((2, 2))),
        ("accuracy", np.zeros(0, int), np.ones((0, 2))),
        ("accuracy", np.array([0, 5]), np.ones((2, 2))),
        ("mae", np.zeros((3, 2)), np.zeros((3, 1))),
        ("mae", np.zeros(3), np.zeros(4)),
    ):
        with pytest.raises(DataError, match="not"):
            score(metric, y, p)
