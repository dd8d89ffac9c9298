"""Telling which kind of column one has before it: numbers, yes or no, categories or dates."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from distilled_experts.tabular.frames import Name
from distilled_experts.tabular.statistics import FloatArray, total_weights
from distilled_experts.tabular.values import ISO, as_labels, find_date_format, is_text, parse_numbers

__all__ = ["Kind", "Recognised", "recognise"]

Kind: TypeAlias = Literal["numeric", "boolean", "category", "date"]

_KIND_OF_OBJECTS: dict[str, Kind] = {
    "boolean": "boolean",
    "integer": "numeric",
    "floating": "numeric",
    "mixed-integer-float": "numeric",
    "decimal": "numeric",
    "empty": "numeric",
    "datetime": "date",
    "datetime64": "date",
    "date": "date",
    "period": "date",
}


class Recognised(NamedTuple):
    """The kind of a column, and for dates the format in which they are written."""

    kind: Kind
    date_format: str = ISO


def recognise(column: pd.Series[Any], name: Name, weight: FloatArray | None = None) -> Recognised:
    """Tell the kind of a column from its dtype and, for text and objects, from its cells.

    Text whose cells are all numbers is numeric; text with at least 95 % dates holds dates; other text is a
    category.

    Examples
    --------
    >>> recognise(pd.Series(["1", "2"]), "x").kind
    'numeric'
    >>> recognise(pd.Series(["2024-05-01", None]), "x").kind
    'date'
    """
    types = pd.api.types
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iuf":
        return Recognised("numeric")
    if isinstance(column.dtype, pd.CategoricalDtype):
        return Recognised("category")
    if types.is_datetime64_any_dtype(column) or isinstance(column.dtype, pd.PeriodDtype):
        return Recognised("date")
    if types.is_bool_dtype(column):
        return Recognised("boolean")
    if is_text(column):
        return _recognise_text(column, name, weight)
    return Recognised("numeric")


def _recognise_text(column: pd.Series[Any], name: Name, weight: FloatArray | None) -> Recognised:
    if pd.api.types.is_object_dtype(column):
        known = _KIND_OF_OBJECTS.get(pd.api.types.infer_dtype(column, skipna=True))
        if known is not None:
            return Recognised(known)
    codes, labels = as_labels(column, name)
    numbers = parse_numbers(labels)
    # Infinities alone are words like any other; beside numbers they are reported later.
    if numbers is not None and (not labels or np.isfinite(numbers).any()):
        return Recognised("numeric")
    date_format = find_date_format(labels, total_weights(codes, weight, len(labels)))
    return Recognised("category") if date_format is None else Recognised("date", date_format)
