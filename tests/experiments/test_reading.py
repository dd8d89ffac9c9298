from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from distilled_experts.errors import DataError
from distilled_experts.experiments.reading import read_file, read_frame

ROWS = "a,b,target\n1,2.5,x\n3,4.5,y\n"


def _write(path: Path, content: str | bytes, encoding: str = "utf-8") -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("comma.csv", ROWS),
        ("semicolon.csv", ROWS.replace(",", ";")),
        ("decimal_comma.csv", ROWS.replace(",", ";").replace(".", ",")),
        ("tab.tsv", ROWS.replace(",", "\t")),
        ("bar.txt", ROWS.replace(",", "|")),
        ("spaces.csv", ROWS.replace(",", ", ")),
        ("windows.csv", ROWS.replace("\n", "\r\n")),
        ("mark.csv", "\ufeff" + ROWS),
        ("packed.csv.gz", gzip.compress(ROWS.encode(), mtime=0)),
        ("packed_without_saying_so.csv", gzip.compress(ROWS.encode(), mtime=0)),
        ("not_packed.csv.gz", ROWS),
        ("upper.CSV", ROWS),
        ("quoted.csv", '"a","b","target"\n"1","2.5","x"\n"3","4.5","y"\n'),
        ("numbered.csv", ",a,b,target\n0,1,2.5,x\n1,3,4.5,y\n"),
        ("trailing.csv", "a,b,target,\n1,2.5,x,\n3,4.5,y,\n"),
    ],
)
def test_ways_to_write_the_same_table(tmp_path: Path, name: str, content: str | bytes) -> None:
    frame = read_frame(_write(tmp_path / name, content))
    pd.testing.assert_frame_equal(
        frame, pd.DataFrame({"a": [1, 3], "b": [2.5, 4.5], "target": ["x", "y"]}), check_column_type=False
    )


def test_missing_words(tmp_path: Path) -> None:
    text = "number,word,none\n1,a,None\n?,NA,3\n,?,4\nNaN,None,\n"
    frame = read_frame(_write(tmp_path / "t.csv", text))
    assert frame["number"].isna().tolist() == [False, True, True, True]
    assert frame["word"].isna().tolist() == [False, True, True, False]
    # The word None is a category among words and a gap among numbers.
    assert frame["word"].iloc[3] == "None"
    np.testing.assert_array_equal(frame["none"], [np.nan, 3, 4, np.nan])


def test_quoted_fields_hold_delimiters_and_line_breaks(tmp_path: Path) -> None:
    frame = read_frame(_write(tmp_path / "t.csv", 'a,b\n"x, ""y""\nz",1\n"p;q;r",2\n'))
    assert frame["a"].tolist() == ['x, "y"\nz', "p;q;r"]


def test_parquet(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": pd.Categorical(["x", "y"])})
    folder = tmp_path / "year=2024"
    folder.mkdir()
    frame.to_parquet(folder / "t.parquet")
    pd.testing.assert_frame_equal(read_frame(folder / "t.parquet"), frame)
    frame.set_index("b").to_parquet(tmp_path / "indexed.parquet")
    assert list(read_frame(tmp_path / "indexed.parquet").columns) == ["b", "a"]
    frame.set_axis([7, 9]).to_parquet(tmp_path / "filtered.parquet")
    assert list(read_frame(tmp_path / "filtered.parquet").index) == [0, 1]


def test_notes_tell_what_was_left_out(tmp_path: Path) -> None:
    notes = read_file(_write(tmp_path / "t.csv", ",a,\n5,1,\n6,1,\n")).notes
    assert [note.rpartition(": ")[2] for note in notes] == ["row numbers", "empty"]


_PACKED = gzip.compress((ROWS * 500).encode(), mtime=0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", "", "is empty"),
        ("blank.csv", "\n \n", "is empty"),
        ("empty.csv.gz", gzip.compress(b"", mtime=0), "is empty"),
        ("header.csv", "a,b\n", "no rows"),
        ("latin.csv", "ä,b\n1,2\n".encode("latin-1"), "byte 0xe4 is not UTF-8"),
        ("late.csv", ROWS.encode() + b"1,2,x\n" * 20_000 + b"1,2,\xe9\n", "byte 0xe9 is not UTF-8"),
        ("utf16.csv", ROWS.encode("utf-16"), "UTF-8"),
        ("zeros.csv", ROWS.encode("utf-16-le"), "UTF-16"),
        ("cut.csv.gz", _PACKED[:-30], "damaged or cut off"),
        ("damaged.csv.gz", _PACKED[:30] + b"\0\xff\0\xff" + _PACKED[34:], "damaged"),
        ("twice.csv", "a,b,a\n1,2,3\n", "'a' occurs more than once"),
        ("ragged.csv", "a,b\n1,2\n1,2,3\n", "not a regular CSV table"),
        ("surplus.csv", "a\n1,2\n3,4\n", "more fields than the header"),
        ("quote.csv", 'a,b\n"1,2\n3,4\n', "not a regular CSV table"),
        ("excel.csv", b"PK\x03\x04....", "zip archive or Excel"),
        ("table.xlsx", b"PK\x03\x04....", "type is not known"),
        ("broken.parquet", b"PAR1....PAR1", "not a readable Parquet"),
        ("text.parquet", ROWS, "not a readable Parquet"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    path = _write(tmp_path / name, content)
    with pytest.raises(DataError, match=message) as caught:
        read_frame(path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    _write(tmp_path / "sales.csv", ROWS)
    with pytest.raises(DataError, match=r"does not exist.*near it: sales\.csv"):
        read_frame(tmp_path / "sale.csv")
    with pytest.raises(DataError, match="does not exist"):
        read_frame(tmp_path / "nowhere" / "sale.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_frame(tmp_path)


def test_cut_parquet(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pd.DataFrame({"a": np.arange(100)}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="not a readable Parquet"):
        read_frame(path)


def test_parquet_with_text_that_is_not_utf_8(tmp_path: Path) -> None:
    pd.DataFrame({"a": ["Ulm", "Bonn"] * 9, "b": 1}).to_parquet(tmp_path / "t.parquet", compression=None)
    (tmp_path / "t.parquet").write_bytes((tmp_path / "t.parquet").read_bytes().replace(b"Bonn", b"B\xffnn"))
    with pytest.raises(DataError, match=r"not a readable Parquet file.*UTF"):
        read_frame(tmp_path / "t.parquet")
