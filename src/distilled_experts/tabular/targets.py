"""Targets as a network sees them: class codes, and standardised numbers."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from distilled_experts.checks import listed
from distilled_experts.errors import DataError, ModelFolderError
from distilled_experts.tabular.statistics import FloatArray, check_weight, distinct_values, mean_and_deviation

__all__ = ["ClassTarget", "RegressionTarget"]

_CLASS_KINDS = "OUbiuf"
_LABELS = (str, bool, int, float)


class ClassTarget:
    """Class labels (text, integers, booleans, floats) as codes 0 … C-1, in sorted order.

    Attributes
    ----------
    classes : ndarray of shape (C,)
        The labels, in the order of their codes.

    Examples
    --------
    >>> target = ClassTarget().fit(["spam", "ham", "spam"])
    >>> target.encode(["ham", "spam"])
    array([0, 1])
    >>> target.decode([1, 0]).tolist()
    ['spam', 'ham']
    """

    def __init__(self) -> None:
        self.classes: npt.NDArray[Any] = np.empty(0)

    def fit(self, y: Any, sample_weight: npt.ArrayLike | None = None) -> Self:
        """Learn the labels; those of rows with weight 0 alone are left out.

        Raises
        ------
        DataError
            Where a label is missing or neither text, number nor boolean.
        """
        labels = _labels(y)
        weight = check_weight(sample_weight, labels.size)
        if not labels.size:
            raise DataError("y: the target has 0 rows; allowed: at least 1")
        self.classes = _sorted_labels(labels if weight is None else labels[weight > 0])
        return self

    def encode(self, y: Any) -> npt.NDArray[np.int64]:
        """Return the codes of labels, shape (n_rows,).

        Raises
        ------
        DataError
            Where a label was not seen in fit.
        """
        labels = _labels(y)
        codes: npt.NDArray[np.int64] = pd.Index(self.classes).get_indexer(pd.Index(labels)).astype(np.int64)
        if (codes < 0).any():
            wrong = labels[codes < 0].tolist()[0]
            raise DataError(f"y: class {wrong!r} was not seen in fit; allowed: {listed(self.classes.tolist())}")
        return codes

    def decode(self, codes: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return the labels of codes, any shape."""
        labels: npt.NDArray[Any] = self.classes[np.asarray(codes, dtype=np.int64)]
        return labels

    def to_state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Return the labels as a JSON-able dictionary, and no arrays."""
        return {"kind": "classes", "dtype": self.classes.dtype.str, "classes": self.classes.tolist()}, {}

    @classmethod
    def from_state(cls, state: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> Self:
        """Rebuild a fitted target.

        Raises
        ------
        ModelFolderError
            Where the state is damaged.
        """
        restored = cls()
        try:
            if state["kind"] != "classes" or not isinstance(state["classes"], list):
                raise ModelFolderError(f"target: kind {state['kind']!r} is not allowed; allowed: classes")
            if not all(isinstance(label, _LABELS) for label in state["classes"]):
                raise TypeError("classes that are no text, numbers or booleans")
            restored.classes = np.array(state["classes"], dtype=_class_type(state["dtype"]))
        except (KeyError, TypeError, OverflowError) as error:
            raise ModelFolderError(f"target: the saved state is damaged ({error!r})") from error
        return restored


def _class_type(name: str) -> np.dtype[Any]:
    """Type of an array of classes; text takes its length from the classes, not from a file that may say any."""
    kind = np.dtype(name)
    if kind.kind not in _CLASS_KINDS:
        raise TypeError(f"classes of type {name}")
    return np.dtype(str) if kind.kind == "U" else kind


class RegressionTarget:
    """Numbers, standardised by weighted mean and deviation, so that α means the same on any scale.

    Attributes
    ----------
    center, scale : ndarray of shape (n_targets,)
        What is taken off and divided by; the scale of a constant target is 1.

    Examples
    --------
    >>> target = RegressionTarget().fit([10.0, 30.0])
    >>> target.encode([10.0, 30.0])
    array([[-1.],
           [ 1.]])
    >>> target.decode([[0.0], [2.0]])
    array([20., 40.])
    """

    def __init__(self) -> None:
        self.center: FloatArray = np.empty(0)
        self.scale: FloatArray = np.empty(0)
        self.flat = True

    def fit(self, y: Any, sample_weight: npt.ArrayLike | None = None) -> Self:
        """Learn location and spread of targets, shape (n_rows,) or (n_rows, n_targets).

        Raises
        ------
        DataError
            Where a target is missing, infinite or not a number.
        """
        values = _numbers(y)
        self.flat = values.ndim == 1
        values = values[:, None] if self.flat else values
        weight = check_weight(sample_weight, len(values))
        if weight is not None:
            values, weight = values[weight > 0], weight[weight > 0]
        if not values.size:
            raise DataError("y: the target has 0 rows; allowed: at least 1")
        pairs = [mean_and_deviation(distinct_values(column, weight)) for column in values.T]
        self.center = np.array([mean for mean, _ in pairs])
        self.scale = np.array([deviation if deviation > 0 else 1.0 for _, deviation in pairs])
        return self

    def encode(self, y: Any) -> FloatArray:
        """Return standardised targets, float64, shape (n_rows, n_targets)."""
        values = _numbers(y)
        if values.shape[1:] != (() if self.flat else self.center.shape):
            raise DataError(f"y: shape {values.shape} does not fit the {self.center.size} target(s) seen in fit")
        encoded: FloatArray = ((values[:, None] if self.flat else values) - self.center) / self.scale
        return encoded

    def decode(self, values: npt.ArrayLike) -> FloatArray:
        """Return predictions of shape (…, n_targets) in original units; (…) where fit saw a flat target."""
        decoded: FloatArray = np.asarray(values, dtype=np.float64) * self.scale + self.center
        return decoded[..., 0] if self.flat else decoded

    def to_state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Return what was learnt as a JSON-able dictionary and a dictionary of arrays."""
        return {"kind": "numbers", "flat": self.flat}, {"center": self.center, "scale": self.scale}

    @classmethod
    def from_state(cls, state: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> Self:
        """Rebuild a fitted target.

        Raises
        ------
        ModelFolderError
            Where the state is damaged.
        """
        restored = cls()
        try:
            if state["kind"] != "numbers":
                raise ModelFolderError(f"target: kind {state['kind']!r} is not allowed; allowed: numbers")
            restored.flat = bool(state["flat"])
            restored.center = np.asarray(arrays["center"], dtype=np.float64)
            restored.scale = np.asarray(arrays["scale"], dtype=np.float64)
        except (KeyError, TypeError) as error:
            raise ModelFolderError(f"target: the saved state is damaged ({error!r})") from error
        if restored.center.ndim != 1 or restored.center.shape != restored.scale.shape:
            raise ModelFolderError("target: the saved center and scale differ in shape; allowed: one of each a target")
        return restored


def _flat(y: Any) -> npt.NDArray[Any]:
    if hasattr(y, "to_pandas"):
        y = y.to_pandas()
    if isinstance(y, (pd.Series, pd.DataFrame)) and pd.isna(y).to_numpy().any():
        raise DataError("y: holds missing values; allowed: a target in every row")
    return np.asarray(y)


def _labels(y: Any) -> npt.NDArray[Any]:
    labels = _flat(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(f"y: shape {labels.shape} is not allowed; allowed: (n_rows,)")
    if labels.dtype.kind == "S":
        labels = labels.astype(str)
    if labels.dtype.kind not in _CLASS_KINDS:
        raise DataError(f"y: classes of type {labels.dtype} are not allowed; allowed: text, numbers, booleans")
    if labels.dtype.kind in "Of" and pd.isna(labels).any():
        raise DataError("y: holds missing values (NaN or None); allowed: a class in every row")
    return labels


def _sorted_labels(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if labels.dtype.kind != "O":
        return np.unique(labels)
    found = pd.unique(pd.Series(labels, dtype=object))
    distinct = [label.item() if isinstance(label, np.generic) else label for label in found]
    wrong = next((label for label in distinct if not isinstance(label, _LABELS)), None)
    if wrong is not None:
        raise DataError(f"y: class {wrong!r} is not allowed; allowed: text, numbers, booleans")
    # Text and numbers do not compare, so mixed labels are sorted by kind first.
    distinct.sort(key=lambda label: (isinstance(label, str), label))
    result = np.empty(len(distinct), dtype=object)
    result[:] = distinct
    return result


def _numbers(y: Any) -> FloatArray:
    try:
        values = np.asarray(_flat(y), dtype=np.float64)
    except (TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError("y: the target holds values that are not numbers; allowed: finite numbers") from error
    if values.ndim not in (1, 2):
        raise DataError(f"y: shape {values.shape} is not allowed; allowed: (n_rows,) or (n_rows, n_targets)")
    if not np.isfinite(values).all():
        raise DataError("y: the target holds infinite or missing (NaN) values; allowed: finite numbers")
    return values
