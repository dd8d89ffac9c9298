"""All pieces, in the order in which they are shown, and how they are asked for."""

from __future__ import annotations

from collections.abc import Mapping

from distilled_experts.errors import InvalidParameterError
from distilled_experts.reproduction.piece import Piece
from distilled_experts.reproduction.pieces import (
    domains,
    elsewhere,
    language,
    limits,
    losses,
    overview,
    peers,
    probing,
    reasons,
    strength,
    tabular,
    views,
)

__all__ = ["PIECES", "find_piece"]

_HOMES = (tabular, peers, elsewhere, language, overview, strength, domains, probing, reasons, views, losses, limits)

PIECES: Mapping[str, Piece] = {piece.id: piece for home in _HOMES for piece in home.PIECES}
"""Pieces by their ids."""

_BY_NUMBER = {piece.number.replace(" ", ""): piece for piece in PIECES.values() if piece.number}


def find_piece(name: str) -> Piece:
    """The piece with this id or number.

    Raises
    ------
    InvalidParameterError
        When there is none.

    Examples
    --------
    >>> find_piece("figure4").id, find_piece("alpha").number
    ('alpha', 'figure 4')
    """
    found = PIECES.get(name) or _BY_NUMBER.get(name)
    if found is None:
        raise InvalidParameterError("piece", name, (*PIECES, *_BY_NUMBER))
    return found
