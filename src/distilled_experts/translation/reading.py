"""Files of sentence pairs: TSV, JSON lines, and two plain files with a sentence a line."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from distilled_experts.errors import DataError, InvalidParameterError
from distilled_experts.files import check_gzip
from distilled_experts.translation.corpus import Pair, tidied

__all__ = [
    "SUFFIXES",
    "Languages",
    "PairFile",
    "complete",
    "pair_of_object",
    "parse_languages",
    "read_lines",
    "read_pairs",
    "zipped",
]

SUFFIXES = (".tsv", ".jsonl", ".tsv.gz", ".jsonl.gz")
"""Ends of the names of files that hold both sides."""

Languages = tuple[str, str]

_LANGUAGES = re.compile(r"[a-z]{2,3}(?:-[a-z]{2,3})+", re.IGNORECASE)
_HEADINGS = re.compile(r"[a-z]{2,3}|source|target|src|tgt|trg", re.IGNORECASE)


class PairFile(NamedTuple):
    """The pairs of a file, their languages as far as it tells them, and what was left out."""

    pairs: list[Pair]
    languages: Languages | None
    notes: tuple[str, ...]


def parse_languages(pair: str) -> Languages:
    """Source and target of a pair of languages.

    Raises
    ------
    InvalidParameterError
        When it is not made of two different names.

    Examples
    --------
    >>> parse_languages("en-de")
    ('en', 'de')
    """
    source, _, target = pair.partition("-")
    if not (source and target and source != target and "-" not in target):
        raise InvalidParameterError("pair", pair, "source and target, such as en-de")
    return source, target


def read_pairs(path: Path, wanted: Languages | None = None) -> PairFile:
    """Read a TSV or JSON lines file, compressed or not.

    Columns of a TSV file have the names in its first line, or those in the file's own name (``train_en-de-fr.tsv``).
    Objects have a string for each language, directly or under ``translation``.

    Parameters
    ----------
    path : Path
    wanted : (str, str), optional
        Names of the columns; default: the first two.

    Returns
    -------
    PairFile
        Lines with an empty side or another number of columns are left out and counted.

    Raises
    ------
    DataError
        When the file cannot be read, or has no such columns.
    InvalidParameterError
        When a column is asked for that a file with named columns does not have.
    """
    lines = read_lines(path)
    if path.name.removesuffix(".gz").endswith(".jsonl"):
        return _from_objects(path, lines, wanted)
    return _from_columns(path, lines, wanted)


def zipped(sources: Path, targets: Path, languages: Languages) -> PairFile:
    """Read two files with a sentence a line.

    Raises
    ------
    DataError
        When they have different numbers of lines.
    """
    sides = [read_lines(path) for path in (sources, targets)]
    if len(sides[0]) != len(sides[1]):
        counts = f"{len(sides[0])} lines in '{sources.name}', {len(sides[1])} in '{targets.name}'"
        raise DataError(f"data: {counts}; allowed: files whose lines are pairs")
    return complete(f"{sources.name} and {targets.name}", zip(*sides, strict=True), languages, Counter())


def read_lines(path: Path) -> list[str]:
    """Lines of a text file in UTF-8, compressed or not, without those that are empty at its end.

    Raises
    ------
    DataError
        When it cannot be read.
    """
    try:
        if path.name.endswith(".gz"):
            check_gzip(path)
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.name.endswith(".gz") else data).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise DataError(f"file '{path}': byte 0x{byte:02x} is not UTF-8 text; allowed encoding: UTF-8") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"file '{path}': the compressed data is damaged or cut off ({error})") from error
    except OSError as error:
        raise DataError(f"file '{path}': cannot be read ({error.strerror or error})") from error
    # Not splitlines: sentences may hold other characters that end a line.
    return text.replace("\r\n", "\n").rstrip("\n").split("\n") if text.strip() else []


def pair_of_object(value: Any, wanted: Languages | None) -> tuple[Pair, Languages] | None:
    """Both sides of a JSON object, and their names; None where it has no such strings.

    Examples
    --------
    >>> pair_of_object({"translation": {"de": "Hund", "en": "dog"}}, ("en", "de"))
    (('dog', 'Hund'), ('en', 'de'))
    """
    nested = value.get("translation", value) if isinstance(value, Mapping) else None
    if not isinstance(nested, Mapping):
        return None
    texts = {str(name): text for name, text in nested.items() if isinstance(text, str) and _is_unicode(text)}
    names = wanted or tuple(texts)[:2]
    if len(names) < 2 or not texts.keys() >= set(names):
        return None
    return (texts[names[0]], texts[names[1]]), (names[0], names[1])


def _is_unicode(text: str) -> bool:
    """Not so for halves of characters, which JSON can write."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _from_objects(path: Path, lines: list[str], wanted: Languages | None) -> PairFile:
    problems: Counter[str] = Counter()
    found = []
    for line in filter(str.strip, lines):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            problems["that are no JSON"] += 1
            continue
        pair = pair_of_object(value, wanted)
        if pair is None:
            problems["without both sides"] += 1
        else:
            found.append(pair)
    languages = wanted or (found[0][1] if found else None)
    return complete(path.name, (pair for pair, _ in found), languages, problems)


def _from_columns(path: Path, lines: list[str], wanted: Languages | None) -> PairFile:
    rows = [line.split("\t") for line in lines]
    headed = bool(rows) and len(rows[0]) > 1 and all(_HEADINGS.fullmatch(name.strip()) for name in rows[0])
    named = [name.strip() for name in rows[0]] if headed else _named_in(path.name)
    rows = rows[1:] if headed else rows
    if not any(len(row) > 1 for row in rows):
        raise DataError(f"file '{path}': has no lines of two columns; allowed: a sentence, a tab and its translation")
    n_columns = len(named) if headed else Counter(len(row) for row in rows if len(row) > 1).most_common(1)[0][0]
    names = named if len(named) == n_columns else []
    if wanted is not None and names and not set(wanted) <= set(names):
        raise InvalidParameterError("pair", "-".join(wanted), f"two of {', '.join(names)}")
    if wanted is not None and not names and n_columns > 2:
        raise DataError(f"file '{path}': {n_columns} columns without names; allowed: a first line that names them")
    places = (names.index(wanted[0]), names.index(wanted[1])) if wanted and names else (0, 1)
    whole = [row for row in rows if len(row) == n_columns]
    odd = sum(len(row) != n_columns and any(row) for row in rows)
    problems = Counter({f"with another number of columns than {n_columns}": odd})
    languages = wanted or ((names[0], names[1]) if names else None)
    # An empty line is one that lacks both sides.
    empty = [("", "")] * (len(rows) - len(whole) - odd)
    return complete(path.name, [*((row[places[0]], row[places[1]]) for row in whole), *empty], languages, problems)


def _named_in(name: str) -> list[str]:
    """Languages that a file's name lists."""
    parts = re.split(r"[_.]", name)
    return next((part.split("-") for part in reversed(parts) if _LANGUAGES.fullmatch(part)), [])


def complete(name: str, pairs: Iterable[Pair], languages: Languages | None, problems: Mapping[str, int]) -> PairFile:
    """Pairs with both sides, tidied; what is left out is counted, with other problems."""
    tidy = tidied(pairs)
    kept = [pair for pair in tidy if all(pair)]
    counted = {**problems, "with an empty side": len(tidy) - len(kept)}
    notes = tuple(f"{name}: left out lines {what}: {n}" for what, n in counted.items() if n)
    return PairFile(kept, languages, notes)
