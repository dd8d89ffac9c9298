"""Which layers are meant: all ways of saying it come to numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from distilled_experts.errors import InvalidParameterError

LayerNumbers = Literal["first", "all"] | int | Iterable[int]


def layer_numbers(layers: LayerNumbers, count: int) -> list[int]:
    """Give the numbers of the chosen layers in rising order, each once.

    Parameters
    ----------
    layers : {"first", "all"}, int, or iterable of int
        Counted from zero; −1 is the last.
    count : int
        How many layers there are.

    Raises
    ------
    InvalidParameterError
        There is no such layer, or none is named.

    Examples
    --------
    >>> layer_numbers("all", 3), layer_numbers([-1, 0], 3)
    ([0, 1, 2], [0, 2])
    """
    if isinstance(layers, str):
        named = list({"first": range(1), "all": range(count)}.get(layers, ()))
    else:
        named = [layers] if isinstance(layers, int) else list(layers)
    if not named or not all(i in range(-count, count) for i in named):
        raise InvalidParameterError("layers", layers, f"first, all, numbers from {-count} to {count - 1}")
    return sorted({int(i) % count for i in named})
