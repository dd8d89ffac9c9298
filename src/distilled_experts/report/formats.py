"""Numbers as text, for people. A missing number is a dash."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from distilled_experts.report.values import finite, known

MISSING = "–"
MINUS = "\N{MINUS SIGN}"


def decimals(values: Iterable[Any], errors: Iterable[Any] = ()) -> int:
    """Return how many decimals show ``values`` to four digits and their largest standard error to two.

    Examples
    --------
    >>> decimals([0.97, 0.95]), decimals([54.3], [0.012]), decimals([12345.6])
    (4, 3, 0)
    """
    sizes = [abs(value) for value in known(values) if value]
    largest = max(sizes, default=1.0)
    wanted = 3 - math.floor(math.log10(largest))
    if largest <= 1:
        wanted = max(wanted, 4)
    # An error that is mere rounding (equal scores in every seed) must not ask for seventeen decimals.
    visible = [error for error in known(errors) if error > largest * 1e-6]
    if visible:
        wanted = max(wanted, 1 - math.floor(math.log10(max(visible))))
    return min(max(wanted, 0), 8)


def fixed(value: Any, places: int = 4) -> str:
    """Write a number with ``places`` decimals and a true minus sign.

    Examples
    --------
    >>> fixed(0.97123), fixed(None), fixed(12345.678, 1)
    ('0.9712', '–', '12,345.7')
    """
    number = finite(value)
    if number is None:
        return MISSING
    text = f"{number:,.{places}f}"
    if text.startswith("-") and not text.strip("-0.,"):
        text = text[1:]
    return text.replace("-", MINUS)


def signed(value: Any, places: int = 4) -> str:
    """Write a change with its sign; one that rounds to zero has none.

    Examples
    --------
    >>> signed(0.0042), signed(0.0)
    ('+0.0042', '0.0000')
    """
    text = fixed(value, places)
    number = finite(value)
    rounds_to_zero = not text.strip("0.,")
    return text if number is None or number < 0 or rounds_to_zero else f"+{text}"


def with_error(value: Any, error: Any, places: int = 4) -> str:
    """Write ``mean ± standard error``, or the mean alone where one seed gives no error."""
    if finite(value) is None or finite(error) is None:
        return fixed(value, places)
    return f"{fixed(value, places)} ± {fixed(error, places)}"


def probability(value: Any) -> str:
    """Write a p value.

    Examples
    --------
    >>> probability(0.0001), probability(0.0654)
    ('p < 0.001', 'p = 0.065')
    """
    number = finite(value)
    if number is None:
        return f"p {MISSING}"
    return "p < 0.001" if number < 0.001 else f"p = {number:.3f}"


def strength(value: Any) -> str:
    """Write an α as short as it can be.

    Examples
    --------
    >>> strength(0.0), strength(0.03), strength(100.0)
    ('0', '0.03', '100')
    """
    number = finite(value)
    return MISSING if number is None else f"{number:g}"


def whole(value: Any) -> str:
    """Write a count with thousands separators."""
    return fixed(value, 0)


def percent(share: Any) -> str:
    """Write a share as whole percent.

    Examples
    --------
    >>> percent(0.3449)
    '34 %'
    """
    number = finite(share)
    return MISSING if number is None else f"{100 * number:.0f} %"


def seconds(value: Any) -> str:
    """Write a time in seconds to about three digits.

    Examples
    --------
    >>> seconds(0.4237), seconds(12.34), seconds(1234.5)
    ('0.42', '12.3', '1,234')
    """
    number = finite(value)
    if number is None:
        return MISSING
    return fixed(number, 2 if number < 10 else 1 if number < 100 else 0)


def tied(text: str) -> str:
    """Keep what belongs together on one line: numbers with their signs and units.

    Examples
    --------
    >>> tied("p = 0.012 at 95 %") == "p\\xa0=\\xa00.012 at 95\\xa0%"
    True
    """
    for sign in ("=", "±"):
        text = text.replace(f" {sign} ", f"\N{NO-BREAK SPACE}{sign}\N{NO-BREAK SPACE}")
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def counted(number: int, noun: str) -> str:
    """Write a count with its noun.

    Examples
    --------
    >>> counted(1, "seed"), counted(10, "seed")
    ('1 seed', '10 seeds')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def clean(value: Any) -> str:
    """Return text from a record with everything that is not printable replaced.

    Names come from the user's file: a control character must not reach a terminal or an XML file, and a
    lone surrogate could not be written as UTF-8.

    Examples
    --------
    >>> clean("bell\\x07") == "bell\\N{REPLACEMENT CHARACTER}"
    True
    """
    text = " ".join(str(value).split()) if str(value).strip() else str(value)
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def upper_first(text: str) -> str:
    """Write a name as the beginning of a line; one that begins with a symbol such as R² stays.

    Examples
    --------
    >>> upper_first("routing accuracy"), upper_first("R² on own domain")
    ('Routing accuracy', 'R² on own domain')
    """
    return text[:1].upper() + text[1:]


def shortened(value: Any, length: int) -> str:
    """Write a name from a record in at most ``length`` characters.

    Examples
    --------
    >>> shortened("temperature", 6)
    'tempe…'
    """
    text = clean(value)
    return text if len(text) <= length else text[: length - 1] + "…"
