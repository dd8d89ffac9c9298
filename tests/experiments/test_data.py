from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, NoReturn
from urllib.error import URLError

import numpy as np
import pandas as pd
import pytest
import sklearn.datasets
from sklearn.utils import Bunch

from distilled_experts.errors import DataError, InvalidParameterError, UnknownDataError
from distilled_experts.experiments.data import load_table
from distilled_experts.experiments.registry import BUNDLED, REGISTRY

FRAME = pd.DataFrame(
    {
        "x": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        "word": ["a", None, "b", "a", "b", "a"],
        "site": [1, 1, 2, 2, 3, 3],
        "day": ["2024-01-03", "2024-01-01", "2024-01-02", "2024-01-04", "2024-01-06", "2024-01-05"],
        "target": ["p", "q", "p", None, "q", "p"],
    }
)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> NoReturn:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", refuse)
    monkeypatch.delenv("DISTILLED_EXPERTS_DATA", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    FRAME.to_csv(tmp_path / "deep" / "er" / "sales.csv.gz", index=False)
    FRAME.rename(columns={"target": "Status"}).to_parquet(tmp_path / "deep" / "credit_data.parquet")
    return tmp_path


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_sets(name: str) -> None:
    table = load_table(name)
    assert len(table.X) == len(table.y)
    assert "target" not in table.X.columns
    assert table.task == ("regression" if name == "diabetes" else "classification")


def test_parts_of_a_table(folder: Path) -> None:
    table = load_table("sales", data_dir=folder, groups="site", time="day")
    assert list(table.X.columns) == ["x", "word"]
    assert table.y.tolist() == ["p", "q", "p", "q", "p"]
    assert table.X.index.tolist() == table.y.index.tolist() == [0, 1, 2, 3, 4]
    assert table.groups is not None
    assert table.groups.tolist() == [1, 1, 2, 3, 3]
    assert table.time is not None
    assert np.argsort(table.time).tolist() == [1, 2, 0, 4, 3]
    assert any("1 rows without a target" in note for note in table.notes)


def test_where_names_are_looked_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTILLED_EXPERTS_DATA", str(folder))
    assert load_table("credit_data").target == "Status"
    assert load_table("sales").name == "sales"
    FRAME.to_csv(folder / "digits.csv", index=False)
    assert load_table("digits").X.shape == (5, 4)
    # What the caller names wins over the environment, and a file over everything.
    (folder / "other").mkdir()
    assert load_table("digits", data_dir=folder / "other").X.shape == (1797, 64)
    assert load_table(str(folder / "digits.csv")).X.shape == (5, 4)


def test_the_least_deep_file_is_taken(folder: Path) -> None:
    FRAME.head(4).assign(target=list("pqpq")).to_csv(folder / "sales.csv", index=False)
    assert len(load_table("sales", data_dir=folder).X) == 4


@pytest.mark.parametrize(
    ("name", "near"),
    [("optdigit", "optdigits"), ("IRIS", "iris"), ("sale", "sales"), ("zzzzzz", "digits, wine")],
)
def test_unknown_names_suggest_near_ones(folder: Path, name: str, near: str) -> None:
    with pytest.raises(UnknownDataError, match=near) as caught:
        load_table(name, data_dir=folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "targt"}, r"target: column 'targt' does not exist; allowed: a column of the data, such as target"),
        ({"groups": "sit"}, r"groups: column 'sit' does not exist; allowed: a column of the data, such as site"),
        ({"time": "date"}, "time: column 'date' does not exist"),
        ({"groups": "target"}, "groups: column 'target' is the target"),
        ({"groups": "word"}, "groups: column 'word' has no value in 1 row"),
        ({"time": "word"}, "time: column 'word' holds neither dates nor numbers"),
        ({"target": "day"}, "holds dates"),
        ({"target": "x", "task": "classification"}, "class '1' of column 'x'"),
    ],
)
def test_columns_that_do_not_serve(folder: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_table("sales", data_dir=folder, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.inf}, "data: infinite numbers in 'x'"),
        ({"x": None, "word": None}, "data: all values are missing in 'x', 'word'"),
        ({"target": "p"}, "one class only"),
        ({"target": None}, "column 'target' has no values"),
        ({"target": [*"ppppp", "q"]}, "class 'q' of column 'target' has 1 row"),
    ],
)
def test_values_that_do_not_serve(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    FRAME.assign(**change).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=message):
        load_table(str(tmp_path / "t.parquet"))


def test_a_target_is_needed_and_a_feature_too(tmp_path: Path) -> None:
    FRAME.drop(columns="target").to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match="no column is called 'target'; allowed: one of the columns 'x', 'word'"):
        load_table(str(tmp_path / "t.csv"))
    FRAME[["target"]].to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match="no feature columns"):
        load_table(str(tmp_path / "t.csv"))


def test_folders_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidParameterError, match=r"^data_dir: "):
        load_table("digits", data_dir=tmp_path / "no")
    monkeypatch.setenv("DISTILLED_EXPERTS_DATA", str(tmp_path / "no"))
    with pytest.raises(InvalidParameterError, match=r"^DISTILLED_EXPERTS_DATA: "):
        load_table("digits")
    with pytest.raises(InvalidParameterError, match=r"^data: "):
        load_table("")


@pytest.mark.parametrize(
    "failure",
    [
        URLError("no route"),
        TimeoutError("timed out"),
        ConnectionResetError(104, "reset"),
        ValueError("md5 differs"),
    ],
)
def test_downloads_that_fail(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    seen: list[float | None] = []

    def fail(**options: Any) -> NoReturn:
        seen.append(socket.getdefaulttimeout())
        raise failure

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fail)
    with pytest.raises(DataError, match=r"data: 'optdigits' could not be fetched .*--data-dir") as caught:
        load_table("optdigits")
    assert "\n" not in str(caught.value)
    assert seen[0] is not None
    assert seen[0] <= 10
    assert socket.getdefaulttimeout() is None


def test_downloads_that_succeed(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = FRAME.rename(columns={"target": "class"}).astype({"class": "category"})

    def fetch(data_id: int, **options: Any) -> Bunch:
        assert data_id == REGISTRY["optdigits"].openml
        return Bunch(frame=frame, target_names=["class"])

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    table = load_table("optdigits")
    assert (table.target, table.task, len(table.y)) == ("class", "classification", 5)
    with pytest.raises(DataError, match="attrition' is not to be had online"):
        load_table("attrition")
