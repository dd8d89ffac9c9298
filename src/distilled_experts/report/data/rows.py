"""The form of the numbers behind a figure."""

from __future__ import annotations

from typing import NamedTuple


class Data(NamedTuple):
    """Names of the columns, and one row of values for each thing that is drawn."""

    header: tuple[str, ...]
    rows: list[tuple[object, ...]]
