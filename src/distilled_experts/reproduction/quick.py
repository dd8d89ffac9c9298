"""Every study in small, on data that scikit-learn ships, to see that all of it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from distilled_experts.errors import MissingDependencyError
from distilled_experts.reproduction.piece import Outcome, Piece
from distilled_experts.reproduction.registry import PIECES
from distilled_experts.reproduction.studies import STUDIES
from distilled_experts.reproduction.study import Study

__all__ = ["quick_outcomes"]


def quick_outcomes(folder: Path, tell: Callable[[str], object]) -> dict[str, Outcome]:
    """Make small records in a folder, and say what every piece finds in them.

    Parameters
    ----------
    folder : Path
        Takes records and runs; nothing else is written.
    tell : callable
        Called with one line for each record, and for each study that cannot be tried.

    Returns
    -------
    dict of str to Outcome
        By the ids of the pieces. What is found in so little data is no evidence.
    """
    for study in STUDIES:
        _make(in_small(study), folder, tell)
    return {name: _in_small(piece).examine(folder / "results") for name, piece in PIECES.items()}


def in_small(study: Study) -> Study:
    """The study with its quick runs in place of its own, in a folder of its name."""
    return replace(study, runs=study.quick, folder="", command="")


def _in_small(piece: Piece) -> Piece:
    return replace(piece, studies=tuple(map(in_small, piece.studies)))


def _make(study: Study, folder: Path, tell: Callable[[str], object]) -> None:
    from distilled_experts.reproduction.making.makers import Place, make_missing

    if not study.runs:
        tell(f"{study.name}: no data for it come with the package")
    try:
        make_missing(study, folder / "results", Place(folder / "runs"), tell)
    except MissingDependencyError as error:
        tell(f"{study.name}: {error}")
