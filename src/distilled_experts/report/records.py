"""What a report may ask of a record: is it one, what is in it, and how it is written as JSON."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from distilled_experts.errors import InvalidParameterError
from distilled_experts.report.values import Record, finite, known

FORMAT = 1
ARMS = ("dense", "moe", "mode")
MIXTURES = ("moe", "mode")


class Checked(dict[str, Any]):
    """A record that has passed `check`: a page has many figures, and each of them checks."""


def check(record: Any, *kinds: str) -> Record:
    """Return a plain copy of ``record``, or of what its ``to_dict`` gives, if it is one that the caller can show.

    Raises
    ------
    InvalidParameterError
        If it is no record, of another kind than ``kinds``, or of a format that this version does not know.
    """
    if isinstance(record, Checked) and record["kind"] in kinds:
        return record
    if callable(getattr(record, "to_dict", None)):
        record = record.to_dict()
    if not isinstance(record, Mapping):
        raise InvalidParameterError(
            "record", type(record).__name__, "a mapping, as read from result.json, or a ProbeRecord"
        )
    if record.get("kind") not in kinds:
        raise InvalidParameterError("record['kind']", record.get("kind"), kinds)
    if record.get("format") != FORMAT:
        raise InvalidParameterError("record['format']", record.get("format"), str(FORMAT))
    return Checked((str(key), plain(value)) for key, value in record.items())


def plain(value: Any) -> Any:
    """Copy a record as JSON types alone: arrays become lists, numbers that are not finite null.

    JSON knows no NaN or infinity, and a browser would refuse the whole record for one of them.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if callable(getattr(value, "tolist", None)):
        return plain(value.tolist())
    return str(value)


def script_json(record: Record) -> str:
    """Write a record as JSON that is safe inside a ``<script>`` element and still the same JSON.

    Examples
    --------
    >>> print(script_json({"name": "</script>"}))
    {"name":"\\u003c/script\\u003e"}
    """
    text = json.dumps(plain(record), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def alpha_counts(record: Record) -> list[tuple[float, int]]:
    """Return each chosen α with its number of seeds, the most frequent first."""
    counts = Counter(known(record.get("alpha")))
    return sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))


def arms_of(record: Record) -> list[str]:
    """Return the arms that the record holds, in the order in which they are shown."""
    return [arm for arm in ARMS if record.get("arms", {}).get(arm)]


def probing_of(record: Record) -> dict[str, Record]:
    """Return the probing of MoE and MoDE as far as measured; a single expert has nothing to compare."""
    probing = {} if record.get("experts") == 1 else record.get("probing") or {}
    return {arm: probing[arm] for arm in MIXTURES if probing.get(arm)}


def has_interval(difference: Record | None) -> bool:
    """Whether a difference comes with an interval (it needs more than one seed)."""
    return bool(difference) and finite((difference or {}).get("low")) is not None
