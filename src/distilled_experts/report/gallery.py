"""What a page shows of a figure: the drawing, a caption that says what to see, alternative text, its data."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from distilled_experts.report import captions, data, figures
from distilled_experts.report.figures.style import inline_svg, to_svg
from distilled_experts.report.records import check
from distilled_experts.report.values import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Recipe(NamedTuple):
    """How one exhibit is made from a record."""

    key: str
    title: str
    draw: Callable[[Record], Figure]
    describe: Callable[[Record], captions.Words]
    collect: Callable[[Record], data.Data]


COMPARE = (
    Recipe(
        "differences",
        "The difference, seed by seed",
        figures.differences,
        captions.differences,
        data.differences,
    ),
    Recipe(
        "score-against-alpha",
        "Test score against α",
        figures.score_against_alpha,
        captions.score_against_alpha,
        data.score_against_alpha,
    ),
    Recipe(
        "own-domain-against-alpha",
        "Experts on their own domains against α",
        figures.own_domain_against_alpha,
        captions.own_domain_against_alpha,
        data.own_domain_against_alpha,
    ),
    Recipe(
        "expert-domain-matrix",
        "Every expert on every domain",
        figures.expert_domain_matrix,
        captions.expert_domain_matrix,
        data.expert_domain_matrix,
    ),
    Recipe(
        "domain-shares",
        "How the rows are shared out",
        figures.domain_shares,
        captions.domain_shares,
        data.domain_shares,
    ),
    Recipe(
        "learning-curves",
        "Learning curves",
        figures.learning_curves,
        captions.learning_curves,
        data.learning_curves,
    ),
)
SWEEP = (
    Recipe(
        "alpha-by-experts",
        "Test score against α, by number of experts",
        figures.alpha_by_experts,
        captions.sweep_scores,
        data.sweep_scores,
    ),
    Recipe(
        "own-domain-by-experts",
        "Experts on their own domains, by number of experts",
        partial(figures.alpha_by_experts, own_domain=True),
        captions.sweep_own_domain,
        data.sweep_own_domain,
    ),
)


@dataclass(frozen=True)
class Exhibit:
    """A figure with everything that a page needs to show it and to hand it on.

    Attributes
    ----------
    key : str
        Short name, unique on a page; also the name of the files that are downloaded.
    title, caption, alt : str
        Heading, what to see with the numbers, and what the drawing shows for those who cannot see it.
    svg : str
        The drawing as an SVG file in light colours.
    data : Data
        The numbers behind the drawing.
    """

    key: str
    title: str
    caption: str
    alt: str
    svg: str = field(repr=False)
    data: data.Data = field(repr=False)

    @property
    def inline(self) -> str:
        """The drawing for the middle of a page, in the colours of the page."""
        return inline_svg(self.svg, self.key)

    @property
    def csv(self) -> str:
        """The data as CSV, numbers to six digits; missing ones are empty."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(self.data.header)
        writer.writerows([_cell(value) for value in row] for row in self.data.rows)
        return buffer.getvalue()

    @property
    def svg_link(self) -> str:
        """The drawing as a ``data:`` address."""
        return _data_address("image/svg+xml", self.svg)

    @property
    def csv_link(self) -> str:
        """The data as a ``data:`` address."""
        return _data_address("text/csv;charset=utf-8", self.csv)


def exhibits(record: Record) -> list[Exhibit]:
    """Make every exhibit for which ``record`` holds the data, in the order of the page.

    Raises
    ------
    InvalidParameterError
        If ``record`` is no record of a comparison or a sweep.
    """
    record = check(record, "compare", "sweep")
    recipes = SWEEP if record["kind"] == "sweep" else COMPARE
    made = []
    for recipe in recipes:
        rows = recipe.collect(record)
        if rows.rows:
            caption, alt = recipe.describe(record)
            svg = to_svg(recipe.draw(record))
            made.append(Exhibit(recipe.key, recipe.title, caption, alt, svg, rows))
    return made


def _cell(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def _data_address(kind: str, text: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(text.encode('utf-8')).decode('ascii')}"
