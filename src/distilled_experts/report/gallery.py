"""From a record to the exhibits of its page, and to figures as files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from distilled_experts.errors import InvalidParameterError
from distilled_experts.report.captions.caption import Caption
from distilled_experts.report.exhibit import Exhibit, View
from distilled_experts.report.experts import shown_steps, stepped_alphas
from distilled_experts.report.figures.style import look, to_svg
from distilled_experts.report.recipes import SECTIONS, Recipe
from distilled_experts.report.records import alpha_counts, check
from distilled_experts.report.values import Number, Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A page is to stay small: of a longer grid it shows a part.
MOST_STEPS = 8
KINDS = ("svg", "png")


class Wing(NamedTuple):
    """Exhibits under one heading; ``steps`` are the α that some of them can be stepped through."""

    key: str
    title: str
    exhibits: list[Exhibit]
    steps: list[float]


def gallery(record: Record) -> list[Wing]:
    """Make every exhibit for which ``record`` holds the data, in the order of the page.

    Raises
    ------
    InvalidParameterError
        If ``record`` is not that of a comparison, a sweep or a probing.
    """
    record = check(record, *SECTIONS)
    wings = []
    for section in SECTIONS[record["kind"]]:
        made = [exhibit for recipe in section.recipes if (exhibit := _exhibit(recipe, record)) is not None]
        steps = next(([view.alpha for view in exhibit.views] for exhibit in made if len(exhibit.views) > 1), [])
        if made:
            wings.append(Wing(section.key, section.title, made, [alpha for alpha in steps if alpha is not None]))
    return wings


def first_step(record: Record) -> Number:
    """Return the α that a page shows first: the one that most seeds chose, or the smallest above 0."""
    alphas = stepped_alphas(record)
    chosen = [alpha for alpha, _ in alpha_counts(record) if alpha in alphas]
    return next(iter((*chosen, *alphas[1:])), None)


def write_figures(record: Record, folder: str | os.PathLike[str], kinds: Sequence[str] = KINDS) -> list[Path]:
    """Write every figure of a record as files.

    Parameters
    ----------
    record : mapping or ProbeRecord
        Of a comparison, a sweep or a probing.
    folder : str or path-like
        Made where it is not there.
    kinds : sequence of {"svg", "png"}

    Returns
    -------
    list of pathlib.Path
        The files, ``NAME.KIND`` as on the page.

    Raises
    ------
    InvalidParameterError
        If ``record`` is of no known kind, or one of ``kinds`` is none of those above.
    OSError
        If a file cannot be written.
    """
    record = check(record, *SECTIONS)
    for kind in kinds:
        if kind not in KINDS:
            raise InvalidParameterError("kinds", kind, KINDS)
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    recipes = [recipe for section in SECTIONS[record["kind"]] for recipe in section.recipes]
    drawn = [(name, figure) for recipe in recipes for name, _, figure, _ in _drawn(recipe, record)]
    return [_write(figure, target / f"{name}.{kind}") for name, figure in drawn for kind in kinds]


def _exhibit(recipe: Recipe, record: Record) -> Exhibit | None:
    views = [View(name, alpha, *words, to_svg(figure)) for name, alpha, figure, words in _drawn(recipe, record)]
    return Exhibit(recipe.key, recipe.title, tuple(views), recipe.collect(record)) if views else None


def _drawn(recipe: Recipe, record: Record) -> Iterator[tuple[str, Number, Figure, Caption]]:
    """Name, α, drawing and description of each view of a figure; none where the record lacks the data."""
    if not recipe.collect(record).rows:
        return
    alphas = stepped_alphas(record, recipe.stepped) if recipe.stepped else []
    steps = shown_steps(alphas, first_step(record), MOST_STEPS)
    for alpha in steps:
        name = f"{recipe.key}-alpha-{alpha:g}"
        yield name, alpha, recipe.draw(record, alpha=alpha), recipe.describe(record, alpha=alpha)
    if not steps:
        yield recipe.key, None, recipe.draw(record), recipe.describe(record)


def _write(figure: Figure, path: Path) -> Path:
    if path.suffix == ".svg":
        path.write_text(to_svg(figure), encoding="utf-8", newline="\n")
        return path
    with look():
        figure.savefig(path, dpi=200, metadata={"Software": None})
    return path
