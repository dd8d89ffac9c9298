"""The look of the figures, and how they become SVG: the same record gives the same bytes.

Figures are drawn in the colours below. A page that shows an SVG inline replaces each of them by a CSS
variable, so one figure serves light and dark; on its own, the SVG has the light colours.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, SURFACE = "#1c2127", "#59636f", "#dde1e6", "#fffffe"
# Blue against vermilion (Okabe & Ito) is told apart with every common colour blindness; so are the markers.
ARM_COLOURS = {"dense": "#7a828d", "moe": "#d55e01", "mode": "#0072b3", "model": "#0072b3"}
ARM_MARKERS = {"dense": "s", "moe": "^", "mode": "o"}
VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    SURFACE: "var(--surface)",
    ARM_COLOURS["dense"]: "var(--dense)",
    ARM_COLOURS["moe"]: "var(--moe)",
    ARM_COLOURS["mode"]: "var(--mode)",
}
SIZE = (5.2, 3.4)
_RC: dict[str, object] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],
    "font.size": 10,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.facecolor": SURFACE,
    "figure.facecolor": SURFACE,
    "savefig.facecolor": "auto",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 2,
    "axes.unicode_minus": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "distilled-experts",
}


@contextmanager
def look() -> Iterator[None]:
    """Draw in the look of the reports; the settings of the caller come back afterwards."""
    from matplotlib import style

    with style.context(["default", _RC]):
        yield


def figure_axes(ax: Axes | None, *, size: tuple[float, float] = SIZE) -> Axes:
    """Return ``ax``, or the axes of a new figure that belongs to no window and no global state."""
    if ax is not None:
        return ax
    return new_axes(1, size=size)[0]


def new_axes(count: int, *, size: tuple[float, float], below: bool = False) -> list[Axes]:
    """Return the axes of a new figure, side by side, or below each other."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    rows, columns = (count, 1) if below else (1, count)
    return list(figure.subplots(rows, columns, squeeze=False).ravel())


def owner(ax: Axes) -> Figure:
    """Return the figure that holds ``ax``."""
    figure = ax.get_figure(root=True)
    if figure is None:
        raise ValueError("ax: the axes have been removed from their figure")
    return figure


def tidy(ax: Axes, *, grid: str = "y") -> None:
    """Take away what carries no information, and put the grid behind the data."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.set_axisbelow(True)
    if grid == "y":
        ax.yaxis.grid(True, color=GRID, linewidth=0.8)
    elif grid == "x":
        ax.xaxis.grid(True, color=GRID, linewidth=0.8)


def to_svg(figure: Figure) -> str:
    """Write a figure as SVG: text stays text, and no date, version or random name is in it."""
    buffer = io.BytesIO()
    with look():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = re.sub(r"<[^>]*>", _shorten, buffer.getvalue().decode("utf-8"))
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def _shorten(tag: re.Match[str]) -> str:
    """Round the coordinates in a tag to a hundredth of a point: half the file is digits that nobody sees."""
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", tag[0])


def inline_svg(svg: str, key: str) -> str:
    """Prepare an SVG for the middle of an HTML page.

    Colours become CSS variables, and names of elements get the prefix ``key`` (a page holds several figures). Names
    that nothing refers to are dropped, and so is what a file of its own needs: XML declaration, document type,
    namespaces, size, style sheet.
    """
    svg = svg[svg.index("<svg") :]
    head, body = svg.split(">", 1)
    view = re.search(r'viewBox="[^"]*"', head)
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, variable)
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, count=1, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(|href=")#([^")]*)', body))
    body = re.sub(r'\s\bid="([^"]*)"', lambda name: name[0] if name[1] in used else "", body)
    body = re.sub(r'(\bid="|url\(#|\bhref="#)', rf"\g<1>{key}-", body.replace("xlink:href", "href"))
    box = f" {view.group(0)}" if view else ""
    return f'<svg{box} aria-hidden="true" focusable="false">{body.strip()}'
