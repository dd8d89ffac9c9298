"""The record of a probed mixture as a table for notebooks: a row an expert, a column a domain."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["html_table"]

_LOSSES = {"perplexity": "perplexity", "log_loss": "log loss"}


def html_table(record: Mapping[str, Any]) -> str:
    """Shares, the score of every expert on every domain, and the log loss, or of tokens the perplexity.

    Parameters
    ----------
    record : mapping
        As `ProbeRecord.to_dict` gives it.
    """
    metric = "R²" if record["metric"] == "r2" else "accuracy"
    head = _row("th", ["", *(f"domain {j}" for j in range(record["experts"]))])
    rows = [_row("td", ["share of samples", *(f"{share:.1%}" for share in record["shares"]["value"])])]
    rows += _expert_rows(record["matrix"], metric)
    words = [_words(metric, record["score"], record["own_domain"])]
    words += [f"{name.replace('_', ' ')} {_shown(record[name]['value'])}" for name in ("routing_accuracy", "oracle")]
    for key, name in [(key, name) for key, name in _LOSSES.items() if record[key]][:1]:
        rows += _expert_rows(record[f"{key}_matrix"], name)
        words.append(_words(name, record[key], record[f"own_domain_{key}"]))
    warning = record["similarity"]["warning"]
    note = f"<p>{html.escape(warning)}</p>" if warning else ""
    return f"<table><caption>{'; '.join(words)}</caption>{head}{''.join(rows)}</table>{note}"


def _words(name: str, mixture: Mapping[str, Any], own_domain: Mapping[str, Any]) -> str:
    return f"{name} {_shown(mixture['value'])}; {name} on the own domain {_shown(own_domain['value'])}"


def _expert_rows(matrix: Mapping[str, Any], name: str) -> list[str]:
    return [_row("td", [f"expert {i} alone, {name}", *map(_shown, row)]) for i, row in enumerate(matrix["value"])]


def _row(cell: str, texts: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{cell}>{text}</{cell}>' for text in texts)}</tr>"


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
