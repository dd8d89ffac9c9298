"""Fitted columns as plain JSON values and one array of numbers, and back: nothing in them can run code."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from distilled_experts.errors import ModelFolderError
from distilled_experts.tabular.columns import (
    DATE_PARTS,
    BooleanColumn,
    CategoryColumn,
    Column,
    DateColumn,
    NumericColumn,
    Options,
)
from distilled_experts.tabular.frames import Name

__all__ = ["column_state", "restore_column"]

N_STATISTICS = 3


def column_state(column: Column) -> tuple[dict[str, Any], list[float]]:
    """Split a fitted column into a JSON-able dictionary and `N_STATISTICS` numbers."""
    state: dict[str, Any] = {"kind": column.kind, "name": column.name}
    match column:
        case NumericColumn():
            return state | {"indicator": column.indicator}, _statistics(column)
        case DateColumn():
            state |= {
                "format": column.date_format,
                "parts": list(column.parts),
                "indicator": column.days.indicator,
            }
            return state, _statistics(column.days)
        case BooleanColumn():
            return state | {"indicator": column.indicator}, [column.share, 0.0, 0.0]
        case CategoryColumn():
            state |= {
                "labels": list(column.labels),
                "infrequent": column.infrequent,
                "missing": column.missing,
            }
            return state, [0.0] * N_STATISTICS


def _statistics(column: NumericColumn) -> list[float]:
    return [column.fill, column.center, column.scale]


def restore_column(state: dict[str, Any], statistics: npt.NDArray[np.float64], options: Options) -> Column:
    """Undo `column_state`.

    Raises
    ------
    ModelFolderError
        Where the state is of no known kind or lacks an entry.
    """
    name: Name = state["name"]
    if not all(isinstance(text, (str, int)) for text in (name, *state.get("labels", ()))):
        raise ModelFolderError(f"preprocessing: names and labels of column {name!r} are not allowed; allowed: text")
    if not all(part in DATE_PARTS for part in state.get("parts", ())):
        raise ModelFolderError(f"preprocessing: the parts of dates in column {name!r} are not known")
    if not np.isfinite(statistics).all():
        raise ModelFolderError(f"preprocessing: the saved statistics of column {name!r} are not finite")
    fill, center, scale = (float(number) for number in statistics)
    match state["kind"]:
        case "numeric":
            return NumericColumn(name, fill, center, scale, bool(state["indicator"]), options.smooth_clip)
        case "date":
            days = NumericColumn(name, fill, center, scale, bool(state["indicator"]), options.smooth_clip)
            return DateColumn(name, str(state["format"]), days, tuple(state["parts"]))
        case "boolean":
            return BooleanColumn(name, fill, bool(state["indicator"]))
        case "category":
            return CategoryColumn(name, tuple(state["labels"]), bool(state["infrequent"]), bool(state["missing"]))
        case kind:
            raise ModelFolderError(
                f"preprocessing: column kind {kind!r} is unknown; was this saved by a later version?"
            )
