"""Files of sentence pairs: all their forms, and all that can be wrong with them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from distilled_experts.errors import DataError, InvalidParameterError
from distilled_experts.translation.reading import parse_languages, read_pairs, zipped

DOG = ("a dog", "ein Hund")
CAT = ("a cat", "eine Katze")


def written(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs.tsv.gz"])
def test_two_columns_need_no_names(tmp_path: Path, name: str) -> None:
    found = read_pairs(written(tmp_path, name, "a dog\tein Hund\r\na cat\teine Katze\n"))
    assert found == ([DOG, CAT], None, ())
    assert read_pairs(tmp_path / name, ("en", "de")).languages == ("en", "de")


@pytest.mark.parametrize(("name", "head"), [("pairs.tsv", "en\tfr\tde\n"), ("set_train_en-fr-de.tsv", "")])
def test_columns_are_found_by_name(tmp_path: Path, name: str, head: str) -> None:
    path = written(tmp_path, name, f"{head}a dog\tun chien\tein Hund\n")
    assert read_pairs(path, ("en", "de")) == ([DOG], ("en", "de"), ())
    assert read_pairs(path, ("de", "en")).pairs == [DOG[::-1]]
    assert read_pairs(path).languages == ("en", "fr")
    with pytest.raises(InvalidParameterError, match="pair: 'en-cs' is not allowed; allowed: two of en, fr, de"):
        read_pairs(path, ("en", "cs"))


def test_lines_that_are_no_pairs_are_counted(tmp_path: Path) -> None:
    text = "a dog\tein Hund\n\tleer\n\n  \t \none\ntoo\tmany\tcolumns\na cat\teine Katze\n\n"
    found = read_pairs(written(tmp_path, "pairs.tsv", text))
    assert found.pairs == [DOG, CAT]
    assert found.notes == (
        "pairs.tsv: left out lines with another number of columns than 2: 2",
        "pairs.tsv: left out lines with an empty side: 3",
    )


def test_other_line_ends_within_a_sentence_do_not_divide_it(tmp_path: Path) -> None:
    assert read_pairs(written(tmp_path, "pairs.tsv", "a\u2028dog\tein\x0bHund\n")).pairs == [DOG]


def test_json_lines_hold_both_sides_by_name(tmp_path: Path) -> None:
    rows = [{"en": DOG[0], "de": DOG[1], "n": 1}, {"translation": {"de": CAT[1], "en": CAT[0]}}, {"en": "alone"}, 7]
    text = "\n".join(map(json.dumps, rows)) + "\n{broken\n"
    path = written(tmp_path, "pairs.jsonl", text)
    assert read_pairs(path, ("en", "de")) == (
        [DOG, CAT],
        ("en", "de"),
        ("pairs.jsonl: left out lines without both sides: 2", "pairs.jsonl: left out lines that are no JSON: 1"),
    )
    assert read_pairs(path).languages == ("en", "de")


def test_two_plain_files_are_pairs_by_line(tmp_path: Path) -> None:
    sides = [written(tmp_path, "a.en", "a dog\n\na cat\n"), written(tmp_path, "a.de", "ein Hund\nx\neine Katze\n")]
    note = "a.en and a.de: left out lines with an empty side: 1"
    assert zipped(*sides, ("en", "de")) == ([DOG, CAT], ("en", "de"), (note,))
    sides[1].write_text("ein Hund\n")
    with pytest.raises(DataError, match=r"3 lines in 'a.en', 1 in 'a.de'; allowed: files whose lines are pairs"):
        zipped(*sides, ("en", "de"))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("pairs.tsv", b"a dog\tein H\xfcnd\n", "byte 0xfc is not UTF-8 text"),
        ("pairs.tsv", b"", "has no lines of two columns"),
        ("pairs.tsv", b"no tab\nat all\n", "has no lines of two columns"),
        ("pairs.tsv", b"a\tb\tc\n", "3 columns without names"),
    ],
)
def test_files_that_are_none_of_pairs(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_pairs(written(tmp_path, name, data), ("en", "de"))


@pytest.mark.parametrize("data", [b"no gzip", gzip.compress(b"a dog\tein Hund\n" * 99, mtime=0)[:-20]])
def test_damaged_archives_are_an_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "pairs.tsv.gz"
    path.write_bytes(data)
    with pytest.raises(DataError, match="the compressed data is damaged or cut off"):
        read_pairs(path)


@pytest.mark.parametrize("pair", ["en", "en-", "-de", "en-en", "en-de-fr", ""])
def test_a_pair_of_languages_is_two_names(pair: str) -> None:
    with pytest.raises(InvalidParameterError, match="allowed: source and target, such as en-de"):
        parse_languages(pair)
