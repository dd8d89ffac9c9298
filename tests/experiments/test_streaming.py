"""Parquet files that are read column by column: the same model as from memory, in less of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from distilled_experts import MoDEClassifier
from distilled_experts.errors import DataError
from distilled_experts.experiments import models, streaming
from distilled_experts.experiments.data import load_table
from distilled_experts.experiments.models import fit_model, load_model, predict_file
from distilled_experts.experiments.streaming import ParquetTable, open_parquet

ROWS = 2500
FAST = {"max_iter": 2, "n_estimators": 2, "hidden": 8, "random_state": 0}


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": np.where(rng.random(ROWS) < 0.1, np.nan, rng.normal(40, 10, ROWS)),
            "city": pd.Categorical(rng.choice(["Ulm", "Bonn", "Köln"], ROWS)),
            "paid": pd.array(rng.random(ROWS) < 0.5, dtype="boolean"),
            "since": pd.date_range("2020-01-01", periods=ROWS, freq="h"),
            "visits": pd.array(rng.integers(9, size=ROWS), dtype="Int64"),
        }
    )
    frame["target"] = np.where(frame.age.fillna(40) > 45, "yes", "no")
    return frame


@pytest.fixture
def file(frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(streaming, "_BATCH_ROWS", 1000)
    monkeypatch.setattr(models, "_BATCH_ROWS", 1000)
    frame.to_parquet(tmp_path / "table.parquet", row_group_size=700)
    return tmp_path / "table.parquet"


def test_the_model_is_that_of_a_table_in_memory(file: Path, tmp_path: Path) -> None:
    held, streamed = load_table(str(file)), open_parquet(file)
    assert (streamed.task, streamed.y.tolist()) == (held.task, held.y.tolist())
    first = MoDEClassifier(**FAST).fit(held.X, held.y)
    second = MoDEClassifier(**FAST).fit(streamed.X, streamed.y)
    assert isinstance(second._features(streamed.X), np.memmap)
    assert list(second.feature_names_in_) == list(first.feature_names_in_) == list(held.X.columns)
    for one, other in zip(first.network_.parameters(), second.network_.parameters(), strict=True):
        assert one.equal(other)
    assert np.array_equal(second.predict_proba(streamed.X), first.predict_proba(held.X))


def test_predictions_come_batch_by_batch_and_are_the_same(file: Path, frame: pd.DataFrame, tmp_path: Path) -> None:
    fit_model(open_parquet(file), tmp_path / "model", epochs=2, hidden=8, alpha="0.1", seed=0)
    batches = list(predict_file(tmp_path / "model", file))
    assert max(len(batch) for batch in batches) <= 1000
    wanted = load_model(tmp_path / "model").predict_proba(frame.drop(columns="target"))
    np.testing.assert_allclose(pd.concat(batches).filter(like="probability").to_numpy(), wanted, rtol=1e-5)
    frame.to_csv(tmp_path / "table.csv", index=False)
    assert [len(batch) for batch in predict_file(tmp_path / "model", tmp_path / "table.csv")] == [1000, 1000, 500]


def test_fit_and_predict_on_the_command_line(file: Path, tmp_path: Path, mode: Any) -> None:
    assert mode("fit", file, "--epochs", 1, "--hidden", 8, "--alpha", 0.1, "--out", tmp_path / "model")[0] == 0
    status, out, err = mode("predict", tmp_path / "model", file)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert (len(lines), lines[0]) == (ROWS + 1, "prediction,probability_no,probability_yes")
    assert sum(line.startswith("prediction") for line in lines) == 1


def test_rows_without_a_target_are_left_out(file: Path, frame: pd.DataFrame) -> None:
    frame.loc[::5, "target"] = None
    frame.to_parquet(file)
    rows, held = open_parquet(file), load_table(str(file))
    assert rows.X.shape == (2000, 5)
    assert rows.y.tolist() == held.y.tolist()
    pd.testing.assert_series_equal(rows.X.column("age"), held.X["age"])
    np.testing.assert_array_equal(np.concatenate([batch["age"] for batch in rows.X.batches()]), held.X["age"])


@pytest.mark.parametrize(
    ("index", "names"), [(None, ["a", "target"]), ("row", ["row", "a", "target"])], ids=["unnamed", "named"]
)
def test_an_index_is_treated_as_in_memory(tmp_path: Path, index: str | None, names: list[str]) -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0], "target": [3.0, 4.0]}, index=pd.Index([7, 9], name=index))
    frame.to_parquet(tmp_path / "indexed.parquet")
    assert ParquetTable(tmp_path / "indexed.parquet").columns == names


def test_row_numbers_without_a_name_are_left_out(tmp_path: Path) -> None:
    pd.DataFrame({"Unnamed: 0": [0, 1], "a": [1.5, 2.0]}).to_parquet(tmp_path / "numbered.parquet")
    assert ParquetTable(tmp_path / "numbered.parquet").columns == ["a"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": None}, "has no values"),
        ({"age": np.inf}, "infinite"),
        ({"age": np.nan}, "all values are missing"),
        ({"target": "yes"}, "one class only"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(
    file: Path, frame: pd.DataFrame, change: dict[str, Any], message: str
) -> None:
    frame.assign(**change).to_parquet(file)
    with pytest.raises(DataError, match=message):
        open_parquet(file)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        ParquetTable(tmp_path / "text.parquet")
    pd.DataFrame({"a": []}).to_parquet(tmp_path / "empty.parquet")
    with pytest.raises(DataError, match="holds no rows"):
        ParquetTable(tmp_path / "empty.parquet")


def test_weights_of_zero_are_refused(file: Path) -> None:
    rows = open_parquet(file)
    with pytest.raises(DataError, match="sample_weight"):
        MoDEClassifier(**FAST).fit(rows.X, rows.y, sample_weight=np.arange(ROWS))


# Room for a tenth of the table beside what a process has when it begins.
LIMITED = """
import resource, sys
import pandas as pd
from distilled_experts import MoDERegressor
from distilled_experts.experiments.data import load_table
from distilled_experts.experiments.models import load_rows
from distilled_experts.experiments.streaming import open_parquet

def train(rows):
    options = {"n_estimators": 1, "n_bins": 0, "alpha": 0.1, "max_iter": 1, "batch_size": 1024, "hidden": 8}
    MoDERegressor(**options, random_state=0).fit(rows.X, rows.y)

kind, warm, path = sys.argv[1:]
train(open_parquet(warm))
begin = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, (1024 * begin + 60 * 2**20,) * 2)
train(open_parquet(path) if kind == "streamed" else load_table(path))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_memory_is_bounded(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, n_rows in (("warm", 2000), ("large", 200_000)):
        columns = {f"x{i}": rng.standard_normal(n_rows) for i in range(50)}
        frame = pd.DataFrame({**columns, "target": columns["x0"] + columns["x1"] ** 2})
        frame.to_parquet(tmp_path / f"{name}.parquet", row_group_size=50_000)

    def train(kind: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", LIMITED, kind, *(str(tmp_path / f"{n}.parquet") for n in ("warm", "large"))]
        return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)

    streamed = train("streamed")
    assert streamed.returncode == 0, streamed.stderr[-2000:]
    assert train("held").returncode != 0
