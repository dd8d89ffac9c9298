"""The command ``mode reproduce``: options in, pages and lines out."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from distilled_experts.errors import DataError, InvalidParameterError

if TYPE_CHECKING:
    from distilled_experts.reproduction.piece import Outcome

__all__ = ["reproduce"]

_HOME = "reproduction"


@click.command()
@click.argument("piece", required=False)
@click.option("--quick", is_flag=True, help="Try all pieces in small, on data that scikit-learn ships.")
@click.option("--tables", is_flag=True, help="Make all tables, figures and their page anew from the records.")
@click.option("--records", metavar="DIR", default=f"{_HOME}/results", show_default=True, help="Folder of the records.")
@click.option("--out", metavar="DIR", help="Folder for the pages of --tables; default: that above the records.")
@click.option("--data-dir", metavar="DIR", envvar="DISTILLED_EXPERTS_DATA", help="Folder searched for data by name.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def reproduce(
    piece: str | None, quick: bool, tables: bool, records: str, out: str | None, data_dir: str | None, debug: bool
) -> None:
    """Reproduce the paper: list its pieces with verdicts, or make and show one PIECE, such as alpha or figure4.

    Records that are there are not made again, and an interrupted run is taken up.
    """
    chosen = {"PIECE": piece is not None, "--quick": quick, "--tables": tables}
    if sum(chosen.values()) > 1:
        raise InvalidParameterError("reproduce", [name for name, given in chosen.items() if given], "one of them")
    results = Path(records)
    if quick:
        _quick()
    elif piece is not None:
        _one(piece, results, data_dir)
    elif tables:
        _pages(_checked(results), results.parent if out is None else Path(out))
    else:
        _list(_checked(results))


def _checked(results: Path) -> Path:
    if not results.is_dir():
        raise DataError(f"records: no folder '{results}'; go to the root of the repository, or name the folder")
    return results


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _quick() -> None:
    from distilled_experts.reproduction.quick import quick_outcomes

    with tempfile.TemporaryDirectory() as folder:
        _show(quick_outcomes(Path(folder), _tell))
    _tell("Trials as small as these are no evidence: their verdicts say nothing about the method.")


def _one(name: str, results: Path, data_dir: str | None) -> None:
    from distilled_experts.reproduction.page import piece_text
    from distilled_experts.reproduction.registry import find_piece

    piece = find_piece(name)
    if any(study.missing(results) for study in piece.studies):
        from distilled_experts.reproduction.making.makers import Place, make_missing

        for study in piece.studies:
            make_missing(study, results, Place(Path("runs") / _HOME, data_dir), _tell)
    for study in piece.studies:
        if study.command and not study.read(results):
            _tell(f"{study.name}: its records are made by {study.command}")
    click.echo(piece_text(piece, piece.examine(results)))


def _pages(results: Path, out: Path) -> None:
    from distilled_experts.reproduction.page import write_pages

    write_pages(results, out)
    _tell(f"pages written to {out}")


def _list(results: Path) -> None:
    from distilled_experts.reproduction.registry import PIECES

    _show({name: piece.examine(results) for name, piece in PIECES.items()})


def _show(outcomes: Mapping[str, Outcome]) -> None:
    from distilled_experts.reproduction.registry import PIECES
    from distilled_experts.reproduction.text import duration

    for name, outcome in outcomes.items():
        title = PIECES[name].title
        click.echo(f"{name:<15} {outcome.verdict:<20} {duration(outcome.seconds):>7}  {title}")
