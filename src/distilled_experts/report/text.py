"""Records as text for the terminal: fits 80 columns, and stays plain when it is piped."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from distilled_experts.report import formats, words
from distilled_experts.report.experts import arm_measures
from distilled_experts.report.findings import findings, measures
from distilled_experts.report.formats import clean, fixed, percent, signed, strength, with_error
from distilled_experts.report.probe import expert_rows
from distilled_experts.report.records import MIXTURES, arms_of, check, probing_of
from distilled_experts.report.values import Record, change, mean, ranked_matrix, ranked_shares

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table

WIDTH = 80
# More experts than these are shown on the page alone.
MOST_EXPERTS = 8
ARM_COLUMNS = ("arm", "test score", "training score", "parameters", "seconds")


def compare_text(record: Record, *, width: int = WIDTH) -> str:
    """Write the answer of ``mode compare`` as plain text.

    Parameters
    ----------
    record : mapping
        What ``result.json`` holds.
    width : int
        Columns of the terminal.

    Returns
    -------
    str
        Lines without control codes, the last one ended.

    Raises
    ------
    InvalidParameterError
        If ``record`` is not the record of a comparison.
    """
    return _plain_text(compare_renderable(record), width)


def sweep_text(record: Record, *, width: int = WIDTH) -> str:
    """Write the answer of ``mode sweep`` as plain text; parameters and errors as in `compare_text`."""
    return _plain_text(sweep_renderable(record), width)


def compare_renderable(record: Record) -> Group:
    """Return the answer of ``mode compare`` as something that rich prints, in colour where it can.

    Examples
    --------
    ``rich.console.Console().print(compare_renderable(record))``
    """
    record = check(record, "compare")
    parts: list[RenderableType] = [_heading(record), "", _arms(record), "", _findings(record)]
    if probing_of(record):
        parts += ["", _experts(record)]
    return _group([*parts, *_ending(record)])


def sweep_renderable(record: Record) -> Group:
    """Return the answer of ``mode sweep`` as something that rich prints."""
    record = check(record, "sweep")
    facts = _facts([("best cell", words.best_cell_line(record))])
    return _group([_heading(record), "", _cells(record), "", facts, *_ending(record)])


def probe_text(record: Record, *, width: int = WIDTH) -> str:
    """Write the answer of ``mode probe`` as plain text; parameters and errors as in `compare_text`."""
    return _plain_text(probe_renderable(record), width)


def probe_renderable(record: Record) -> Group:
    """Return the answer of ``mode probe`` as something that rich prints."""
    record = check(record, "probe")
    first, *others = findings(record)
    parts: list[RenderableType] = [_heading(record), "", _measures(record), "", _expert_rows(record), ""]
    return _group([*parts, _line(first, "bold"), *map(_line, others)])


def _measures(record: Record) -> RenderableType:
    table = _table(("measure", "value", "95 % interval"))
    for name, measure in measures(record):
        table.add_row(name, fixed(measure.get("value")), words.span_line(measure) or formats.MISSING)
    return table


def _expert_rows(record: Record) -> RenderableType:
    rows, places = expert_rows(record)[:MOST_EXPERTS], words.loss_places(record)
    with_loss = any(row["loss"] for row in rows)
    losses = [words.loss_name(record)] if with_loss else []
    share = f"share of the {words.sample_name(record)}s"
    table = _table(("expert", share, "alone on its domain", *losses, "others"))
    for row in rows:
        share, own = words.measure_line(row["share"], 3), words.measure_line(row["own"], 3)
        loss = [fixed(row["loss"]["value"], places)] if with_loss else []
        table.add_row(str(row["expert"]), share, own, *loss, fixed(row["others"], 3))
    return table


def _plain_text(renderable: RenderableType, width: int) -> str:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False, legacy_windows=False)
    with console.capture() as capture:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def _group(parts: Iterable[RenderableType]) -> Group:
    from rich.console import Group

    return Group(*parts)


def _line(text: str, style: str = "") -> RenderableType:
    from rich.text import Text

    return Text(clean(text), style=style)


def _heading(record: Record) -> RenderableType:
    from rich.text import Text

    name = Text(words.heading(record), style="bold")
    return name.append(" · " + " · ".join(words.setting(record)), style="not bold")


def _table(columns: Sequence[str], *, left: int = 1) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for position, name in enumerate(columns):
        is_text = position < left
        table.add_column(name, justify="left" if is_text else "right", no_wrap=not is_text)
    return table


def _arms(record: Record) -> RenderableType:
    table, digits = _table(ARM_COLUMNS), words.places(record)
    for name in arms_of(record):
        arm = record["arms"][name]
        table.add_row(
            words.ARM_NAMES[name],
            with_error(arm.get("mean"), arm.get("se"), digits),
            with_error(arm.get("train_mean"), arm.get("train_se"), digits),
            formats.whole(arm.get("parameters")),
            formats.seconds(arm.get("seconds")),
            style="bold" if name == "mode" else "",
        )
    return table


def _facts(rows: Iterable[tuple[str, str]]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column()
    for name, value in rows:
        grid.add_row(Text(name, style="dim"), Text(clean(value)))
    return grid


def _findings(record: Record) -> RenderableType:
    digits = words.places(record)
    difference = record.get("difference") or {}
    rows = [
        ("MoDE − MoE", words.difference_line(difference, digits)),
        ("MoE − dense", words.difference_line(record.get("mixture_difference"), digits)),
        ("could be seen", words.detectable_line(difference, digits)),
        ("chosen α", words.alpha_line(record)),
    ]
    return _facts(row for row in rows if row[1] not in (formats.MISSING, "not measured"))


def _experts(record: Record) -> RenderableType:
    table = _table(("effect on the experts", "MoE", "MoDE", "change"))
    for name, before, after, gain in arm_measures(record):
        table.add_row(name, fixed(before), fixed(after), signed(gain))
    for row in _single_experts(probing_of(record)):
        table.add_row(*row)
    return table


def _single_experts(probing: dict[str, Record]) -> Iterator[tuple[str, ...]]:
    """Each expert alone on its own domain, the largest domain first, with the domain's share of the rows."""
    matrices = [ranked_matrix(probing.get(arm, {})) for arm in MIXTURES]
    shares = [ranked_shares(probing.get(arm, {})) for arm in MIXTURES]
    for i in range(min(MOST_EXPERTS, *map(len, matrices), *map(len, shares))):
        own = [matrix[i][i] for matrix in matrices]
        cells = [f"{fixed(score)} ({percent(mean(share[i]))})" for score, share in zip(own, shares, strict=True)]
        yield (f"expert {i + 1} alone (domain)", *cells, signed(change(*own)))


def _cells(record: Record) -> RenderableType:
    names = ("experts", "α", "test score", "own domain", "against α = 0", "p")
    table, digits = _table(names, left=0), words.places(record)
    best, above = words.best_cell(record), None
    for cell in record.get("cells") or ():
        if above not in (None, cell.get("experts")):
            table.add_section()
        above = cell.get("experts")
        difference = cell.get("difference") or {}
        p_value = formats.probability(difference.get("p")).removeprefix("p ").removeprefix("= ")
        table.add_row(
            str(cell.get("experts")),
            strength(cell.get("alpha")),
            with_error(cell.get("mean"), cell.get("se"), digits),
            fixed(cell.get("own_domain_mean")),
            signed(difference.get("mean"), digits),
            p_value,
            style="bold" if cell is best else "",
        )
    return table


def _ending(record: Record) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if record.get("sentence"):
        parts += ["", _line(record["sentence"], "bold")]
    if record.get("notes"):
        parts.append("")
        parts += [_line(f"Note: {note}") for note in record["notes"]]
    if record.get("run"):
        parts += ["", _facts([("run folder", str(record["run"]))])]
    return parts
