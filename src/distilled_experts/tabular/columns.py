"""The columns of a fitted table: what each learnt from its training values, and how it writes its features.

Every class has ``fit``, which reads a training column, ``features``, the names of what it writes, and
``write``, which fills its share of the feature matrix. A column that was constant in training writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from distilled_experts.errors import DataError
from distilled_experts.tabular.frames import Name
from distilled_experts.tabular.statistics import (
    Distinct,
    FloatArray,
    distinct_values,
    mean_and_deviation,
    quantile,
    total_weights,
)
from distilled_experts.tabular.values import as_days, as_labels, as_numbers, is_text, parse_numbers

__all__ = [
    "LARGEST_FEATURE",
    "BooleanColumn",
    "CategoryColumn",
    "Column",
    "DateColumn",
    "NumericColumn",
    "Options",
]

# A normal distribution's interquartile range in standard deviations.
_NORMAL_RANGE = 1.3489795003921634
# Features stay far inside the range of float32, whatever a later file brings.
LARGEST_FEATURE = 1e30


@dataclass(frozen=True)
class Options:
    """What the user chose for all columns; see `TablePreprocessor`."""

    max_categories: int = 64
    smooth_clip: float | None = 3.0
    scaling: str = "standard"


@dataclass(frozen=True)
class NumericColumn:
    """A number: standardised, missing values filled with the median and shown in an indicator feature.

    Attributes
    ----------
    fill, center, scale : float
        Value for missing cells, location and spread that are taken off; scale 0 marks a constant column.
    indicator : bool
        Whether values were missing in training.
    """

    name: Name
    fill: float
    center: float
    scale: float
    indicator: bool
    smooth_clip: float | None
    kind: ClassVar[str] = "numeric"

    @classmethod
    def fit(cls, column: pd.Series[Any], name: Name, weight: FloatArray | None, options: Options) -> NumericColumn:
        """Learn from a training column."""
        return cls.fit_numbers(as_numbers(column, name), name, weight, options)

    @classmethod
    def fit_numbers(cls, x: FloatArray, name: Name, weight: FloatArray | None, options: Options) -> NumericColumn:
        """Learn from numbers, NaN where missing."""
        present = ~np.isnan(x)
        distinct = distinct_values(x[present], None if weight is None else weight[present])
        indicator = bool(distinct.weights.size > 0 and not present.all())
        if distinct.values.size < 2:
            value = float(distinct.values[0]) if distinct.values.size else 0.0
            return cls(name, value, value, 0.0, indicator, options.smooth_clip)
        center, scale = _location_and_spread(distinct, options.scaling)
        return cls(name, quantile(distinct, 0.5), center, scale, indicator, options.smooth_clip)

    @property
    def features(self) -> list[str]:
        """Names of the features that `write` fills."""
        return [str(self.name)] * (self.scale > 0) + [f"{self.name}=missing"] * self.indicator

    def write(self, column: pd.Series[Any], out: npt.NDArray[Any]) -> None:
        """Fill ``out``, shape (n_rows, len(features))."""
        self.write_numbers(as_numbers(column, self.name), out)

    def write_numbers(self, x: FloatArray, out: npt.NDArray[Any]) -> None:
        """Fill ``out`` from numbers, NaN where missing."""
        missing = np.isnan(x)
        if self.indicator:
            out[:, -1] = missing
        if self.scale > 0:
            with np.errstate(over="ignore"):
                z = (np.where(missing, self.fill, x) - self.center) / self.scale
                z = np.clip(z, -LARGEST_FEATURE, LARGEST_FEATURE)
            if self.smooth_clip is not None:
                # Close to the identity near zero and bounded by the clip, so that outliers keep their order.
                z /= np.sqrt(1.0 + (z / self.smooth_clip) ** 2)
            out[:, 0] = z


def _location_and_spread(distinct: Distinct, scaling: str) -> tuple[float, float]:
    mean, deviation = mean_and_deviation(distinct)
    if scaling == "robust":
        spread = (quantile(distinct, 0.75) / _NORMAL_RANGE) - (quantile(distinct, 0.25) / _NORMAL_RANGE)
        # Where half of the values are one and the same, only the deviation tells a spread.
        return quantile(distinct, 0.5), spread if spread > 0 else deviation
    return mean, deviation


@dataclass(frozen=True)
class BooleanColumn:
    """Yes or no as 1 and 0; a missing value is the share of yes, and shown in an indicator feature."""

    name: Name
    share: float
    indicator: bool
    kind: ClassVar[str] = "boolean"

    @classmethod
    def fit(cls, column: pd.Series[Any], name: Name, weight: FloatArray | None, options: Options) -> BooleanColumn:
        """Learn from a training column."""
        x = _as_truth(column, name)
        codes = np.where(np.isnan(x), -1.0, x).astype(np.int64)
        no, yes = total_weights(codes, weight, 2)
        return cls(name, float(yes / (no + yes)) if no + yes > 0 else 0.0, bool(no + yes > 0 and (codes < 0).any()))

    @property
    def varies(self) -> bool:
        """Whether both answers occurred in training."""
        return 0 < self.share < 1

    @property
    def features(self) -> list[str]:
        """Names of the features that `write` fills."""
        return [str(self.name)] * self.varies + [f"{self.name}=missing"] * self.indicator

    def write(self, column: pd.Series[Any], out: npt.NDArray[Any]) -> None:
        """Fill ``out``, shape (n_rows, len(features))."""
        x = _as_truth(column, self.name)
        missing = np.isnan(x)
        if self.indicator:
            out[:, -1] = missing
        if self.varies:
            out[:, 0] = np.where(missing, self.share, x)


def _as_truth(column: pd.Series[Any], name: Name) -> FloatArray:
    if is_text(column) or isinstance(column.dtype, pd.CategoricalDtype):
        codes, labels = as_labels(column, name)
        words = {"true": "1", "false": "0"}
        numbers = parse_numbers([words.get(label.lower(), label) for label in labels])
        if numbers is None:
            raise DataError(f"X: column {name!r} was boolean in fit and holds text; allowed: True, False or missing")
        x = np.append(numbers, np.nan)[codes]
    else:
        x = as_numbers(column, name)
    return np.where(np.isnan(x), np.nan, x != 0)


@dataclass(frozen=True)
class CategoryColumn:
    """A category as one feature for each of its most frequent labels.

    Attributes
    ----------
    labels : tuple of str
        Labels with a feature of their own.
    infrequent : bool
        Whether one more feature gathers the others, unseen ones too. Without it an unseen label is all zeros.
    missing : bool
        Whether values were missing in training: then that is a label too.
    """

    name: Name
    labels: tuple[str, ...]
    infrequent: bool
    missing: bool
    kind: ClassVar[str] = "category"

    @classmethod
    def fit(cls, column: pd.Series[Any], name: Name, weight: FloatArray | None, options: Options) -> CategoryColumn:
        """Learn from a training column."""
        codes, labels = as_labels(column, name)
        totals = total_weights(codes, weight, len(labels))
        seen = sorted((i for i in range(len(labels)) if totals[i] > 0), key=lambda i: (-totals[i], labels[i]))
        kept = sorted(labels[i] for i in seen[: options.max_categories])
        missing = bool((codes < 0).any())
        if len(seen) + missing < 2:
            return cls(name, (), False, False)
        return cls(name, tuple(kept), len(seen) > len(kept), missing)

    @property
    def features(self) -> list[str]:
        """Names of the features that `write` fills."""
        names = [f"{self.name}={label}" for label in self.labels]
        return names + [f"{self.name}=infrequent"] * self.infrequent + [f"{self.name}=missing"] * self.missing

    def write(self, column: pd.Series[Any], out: npt.NDArray[Any]) -> None:
        """Fill ``out``, shape (n_rows, len(features))."""
        out[:] = 0
        if not out.shape[1]:
            return
        codes, labels = as_labels(column, self.name)
        position = {label: i for i, label in enumerate(self.labels)}
        other = len(self.labels) if self.infrequent else -1
        of_missing = out.shape[1] - 1 if self.missing else other
        at = np.array([position.get(label, other) for label in labels] + [of_missing], dtype=np.int64)[codes]
        rows = np.flatnonzero(at >= 0)
        out[rows, at[rows]] = 1


DATE_PARTS = ("month", "weekday", "time")


@dataclass(frozen=True)
class DateColumn:
    """A date as standardised days and as places on the circles of year, week and day.

    Attributes
    ----------
    date_format : str
        How dates given as text are written.
    days : NumericColumn
        Days since 1970-01-01.
    parts : tuple of str
        Circles on which the training dates vary; each gives a sine and a cosine.
    """

    name: Name
    date_format: str
    days: NumericColumn
    parts: tuple[str, ...]
    kind: ClassVar[str] = "date"

    @classmethod
    def fit(
        cls, column: pd.Series[Any], name: Name, weight: FloatArray | None, options: Options, date_format: str
    ) -> DateColumn:
        """Learn from a training column whose dates are written in ``date_format``."""
        x = as_days(column, name, date_format)
        present = x[~np.isnan(x)]
        varying = tuple(part for part, turn in _turns(present).items() if np.unique(turn).size > 1)
        return cls(name, date_format, NumericColumn.fit_numbers(x, name, weight, options), varying)

    @property
    def features(self) -> list[str]:
        """Names of the features that `write` fills."""
        circles = [f"{self.name}.{part}.{wave}" for part in self.parts for wave in ("sin", "cos")]
        return circles + self.days.features

    def write(self, column: pd.Series[Any], out: npt.NDArray[Any]) -> None:
        """Fill ``out``, shape (n_rows, len(features))."""
        x = as_days(column, self.name, self.date_format)
        missing = np.isnan(x)
        turns = _turns(np.where(missing, 0.0, x))
        for i, part in enumerate(self.parts):
            angle = 2 * np.pi * turns[part]
            out[:, 2 * i] = np.where(missing, 0.0, np.sin(angle))
            out[:, 2 * i + 1] = np.where(missing, 0.0, np.cos(angle))
        self.days.write_numbers(x, out[:, 2 * len(self.parts) :])


def _turns(days: FloatArray) -> dict[str, FloatArray]:
    """Month, weekday and time of day as shares of a full turn."""
    whole = np.floor(days)
    months = whole.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    # 1970-01-01 was a Thursday: adding three days makes weeks begin on Monday.
    return dict(zip(DATE_PARTS, (months % 12 / 12, (whole + 3) % 7 / 7, days - whole), strict=True))


Column: TypeAlias = NumericColumn | BooleanColumn | CategoryColumn | DateColumn
