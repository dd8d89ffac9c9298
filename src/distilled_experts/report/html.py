"""A record as a short piece of HTML, for notebooks."""

from __future__ import annotations

from distilled_experts.report import formats, words
from distilled_experts.report.findings import measures, sentence
from distilled_experts.report.page import render
from distilled_experts.report.records import arms_of, check
from distilled_experts.report.values import Record, finite


def repr_html(record: Record) -> str:
    """Return a short table, the findings and the sentence of a record as HTML.

    Parameters
    ----------
    record : mapping
        The record of a comparison, a sweep or a probing.

    Returns
    -------
    str
        An HTML fragment without scripts; everything from the record is escaped.

    Raises
    ------
    InvalidParameterError
        If ``record`` is of no known kind.
    """
    record = check(record, "compare", "probe", "sweep")
    make = {"compare": _compare, "probe": _probe, "sweep": _sweep}[record["kind"]]
    header, rows, facts = make(record)
    named = {"heading": words.heading(record), "sentence": sentence(record), "setting": words.setting(record)}
    return render("notebook.html.j2", header=header, rows=rows, facts=facts, **named)


Parts = tuple[list[str], list[list[str]], list[tuple[str, str]]]


def _compare(record: Record) -> Parts:
    digits = words.places(record)
    header = ["arm", f"test {words.metric_name(record)}", "training", "seconds"]
    rows = []
    for name in arms_of(record):
        arm = record["arms"][name]
        test = formats.with_error(arm.get("mean"), arm.get("se"), digits)
        training = formats.with_error(arm.get("train_mean"), arm.get("train_se"), digits)
        rows.append([words.ARM_NAMES[name], test, training, formats.seconds(arm.get("seconds"))])
    facts = [
        ("MoDE − MoE", words.difference_line(record.get("difference"), digits)),
        ("chosen α", words.alpha_line(record)),
    ]
    own = record.get("own_domain") or {}
    if finite(own.get("mode")) is not None:
        alone = f"MoE {formats.fixed(own.get('moe'))}, MoDE {formats.fixed(own.get('mode'))}"
        facts.append((words.own_domain_name(record), alone))
    return header, rows, facts


def _probe(record: Record) -> Parts:
    rows = [
        [name, formats.fixed(measure.get("value")), words.span_line(measure) or formats.MISSING]
        for name, measure in measures(record)
    ]
    return ["measure", "value", "95 % interval"], rows, []


def _sweep(record: Record) -> Parts:
    digits, grid = words.places(record), list(record.get("alpha") or ())
    cells = {(cell["experts"], cell["alpha"]): cell.get("mean") for cell in record.get("cells") or ()}
    header = ["experts", *(f"α = {formats.strength(alpha)}" for alpha in grid)]
    rows = [
        [str(size), *(formats.fixed(cells.get((size, alpha)), digits) for alpha in grid)]
        for size in record.get("experts") or ()
    ]
    return header, rows, [("best cell", words.best_cell_line(record))]
