"""Small statistics on record entries: lists in which a number may be missing (null)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]
Number = float | None


def finite(value: Any) -> Number:
    """Return ``value`` as a float, or None where it is missing, infinite or not a number."""
    if value is None or isinstance(value, str):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def known(values: Iterable[Any] | None) -> list[float]:
    """Return the finite numbers among ``values``, in order."""
    return [number for number in map(finite, values or ()) if number is not None]


def mean(values: Iterable[Any] | None) -> Number:
    """Return the mean of the finite numbers, None where there is none.

    Examples
    --------
    >>> mean([1.0, None, 2.0])
    1.5
    """
    numbers = known(values)
    return math.fsum(numbers) / len(numbers) if numbers else None


def standard_error(values: Iterable[Any] | None) -> Number:
    """Return the standard error of the mean, None for fewer than two finite numbers.

    Examples
    --------
    >>> standard_error([1.0, 3.0])
    1.0
    """
    numbers = known(values)
    if len(numbers) < 2:
        return None
    centre = math.fsum(numbers) / len(numbers)
    squares = math.fsum((number - centre) ** 2 for number in numbers)
    return math.sqrt(squares / (len(numbers) - 1) / len(numbers))


def change(before: Any, after: Any) -> Number:
    """Return ``after - before``, None where either is missing."""
    first, second = finite(before), finite(after)
    return None if first is None or second is None else second - first


def columns(rows: Sequence[Sequence[Any]] | None) -> list[list[Any]]:
    """Turn ``[S][A]`` into ``[A][S]``; nothing gives nothing."""
    return [list(column) for column in zip(*(rows or ()), strict=False)]


def by_share(shares: Sequence[Any]) -> list[int]:
    """Return the positions of ``shares`` (E,) from the largest domain to the smallest, ties in order.

    Which expert carries which label is an accident of the seed; the rank of its domain is not.

    Examples
    --------
    >>> by_share([0.2, 0.5, 0.3])
    [1, 2, 0]
    """
    return sorted(range(len(shares)), key=lambda expert: -(finite(shares[expert]) or 0.0))


def ranked_shares(probing: Record) -> list[list[Number]]:
    """Return the domain shares of each seed, largest first: (E, S)."""
    return columns([[finite(row[i]) for i in by_share(row)] for row in probing.get("shares") or ()])


def ranked_matrix(probing: Record) -> list[list[Number]]:
    """Return the expert × domain scores (E, E), experts ranked by share in each seed, then averaged.

    Null entries (an empty domain) are left out of the average; a cell that is null in every seed
    stays null.
    """
    seeds = []
    for shares, matrix in zip(probing.get("shares") or (), probing.get("matrix") or (), strict=False):
        order = by_share(shares)
        seeds.append([[matrix[i][j] for j in order] for i in order])
    size = len(seeds[0]) if seeds else 0
    return [[mean(seed[i][j] for seed in seeds) for j in range(size)] for i in range(size)]


def diagonal(matrix: Sequence[Sequence[Number]]) -> list[float]:
    """Return the known scores of experts on their own domains."""
    return known(row[i] for i, row in enumerate(matrix))


def off_diagonal(matrix: Sequence[Sequence[Number]]) -> list[float]:
    """Return the known scores of experts on the domains of others."""
    return known(value for i, row in enumerate(matrix) for j, value in enumerate(row) if i != j)
