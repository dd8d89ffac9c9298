"""What scikit-learn expects of an estimator's input, around what tables may hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_array,
    check_consistent_length,
    column_or_1d,
    validate_data,
)

from distilled_experts.errors import DataError
from distilled_experts.tabular.streamed import StreamedTable

__all__ = ["canonical_rows", "check_classes", "check_numbers", "check_weights", "table_input"]

Array = NDArray[Any]


def table_input(estimator: BaseEstimator, X: Any, *, reset: bool) -> Any:
    """A table as it is where it has columns of its own, else a checked array; names and width are noted or compared."""
    if hasattr(X, "columns") or hasattr(X, "column_names"):
        names = pd.DataFrame(columns=X.columns) if isinstance(X, StreamedTable) else X
        validate_data(estimator, names, reset=reset, skip_check_array=True)
        if reset and len(X) == 0:
            raise DataError("X: the table has 0 rows; allowed: at least 1")
        return X
    options: dict[str, Any] = {
        "dtype": None,
        "ensure_all_finite": "allow-nan",
        "accept_sparse": ["csc", "csr"],
    }
    checked = validate_data(estimator, X, reset=reset, **options)
    if not scipy.sparse.issparse(checked) and checked.dtype.kind == "O":
        _check_cells(checked)
    return checked


def _check_cells(values: Array) -> None:
    """Refuse containers among the cells with the words that scikit-learn uses."""
    kinds = {type(cell) for cell in values.ravel()}
    for kind in kinds:
        if issubclass(kind, (dict, list, tuple, set)):
            raise TypeError(f"X: argument must be a string or a number, not {kind.__name__!r}")


def check_classes(X: Any, y: Any) -> Array:
    """Class labels, one a row."""
    labels = column_or_1d(y, warn=True)
    check_consistent_length(X, labels)
    check_classification_targets(labels)
    if pd.isna(labels).any():
        raise DataError("y: Input contains NaN; allowed: a class for every row")
    return np.asarray(labels)


def check_numbers(X: Any, y: Any) -> Array:
    """Regression targets, ``(n,)`` or ``(n, targets)``."""
    values = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y", ensure_min_samples=1)
    check_consistent_length(X, values)
    if values.ndim == 2 and values.shape[1] == 1:
        values = column_or_1d(values, warn=True)
    return np.asarray(values)


def check_weights(sample_weight: Any, X: Any) -> NDArray[np.float64]:
    """Weights, one a row, none negative and not all zero; ones where none are given."""
    shape_only = np.empty((X.shape[0], 0))
    weights = np.asarray(_check_sample_weight(sample_weight, shape_only, dtype=np.float64, ensure_non_negative=True))
    if not weights.any():
        raise DataError("sample_weight: all weights are zero; allowed: at least one non-zero number")
    return weights


def canonical_rows(x: Array, target: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Distinct rows in sorted order with their weights summed.

    A row that stands there twice, or once with weight 2, or elsewhere in the table, then gives the same sums to the
    last bit.

    Examples
    --------
    >>> canonical_rows(np.array([[2.0], [1.0], [2.0]]), np.array([0, 1, 0]), np.ones(3))
    (array([[1.],
           [2.]]), array([1, 0]), array([1., 2.]))
    """
    columns = np.column_stack([x, target]).astype(np.float64)
    _, first, inverse = np.unique(columns, axis=0, return_index=True, return_inverse=True)
    return x[first], target[first], np.bincount(inverse.ravel(), weights=weight, minlength=len(first))
