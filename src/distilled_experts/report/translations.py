"""What a page shows of a comparison of translators: translations side by side, and tokens of each domain."""

from __future__ import annotations

from typing import NamedTuple

from distilled_experts.report.formats import clean
from distilled_experts.report.records import MIXTURES
from distilled_experts.report.values import Number, Record, by_share, finite

_ARMS = ("dense", *MIXTURES)


class Domain(NamedTuple):
    """Share of a domain, and the tokens that are typical of it."""

    share: Number
    tokens: list[str]


def translations(record: Record) -> list[dict[str, str]]:
    """Return source, reference and the translation of each arm; nothing for other data.

    Examples
    --------
    >>> shown = translations({"translations": [{"source": "a dog", "reference": "ein Hund", "moe": "ein hund"}]})
    >>> shown[0]["moe"], shown[0]["mode"]
    ('ein hund', '')
    """
    names = ("source", "reference", *_ARMS)
    return [{name: clean(row.get(name) or "") for name in names} for row in record.get("translations") or ()]


def domains(record: Record) -> list[tuple[str, list[Domain]]]:
    """Return, for MoE and MoDE, the domains in the order of their sizes; nothing for other data.

    Examples
    --------
    >>> domains({"domain_tokens": {"moe": [{"share": 0.4, "tokens": ["a"]}, {"share": 0.6, "tokens": ["."]}]}})
    [('moe', [Domain(share=0.6, tokens=['.']), Domain(share=0.4, tokens=['a'])])]
    """
    recorded = record.get("domain_tokens") or {}
    return [(arm, _ranked(recorded[arm])) for arm in MIXTURES if recorded.get(arm)]


def _ranked(rows: list[Record]) -> list[Domain]:
    found = [Domain(finite(row.get("share")), [clean(token) for token in row.get("tokens") or ()]) for row in rows]
    return [found[i] for i in by_share([domain.share for domain in found])]
