"""The experts of one probed model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distilled_experts.report.data.rows import Data
from distilled_experts.report.probe import ENDS, ERRORS, composition_of, losses_of, own_scores, visions_of
from distilled_experts.report.values import Number, Record


def domains(record: Record) -> Data:
    """Return the share of every expert, with its interval."""
    return _per_expert(record["shares"])


def own_domain(record: Record) -> Data:
    """Return the score of every expert alone on its own domain, with its interval."""
    return _per_expert(own_scores(record))


def expert_domain_matrix(record: Record) -> Data:
    """Return the score of every expert on every domain, with its interval."""
    return _by_domain(record["matrix"])


def loss_matrix(record: Record) -> Data:
    """Return the log loss, or perplexity, of every expert on every domain, with its interval; no rows where unknown."""
    return _by_domain(losses_of(record).get("matrix", {}))


def composition(record: Record) -> Data:
    """Return the share of every class, or other subset, that each expert dominates."""
    names, shares = composition_of(record)
    return Data(("expert", "subset", "share"), _by_subset(shares, names))


def errors(record: Record) -> Data:
    """Return the share of each type of error, with its interval."""
    found = record.get("errors") or {}
    rows: list[tuple[object, ...]] = [(name, *(found[key].get(end) for end in ENDS)) for key, name in ERRORS.items()]
    return Data(("error", *ENDS), rows)


def narrow_vision(record: Record) -> Data:
    """Return each expert's share of the gradients of every subset, by loss."""
    rows: list[tuple[object, ...]] = [
        (loss, *row)
        for loss, shares in visions_of(record).items()
        for row in _by_subset(shares, [str(name) for name in record.get("subsets") or ()])
    ]
    return Data(("loss", "expert", "subset", "share"), rows)


def similarity(record: Record) -> Data:
    """Return CKA and agreement of every pair of different experts."""
    found, experts = record.get("similarity") or {}, range(record["experts"])
    rows: list[tuple[object, ...]] = [
        (first, second, found["cka"][first][second], found["agreement"][first][second])
        for first in experts
        for second in experts
        if first < second
    ]
    return Data(("expert", "other", "cka", "agreement"), rows)


def _per_expert(measure: dict[str, Any]) -> Data:
    columns = [measure.get(end) or () for end in ENDS]
    rows: list[tuple[object, ...]] = [(expert, *ends) for expert, ends in enumerate(zip(*columns, strict=True))]
    return Data(("expert", *ENDS), rows)


def _by_domain(measure: Record) -> Data:
    tables = [measure.get(end) or () for end in ENDS]
    rows: list[tuple[object, ...]] = [
        (expert, domain, *scores)
        for expert, lines in enumerate(zip(*tables, strict=True))
        for domain, scores in enumerate(zip(*lines, strict=True))
    ]
    return Data(("expert", "domain", *ENDS), rows)


def _by_subset(shares: Sequence[Sequence[Number]], names: Sequence[str]) -> list[tuple[object, ...]]:
    return [
        (expert, name, share)
        for expert, row in enumerate(shares)
        for name, share in zip(names, row, strict=True)
    ]  # fmt: skip
