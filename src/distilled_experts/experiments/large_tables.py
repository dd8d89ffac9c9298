"""Tables of a record that grow with the square of the experts, or with the columns: in few digits, or left out.

What is left out of ``result.json`` is in ``metrics.jsonl`` of the run folder, model by model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from distilled_experts.probing import plain_numbers

__all__ = ["large_table", "notes_on_tables"]

_MOST_NUMBERS = 30_000
_DIGITS = 4

_TABLES = {
    "scores of every expert on every domain at every α": ("why", "by_alpha", "matrix"),
    "these scores at the chosen α": ("probing", "mode", "matrix"),
    "attention of every expert to every column": ("why", "attention", "mode"),
}


def large_table(values: ArrayLike) -> Any:
    """Nested lists of numbers with four decimals; None where there are more than 30,000 numbers.

    Examples
    --------
    >>> large_table([[0.123456, None]]), large_table(np.zeros((200, 200)))
    ([[0.1235, None]], None)
    """
    table = np.asarray(values, dtype=float)
    return None if table.size > _MOST_NUMBERS else plain_numbers(table.round(_DIGITS))


def notes_on_tables(record: Mapping[str, Any]) -> list[str]:
    """What a reader must know of tables that the record of a comparison lacks for their size.

    Examples
    --------
    >>> notes_on_tables({"why": {"attention": {"mode": None}}})
    ['left out, for they are too many numbers: attention of every expert to every column (metrics.jsonl has them)']
    """
    missing = [name for name, path in _TABLES.items() if _is_left_out(record, path)]
    if not missing:
        return []
    return [f"left out, for they are too many numbers: {', '.join(missing)} (metrics.jsonl has them)"]


def _is_left_out(record: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    part: Any = record
    for key in path[:-1]:
        part = part.get(key) or {}
    return path[-1] in part and part[path[-1]] is None
