"""Bad inputs: valid files that were harmed, and values that nobody expects. Strategies for Hypothesis."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

TOKENS = [
    *(b"\0", b"\xff", b"\n", b"\r\n", b",", b";", b'"', b"'", b"\\", b"=1+1", b"=cmd|' /C calc'!A0", b"<script>"),
    *(b"-1", b"NaN", b"inf", b"1e999", b"9" * 400, b"\xe2\x80\xa8", b"\xed\xa0\x80", b"../../etc/passwd", b"[" * 2000),
    *(b"None", b"?", b"{", b"}", b"\x80" * 9, b"\xff\xff\xff\xff", b"\x7f" + b"\xff" * 7, b"PAR1", b"PK\x03\x04"),
]
"""Bytes that mean something to a reader."""

ODD = [
    *(None, True, False, -1, 0, 1, 2**31, 2**70, 1.5, float("nan"), float("inf"), "", "x", "x" * 5000),
    *("\ud800", "\x1b[2J", "a\0b"),
    *("../../etc/passwd", "/dev/zero", "<img src=x onerror=alert(1)>", "[/b]", "=1+1", "O", "U999999999", "V9", "meta"),
    *([], {}, [[]], [None], {"a": {"b": []}}, [1, "a"], ["a"] * 50),
]
"""Values in places where others are expected."""


@st.composite
def harmed(draw: st.DrawFn, valid: Sequence[bytes]) -> bytes:
    """One of the valid files with up to four changes."""
    content = bytearray(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(0, len(content) - 1)))
        stop = start + draw(st.integers(0, 40))
        match draw(st.integers(0, 6)):
            case 0:
                content[start : start + 1] = bytes([draw(st.integers(0, 255))])
            case 1 if content:
                content[start] ^= 1 << draw(st.integers(0, 7))
            case 2:
                content[start:start] = draw(st.sampled_from(TOKENS))
            case 3:
                del content[start:stop]
            case 4:
                del content[start:]
            case 5:
                content[start:start] = content[start:stop] * draw(st.integers(1, 30))
            case 6:
                other = draw(st.sampled_from(valid))
                content[start:stop] = other[start:stop]
    return bytes(content)


texts = st.one_of(st.sampled_from(TOKENS).map(lambda token: token.decode("latin-1")), st.text(max_size=12))


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """Text that looks like a table."""
    delimiter = draw(st.sampled_from(",;\t|"))
    width = draw(st.integers(1, 4))
    rows = draw(st.lists(st.lists(texts, min_size=1, max_size=width + 1), min_size=1, max_size=12))
    return "\n".join(delimiter.join(row) for row in rows).encode("utf-8", "surrogatepass")


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """A nested value, of which one or two parts are others, or are not there."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 2))):
        place, key = value, None
        for _ in range(draw(st.integers(1, 4))):
            keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            inside, key = place, draw(st.sampled_from(keys))
            place = inside[key]
            if not isinstance(place, (dict, list)):
                break
        if key is None:
            continue
        if draw(st.booleans()) or isinstance(inside, list):
            inside[key] = copy.deepcopy(draw(st.sampled_from(ODD)))
        else:
            del inside[key]
    return value


@st.composite
def changed_arrays(draw: st.DrawFn, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays, of which one has another shape, type or values, or is not there."""
    name = draw(st.sampled_from(sorted(arrays)))
    array, others = arrays[name], {key: value for key, value in arrays.items() if key != name}
    ways = {
        "gone": dict,
        "longer": lambda: {name: np.repeat(array, 2, axis=0)},
        "flat": lambda: {name: array.reshape(-1)},
        "deeper": lambda: {name: array[None]},
        "empty": lambda: {name: array[:0]},
        "huge": lambda: {name: np.zeros((1,) * (array.ndim - 1) + (2**16,), array.dtype)},
        "integers": lambda: {name: array.astype(np.int16)},
        "complex": lambda: {name: array.astype(np.float16)},
        "nan": lambda: {name: array * np.nan if array.dtype.kind == "f" else array - 99},
        "renamed": lambda: {f"{name}_": array},
    }
    return others | ways[draw(st.sampled_from(sorted(ways)))]()
