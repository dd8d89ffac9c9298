"""From a table of mixed columns to a matrix of features that a network can learn from."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from distilled_experts.checks import check_whole
from distilled_experts.errors import DataError, InvalidParameterError, ModelFolderError
from distilled_experts.tabular.columns import (
    BooleanColumn,
    CategoryColumn,
    Column,
    DateColumn,
    NumericColumn,
    Options,
)
from distilled_experts.tabular.frames import Name, TableView, check_names, view_table
from distilled_experts.tabular.kinds import recognise
from distilled_experts.tabular.state import N_STATISTICS, column_state, restore_column
from distilled_experts.tabular.statistics import FloatArray, check_weight
from distilled_experts.tabular.streamed import StreamedTable, features_in_file

__all__ = ["TablePreprocessor"]

_FORMAT = 1
_DTYPES = ("float32", "float64")
# Far below any use, and large enough that squares of features divided by it stay finite.
_LEAST_CLIP = 0.001
_SCALINGS = ("standard", "robust")


class TablePreprocessor:
    """Turn tables with numbers, categories, dates, booleans and missing values into features.

    Numbers are standardised, missing ones filled with the median and shown in an indicator feature;
    categories become one feature a label; booleans one feature; dates their days and their places in year,
    week and day.
    Columns that are constant or all missing in training are dropped. What is learnt depends neither on the order of
    the rows nor on whether a row stands there twice or once with weight 2; a row of weight 0 counts as absent.

    Parameters
    ----------
    max_categories : int, default=64
        Labels of a category that get a feature of their own, the most frequent ones. Where there are more,
        the others, and labels first seen at prediction, share one feature.
    smooth_clip : float or None, default=3.0
        Bound ``c`` of ``z / sqrt(1 + (z / c)²)``, which tames heavy tails of standardised numbers; or None.
    scaling : {"standard", "robust"}, default="standard"
        Mean and standard deviation, or median and interquartile range.
    dtype : {"float32", "float64"}, default="float32"
        Type of the features.

    Attributes
    ----------
    n_features_in, n_features_out : int
        Columns of the table, features of the result.
    feature_names_out : list of str
        Name of each feature.
    feature_sources : ndarray of shape (n_features_out,)
        Position of the column that each feature comes from.
    numeric_features : ndarray of bool, shape (n_features_out,)
        Which features are standardised numbers (days of dates too); the others lie between -1 and 1.

    Raises
    ------
    InvalidParameterError
        Where a parameter has a value that is not allowed.

    Examples
    --------
    >>> table = pd.DataFrame({"age": [20, 40, None], "city": ["A", "B", "A"], "paid": [True, False, True]})
    >>> preprocessor = TablePreprocessor(smooth_clip=None).fit(table)
    >>> preprocessor.feature_names_out
    ['age', 'age=missing', 'city=A', 'city=B', 'paid']
    >>> preprocessor.transform(table)
    array([[-1.,  0.,  1.,  0.,  1.],
           [ 1.,  0.,  0.,  1.,  0.],
           [ 0.,  1.,  1.,  0.,  1.]], dtype=float32)
    """

    def __init__(
        self,
        *,
        max_categories: int = 64,
        smooth_clip: float | None = 3.0,
        scaling: str = "standard",
        dtype: npt.DTypeLike = "float32",
    ) -> None:
        self.options = _check_options(max_categories, smooth_clip, scaling)
        self.dtype = _check_dtype(dtype)
        self.columns: tuple[Column, ...] = ()
        self.named = False
        self._fitted = False

    def fit(self, X: Any, sample_weight: npt.ArrayLike | None = None) -> Self:
        """Learn from a training table.

        Parameters
        ----------
        X : DataFrame (pandas, polars, pyarrow), array-like or scipy sparse, shape (n_rows, n_columns)
            Training rows. Missing cells may be None, NaN, NaT, `pandas.NA` or words such as ``?`` and ``NA``.
        sample_weight : array-like of shape (n_rows,), optional
            Weights ≥ 0.

        Raises
        ------
        DataError
            Where the table has no rows, infinite numbers, repeated names, or the weights do not fit.
        """
        view = view_table(X)
        weight = check_weight(sample_weight, view.n_rows)
        if view.n_rows == 0:
            raise DataError("X: the table has 0 rows; allowed: at least 1")
        keep = None if weight is None or weight.all() else weight > 0
        if weight is not None and keep is not None:
            weight = weight[keep]
        self.columns = tuple(
            _fit_column(_kept(view, j, keep), name, weight, self.options) for j, name in enumerate(view.names)
        )
        self.named = view.named
        self._fitted = True
        return self

    def transform(self, X: Any) -> npt.NDArray[Any]:
        """Return the features of a table with the columns seen in fit.

        Parameters
        ----------
        X : table of shape (n_rows, n_features_in)
            Columns in the order of fit; their names are compared where both tables have names.

        Returns
        -------
        ndarray of shape (n_rows, n_features_out)
            Finite numbers; those of a streamed table are in a file.

        Raises
        ------
        DataError
            Where columns are missing, unexpected or in another order, or hold what cannot be read.
        """
        view = view_table(X)
        self._check_columns(view)
        if isinstance(X, StreamedTable):
            return features_in_file(X, self.transform, self.n_features_out, self.dtype)
        features = np.empty((view.n_rows, self.n_features_out), dtype=self.dtype)
        start = 0
        for j, column in enumerate(self.columns):
            stop = start + len(column.features)
            if stop > start:
                column.write(view.column(j), features[:, start:stop])
            start = stop
        return features

    def fit_transform(self, X: Any, sample_weight: npt.ArrayLike | None = None) -> npt.NDArray[Any]:
        """Fit to a table and return its features."""
        return self.fit(X, sample_weight).transform(X)

    @property
    def n_features_in(self) -> int:
        """Columns of the table."""
        return len(self.columns)

    @property
    def n_features_out(self) -> int:
        """Features of the result."""
        return sum(len(column.features) for column in self.columns)

    @property
    def feature_names_in(self) -> list[Name]:
        """Names of the columns seen in fit; positions where the table had none."""
        return [column.name for column in self.columns]

    @property
    def feature_names_out(self) -> list[str]:
        """Name of each feature."""
        return [name for column in self.columns for name in column.features]

    @property
    def feature_sources(self) -> npt.NDArray[np.int64]:
        """Position of the column that each feature comes from."""
        return np.repeat(np.arange(len(self.columns)), [len(column.features) for column in self.columns])

    @property
    def numeric_features(self) -> npt.NDArray[np.bool_]:
        """Which features are standardised numbers."""
        return np.array([flag for column in self.columns for flag in _numeric_flags(column)], dtype=bool)

    def to_state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Return what was learnt as a JSON-able dictionary and a dictionary of arrays."""
        states = [column_state(column) for column in self.columns]
        state = {"format": _FORMAT, "dtype": self.dtype.name, "named": self.named, **asdict(self.options)}
        state["columns"] = [column for column, _ in states]
        numbers = np.array([numbers for _, numbers in states], dtype=np.float64)
        return state, {"statistics": numbers.reshape(-1, N_STATISTICS)}

    @classmethod
    def from_state(cls, state: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> Self:
        """Rebuild a fitted preprocessor; its features are bit-identical.

        Raises
        ------
        ModelFolderError
            Where the state is damaged or of another version.
        """
        try:
            if state["format"] != _FORMAT:
                raise ModelFolderError(f"preprocessing: format {state['format']!r} is not allowed; allowed: {_FORMAT}")
            options = {key: state[key] for key in ("max_categories", "smooth_clip", "scaling")}
            restored = cls(dtype=state["dtype"], **options)
            pairs = zip(state["columns"], np.asarray(arrays["statistics"], dtype=np.float64), strict=True)
            restored.columns = tuple(restore_column(*pair, restored.options) for pair in pairs)
            restored.named = bool(state["named"])
        except ModelFolderError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelFolderError(f"preprocessing: the saved state is damaged ({error!r})") from error
        restored._fitted = True
        return restored

    def _check_columns(self, view: TableView) -> None:
        if not self._fitted:
            raise DataError("TablePreprocessor: not fitted yet; allowed: transform after fit")
        if self.named and view.named:
            check_names(tuple(self.feature_names_in), view.names)
        if len(view.names) != self.n_features_in:
            raise DataError(f"X: {len(view.names)} columns are not allowed; allowed: {self.n_features_in}, as in fit")


def _kept(view: TableView, j: int, keep: npt.NDArray[np.bool_] | None) -> pd.Series[Any]:
    column = view.column(j)
    return column if keep is None else column[keep]


def _fit_column(column: pd.Series[Any], name: Name, weight: FloatArray | None, options: Options) -> Column:
    kind, date_format = recognise(column, name, weight)
    if kind == "date":
        return DateColumn.fit(column, name, weight, options, date_format)
    if kind == "category":
        return CategoryColumn.fit(column, name, weight, options)
    if kind == "boolean":
        return BooleanColumn.fit(column, name, weight, options)
    return NumericColumn.fit(column, name, weight, options)


def _numeric_flags(column: Column) -> list[bool]:
    flags = [False] * len(column.features)
    numbers = column.days if isinstance(column, DateColumn) else column
    if isinstance(numbers, NumericColumn) and numbers.scale > 0:
        flags[len(flags) - len(numbers.features)] = True
    return flags


def _check_options(max_categories: int, smooth_clip: object, scaling: str) -> Options:
    check_whole("max_categories", max_categories)
    if smooth_clip is not None and not (
        isinstance(smooth_clip, (int, float)) and _LEAST_CLIP <= smooth_clip < math.inf
    ):
        raise InvalidParameterError("smooth_clip", smooth_clip, f"numbers ≥ {_LEAST_CLIP}, or None")
    if scaling not in _SCALINGS:
        raise InvalidParameterError("scaling", scaling, _SCALINGS)
    return Options(int(max_categories), None if smooth_clip is None else float(smooth_clip), scaling)


def _check_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    try:
        checked = np.dtype(dtype)
    except TypeError:
        raise InvalidParameterError("dtype", dtype, _DTYPES) from None
    if checked.name not in _DTYPES:
        raise InvalidParameterError("dtype", dtype, _DTYPES)
    return checked
