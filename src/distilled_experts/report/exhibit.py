"""What a page shows of a figure: the drawing, a caption that says what to see, alternative text, its data."""

from __future__ import annotations

import base64
import csv
import io
from dataclasses import dataclass, field

from distilled_experts.report.data.rows import Data
from distilled_experts.report.figures.style import inline_svg
from distilled_experts.report.values import Number


@dataclass(frozen=True)
class View:
    """One drawing of a figure: the only one, or that of one α.

    Attributes
    ----------
    name : str
        Short name, unique on a page; also that of the file that is downloaded.
    alpha : float or None
        The strength that it shows, where the figure can be stepped through.
    caption, alt : str
        What to see with the numbers, and what the drawing shows for those who cannot see it.
    svg : str
        The drawing as an SVG file in light colours.
    """

    name: str
    alpha: Number
    caption: str
    alt: str
    svg: str = field(repr=False)

    @property
    def inline(self) -> str:
        """The drawing for the middle of a page, in the colours of the page."""
        return inline_svg(self.svg, self.name)


@dataclass(frozen=True)
class Exhibit:
    """A figure with everything that a page needs to show it and to hand it on.

    Attributes
    ----------
    key : str
        Short name, unique on a page.
    title : str
        Heading.
    views : tuple of View
        One, or one for every α that can be stepped to.
    data : Data
        The numbers behind all views.
    """

    key: str
    title: str
    views: tuple[View, ...]
    data: Data = field(repr=False)

    @property
    def csv(self) -> str:
        """The data as CSV, numbers to six digits; missing ones are empty."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(self.data.header)
        writer.writerows([_cell(value) for value in row] for row in self.data.rows)
        return buffer.getvalue()

    @property
    def csv_link(self) -> str:
        """The data as a ``data:`` address."""
        return f"data:text/csv;charset=utf-8;base64,{base64.b64encode(self.csv.encode('utf-8')).decode('ascii')}"


def _cell(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value
