"""Files that unpack to far more than they hold: refused by declared limits, before memory is taken."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from distilled_experts import files
from distilled_experts.errors import DataError, InvalidParameterError
from distilled_experts.experiments import dialect, reading
from distilled_experts.experiments.configuration import read_configuration
from distilled_experts.experiments.reading import read_frame
from distilled_experts.translation.reading import read_pairs
from distilled_experts.vision.archives import read_archive
from distilled_experts.vision.folders import read_folder


@pytest.fixture
def a_mebibyte_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_ALWAYS_ALLOWED", 2**20)


def test_the_limits_are_those_of_the_documentation() -> None:
    assert (files._ALWAYS_ALLOWED, files._MOST_TIMES, files._SMALL) == (2**30, 100, 2**26)
    limits = (reading._MOST_COLUMNS, reading._LONGEST_NAME, reading._LONGEST_FIELD, dialect._SNIFFED_CHARACTERS)
    assert limits == (100_000, 1_000, 100_000, 4_000_000)


@pytest.mark.slow
def test_a_gzip_bomb_of_a_gibibyte_is_refused_in_seconds_and_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.csv.gz"
    # Parts of gzip one after the other are one file.
    path.write_bytes(gzip.compress(b"a,b\n") + gzip.compress(b"1,2\n" * 2**24) * 17)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"bomb\.csv\.gz': unpacks to more than 1\.0 GiB; allowed: 1 GiB, or 100 times"):
        read_frame(path)
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["t.csv.gz", "t.tsv.gz"])
def test_compressed_text(a_mebibyte_at_most: None, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"a\tb\n" + b"1\t2\n" * 2**19))
    with pytest.raises(DataError, match="unpacks to more than"):
        read_frame(path) if name == "t.csv.gz" else read_pairs(path)


def test_what_compresses_well_but_not_too_well_is_read(a_mebibyte_at_most: None, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(100, size=(2**18, 2))
    pd.DataFrame(rows, columns=["a", "b"]).to_csv(tmp_path / "t.csv.gz", index=False)
    assert read_frame(tmp_path / "t.csv.gz").shape == (2**18, 2)


def many_numbers(path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array(np.zeros(2**20))}), path)


def many_long_texts(path: Path) -> None:
    words = pa.DictionaryArray.from_arrays(pa.array(np.zeros(2**14, dtype=np.int32)), pa.array(["x" * 2**14]))
    pq.write_table(pa.table({"a": words.cast(pa.string())}), path, use_dictionary=True)


@pytest.mark.parametrize("make", [many_numbers, many_long_texts])
def test_parquet(a_mebibyte_at_most: None, tmp_path: Path, make: object) -> None:
    make(tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 2**20 / 100
    before = pa.total_allocated_bytes()
    with pytest.raises(DataError, match="unpacks to more than"):
        read_frame(tmp_path / "t.parquet")
    assert pa.total_allocated_bytes() == before


def test_arrays_that_are_larger_than_allowed_or_than_their_bytes(a_mebibyte_at_most: None, tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "zeros.npz", X=np.zeros((2**12, 32, 32), dtype=np.uint8), y=np.zeros(2**12))
    with pytest.raises(DataError, match="unpacks to more than"):
        read_archive(tmp_path / "zeros.npz", "zeros")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**40, 8, 8)})
    with zipfile.ZipFile(tmp_path / "claims.npz", "w") as archive:
        archive.writestr("X.npy", header.getvalue() + bytes(100))
        archive.writestr("y.npy", header.getvalue())
    with pytest.raises(DataError, match=r"X\.npy is shorter than its header says"):
        read_archive(tmp_path / "claims.npz", "claims")


def test_nothing_in_an_archive_is_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", X=np.array([{"a": 1}], dtype=object), y=np.zeros(1))
    with pytest.raises(DataError, match="cannot be read"):
        read_archive(tmp_path / "objects.npz", "objects")


def test_pictures_that_are_too_large_or_of_rare_formats_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("a file of strangers was handed to another program")

    # Pillow's way to read Encapsulated PostScript.
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", never)
    for label in "ab":
        (tmp_path / label).mkdir()
        for i in range(2):
            Image.new("L", (9, 9), 100 * i).save(tmp_path / label / f"{i}.png")
    Image.new("1", (2**14, 2**13)).save(tmp_path / "a/large.png")
    Image.new("L", (9, 9)).save(tmp_path / "b/script.eps")
    (tmp_path / "b/script.eps").rename(tmp_path / "b/script.png")
    images = read_folder(tmp_path, "mine", size=8)
    assert len(images.y) == 4
    assert images.notes[0].startswith("2 of 6 files could not be read")


def test_long_lines_names_and_fields_and_many_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_MOST_COLUMNS", 100)
    for name, text, message in [
        ("line", "a" * 5_000_000, "its first line is too long; allowed: 4,000,000 characters"),
        ("name", f"{'a' * 1_001},b\n1,2\n", "a name of a column has 1,001 characters; allowed: 1,000"),
        ("field", f"a,b\n1,{'x' * 100_001}\n", "a field of column 'b' has 100,001 characters; allowed: 100,000"),
        ("columns", ",".join(map(str, range(101))) + "\n", "101 columns are not allowed; allowed: 100 at most"),
        ("wide", f"a,b\n1,{'x,' * 1_000_000}\n", "1,000,002 columns are not allowed; allowed: 100 at most"),
        ("later", f"a,b\n1,2\n1,{'x,' * 3_000_000}\n", "not a regular CSV table"),
    ]:
        (tmp_path / f"{name}.csv").write_text(text)
        with pytest.raises(DataError, match=message) as caught:
            read_frame(tmp_path / f"{name}.csv")
        assert len(str(caught.value)) < 2000
    pd.DataFrame({"a": pd.Categorical(["x" * 100_001])}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="a field of column 'a'"):
        read_frame(tmp_path / "t.parquet")


def test_references_in_a_configuration_are_not_written_out(tmp_path: Path) -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]" for before, name in pairwise("abcdefghi")]
    (tmp_path / "c.yaml").write_text("\n".join(lines))
    with pytest.raises(InvalidParameterError, match="config: 'b' is not allowed; allowed: with a num") as caught:
        read_configuration(str(tmp_path / "c.yaml"), list("abcdefghi"))
    assert len(str(caught.value)) < 200


def test_descriptions_are_small_regular_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.yaml").write_text(json.dumps({"seeds": 3}))
    assert read_configuration(str(tmp_path / "c.yaml"), ["seeds"]) == {"seeds": "3"}
    monkeypatch.setattr(files, "_SMALL", 5)
    with pytest.raises(DataError, match=r"c\.yaml has more than"):
        read_configuration(str(tmp_path / "c.yaml"), ["seeds"])
    with pytest.raises(DataError, match="null is no regular file"):
        read_configuration("/dev/null", ["seeds"])
