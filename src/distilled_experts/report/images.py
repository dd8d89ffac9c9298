"""What a page shows of a comparison of images: typical images of each domain, and the accuracy in each class."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from distilled_experts.report.formats import clean, counted, percent
from distilled_experts.report.records import MIXTURES
from distilled_experts.report.values import Record

_MOST_NAMED = 3


class Sheet(NamedTuple):
    """Images of one domain: a PNG as a ``data:`` address, and what it shows in words."""

    link: str
    alt: str
    caption: str


def sheets(record: Record) -> list[tuple[str, list[Sheet]]]:
    """Return, for MoE and MoDE, the images of each domain, the largest domain first; nothing for other data."""
    examples = record.get("examples") or {}
    found = [(arm, [_sheet(rank, one) for rank, one in enumerate(examples.get(arm) or (), 1)]) for arm in MIXTURES]
    return [(arm, shown) for arm, several in found if (shown := [sheet for sheet in several if sheet is not None])]


def by_class(record: Record) -> list[tuple[str, list[Any]]]:
    """Return each class with the accuracy of dense network, MoE and MoDE in it, mean over the seeds.

    Examples
    --------
    >>> by_class({"classes": ["cat"], "by_class": {"dense": [0.5], "moe": [0.6], "mode": [0.7]}})
    [('cat', [0.5, 0.6, 0.7])]
    """
    scores = record.get("by_class") or {}
    columns = [scores.get(arm) or () for arm in ("dense", *MIXTURES)]
    names = [clean(name) for name in record.get("classes") or ()]
    return [(name, list(row)) for name, row in zip(names, zip(*columns, strict=False), strict=False)]


def _sheet(rank: int, example: Record) -> Sheet | None:
    """One sheet; none for an empty domain, or where a foreign record holds what is no PNG."""
    png, classes = str(example.get("png") or ""), [clean(name) for name in example.get("classes") or ()]
    try:
        data = base64.b64decode(png, validate=True)
    except ValueError:
        return None
    if not data.startswith(b"\x89PNG"):
        return None
    alt = f"{counted(len(classes), 'test image')}: {_tally(classes)}"
    caption = f"Domain {rank}, {percent(example.get('share'))} of the images: mostly {_tally(classes, _MOST_NAMED)}"
    return Sheet(f"data:image/png;base64,{png}", alt, caption)


def _tally(names: Iterable[str], most: int | None = None) -> str:
    return ", ".join(f"{name} ({number})" for name, number in Counter(names).most_common(most))
