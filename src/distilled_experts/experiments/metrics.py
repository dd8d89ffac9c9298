"""Scores of predictions. Higher is always better: losses come out negated.

Every metric takes any leading model axes in front of the rows, so that one call scores a stack of models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from distilled_experts.errors import DataError, InvalidParameterError

__all__ = ["METRICS", "Metric", "default_metric", "score", "score_many", "validate"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """A way to score.

    Attributes
    ----------
    task : {"classification", "regression"}
        Where it applies.
    negated : bool
        Whether it is a loss, whose negative is the score.
    function : callable
        Takes the truth and predictions (*, n_rows, …), returns scores (*).
    """

    task: str
    negated: bool
    function: Callable[[npt.NDArray[Any], FloatArray], FloatArray]


def _accuracy(y: npt.NDArray[Any], p: FloatArray) -> FloatArray:
    return np.asarray((p.argmax(axis=-1) == y).mean(axis=-1))


def _balanced_accuracy(y: npt.NDArray[Any], p: FloatArray) -> FloatArray:
    """Mean recall of the classes that occur in y."""
    right = p.argmax(axis=-1) == y
    recalls = [right[..., y == code].mean(axis=-1) for code in np.unique(y)]
    return np.asarray(np.mean(recalls, axis=0))


def _roc_auc(y: npt.NDArray[Any], p: FloatArray) -> FloatArray:
    """Area under the curve of the second class, or the mean of each class against the rest."""
    codes = np.unique(y)
    if codes.size < 2:
        raise DataError("metric: roc_auc is not defined where all rows are of one class; allowed: at least 2 classes")
    if p.shape[-1] == 2:
        codes = np.array([1])
    areas = [_area(y == code, p[..., code]) for code in codes]
    return np.asarray(np.mean(areas, axis=0))


def _area(positive: npt.NDArray[np.bool_], values: FloatArray) -> FloatArray:
    # Mann and Whitney: the share of (positive, negative) pairs in the right order, ties counting half.
    ranks = rankdata(values, axis=-1)
    n_positive = int(positive.sum())
    above = ranks[..., positive].sum(axis=-1) - n_positive * (n_positive + 1) / 2
    return np.asarray(above / (n_positive * (positive.size - n_positive)))


def _log_loss(y: npt.NDArray[Any], p: FloatArray) -> FloatArray:
    picked = np.take_along_axis(p, np.broadcast_to(y[:, None], (*p.shape[:-1], 1)), axis=-1)[..., 0]
    eps = np.finfo(p.dtype).eps
    return np.asarray(-np.log(np.clip(picked, eps, 1 - eps), dtype=np.float64).mean(axis=-1))


def _r2(y: npt.NDArray[Any], p: FloatArray) -> FloatArray:
    """Coefficient of determination, averaged over targets; for a constant target 1 if hit exactly, else 0."""
    residual = ((y - p) ** 2).sum(axis=-2)
    total = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    share = np.divide(residual, total, out=np.where(residual == 0, 0.0, 1.0), where=total > 0)
    return np.asarray((1 - share).mean(axis=-1))


def _mae(y: npt.NDArray[Any], p: FloatArray) -> FloatArray:
    return np.asarray(np.abs(y - p).mean(axis=(-2, -1)))


def _rmse(y: npt.NDArray[Any], p: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(((y - p) ** 2).mean(axis=-2)).mean(axis=-1))


METRICS: dict[str, Metric] = {
    "accuracy": Metric("classification", False, _accuracy),
    "balanced_accuracy": Metric("classification", False, _balanced_accuracy),
    "roc_auc": Metric("classification", False, _roc_auc),
    "log_loss": Metric("classification", True, _log_loss),
    "r2": Metric("regression", False, _r2),
    "mae": Metric("regression", True, _mae),
    "rmse": Metric("regression", True, _rmse),
}
"""All metrics by name."""


def default_metric(task: str) -> str:
    """Accuracy for classes, R² for numbers.

    Examples
    --------
    >>> default_metric("regression")
    'r2'
    """
    return "accuracy" if task == "classification" else "r2"


def validate(metric: str, task: str) -> str:
    """Return the metric's name if it fits the task.

    Raises
    ------
    InvalidParameterError
        Where it is unknown or belongs to the other task.

    Examples
    --------
    >>> validate("mae", "classification")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    distilled_experts.errors.InvalidParameterError: metric: 'mae' is not allowed; allowed: accuracy, ...
    """
    allowed = [name for name, known in METRICS.items() if known.task == task]
    if metric not in allowed:
        raise InvalidParameterError("metric", metric, allowed)
    return metric


def score(metric: str, y_true: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """Score one model's predictions.

    Parameters
    ----------
    metric : str
        A name in `METRICS`.
    y_true : array-like of shape (n_rows,) or (n_rows, n_targets)
        Class codes 0 … C-1, or numbers in original units.
    prediction : array-like of shape (n_rows, C), (n_rows,) or (n_rows, n_targets)
        Class probabilities, or numbers in original units.

    Returns
    -------
    float
        Higher is better.

    Raises
    ------
    InvalidParameterError
        Where the metric is unknown.
    DataError
        Where shapes do not fit, or the score is not defined (ROC AUC with a single class in ``y_true``; of
        more than two classes, those absent from ``y_true`` are left out of the mean).

    Examples
    --------
    >>> score("mae", [1.0, 2.0], [1.0, 4.0])
    -1.0
    """
    return float(score_many(metric, y_true, np.asarray(prediction)[None])[0])


def score_many(metric: str, y_true: npt.ArrayLike, predictions: npt.ArrayLike) -> FloatArray:
    """Score many models at once.

    Parameters
    ----------
    metric, y_true
        As in `score`.
    predictions : array-like of shape (*, n_rows, C), (*, n_rows) or (*, n_rows, n_targets)
        With at least one model axis in front.

    Returns
    -------
    ndarray of shape (*)
        Higher is better.

    Examples
    --------
    >>> score_many("accuracy", [0, 1], [[[0.9, 0.1], [0.8, 0.2]], [[0.6, 0.4], [0.1, 0.9]]])
    array([0.5, 1. ])
    """
    if metric not in METRICS:
        raise InvalidParameterError("metric", metric, METRICS)
    known = METRICS[metric]
    y, p = np.asarray(y_true), np.asarray(predictions)
    if not np.issubdtype(p.dtype, np.floating):
        p = p.astype(np.float64)
    if known.task == "regression":
        y, p = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
        if y.ndim == 1:
            y, p = y[:, None], p[..., None]
    _check_shapes(known.task, y, p)
    scores = known.function(y, p)
    return -scores if known.negated else scores


def _check_shapes(task: str, y: npt.NDArray[Any], p: FloatArray) -> None:
    rows_fit = p.ndim >= 3 and p.shape[-2] == len(y) > 0
    if not rows_fit or (task == "regression" and p.shape[-1] != y.shape[-1]):
        raise DataError(f"prediction: shape {p.shape} does not fit a truth of shape {y.shape}; allowed: a row for each")
    if task == "classification" and not (y.min() >= 0 and y.max() < p.shape[-1]):
        raise DataError(f"y_true: codes {y.min()} … {y.max()} are not allowed; allowed: 0 … {p.shape[-1] - 1}")
