"""``mode probe`` from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from distilled_experts import MoDEClassifier, MoDERegressor

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(80, 2)), columns=[EVIL, "b"])
    frame["kind"] = np.where(frame[EVIL] > 0, "up", EVIL)
    frame["price"] = 3 * frame[EVIL] + frame["b"]
    return frame


@pytest.fixture
def folder(tmp_path: Path, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A classifier, a regressor and rows of their own, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISTILLED_EXPERTS_DATA", raising=False)
    X = table[[EVIL, "b"]]
    settings = {"max_iter": 3, "hidden": 4, "n_experts": 2, "alpha": 0.1, "random_state": 0}
    MoDEClassifier(**settings).fit(X[:50], table["kind"][:50]).save("classifier")
    MoDERegressor(**settings).fit(X[:50], table["price"][:50]).save("regressor")
    table[50:].to_csv("rows.csv", index=False)
    return tmp_path


def test_words_and_tables_are_printed(mode, folder):
    status, out, err = mode("probe", "classifier", "rows.csv", "--target", "kind")
    assert (status, err) == (0, "")
    for word in ("30 samples", "2 experts", "accuracy on own domain", "routing accuracy", "95 % interval", "expert"):
        assert word in out


def test_the_record_is_that_of_the_estimator(mode, folder, table):
    status, out, err = mode("probe", "classifier", "rows.csv", "--target", "kind", "--json")
    assert (status, err) == (0, "")
    record = json.loads(out)
    rows = pd.read_csv("rows.csv")  # sums depend on how numbers lie in memory: read as the command reads
    own = MoDEClassifier.load("classifier").probe(rows[[EVIL, "b"]], rows["kind"]).to_dict()
    assert {key: record[key] for key in own} == json.loads(json.dumps(own))
    assert (record["data"], record["model"], record["target"]) == ("rows", "classifier", "kind")
    assert record["environment"].keys() >= {"torch", "python"}


def test_the_page_is_written_to_a_file_or_with_figures_to_a_folder(mode, folder, table):
    table[50:].drop(columns="price").rename(columns={"kind": "<b>kind"}).to_csv("rows.csv")
    arguments = ["probe", "classifier", "rows.csv", "--target", "<b>kind", "--report"]
    status, _, err = mode(*arguments, "page.html")
    assert (status, err) == (0, "page written to page.html\n")
    status, _, err = mode(*arguments, "report")
    assert (status, err) == (0, f"page written to {Path('report/report.html')}\n")
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert page == (folder / "report/report.html").read_text(encoding="utf-8")
    assert EVIL not in page
    assert "<b>kind" not in page
    assert "&lt;b&gt;kind" in page
    names = {path.name for path in (folder / "report/figures").iterdir()}
    assert names >= {"domains.svg", "domains.png", "narrow-vision.svg"}


def test_numbers_are_probed_too_and_rows_without_target_left_out(mode, folder, table):
    frame = table[50:].copy()
    frame.loc[frame.index[:4], "price"] = np.nan
    frame.to_parquet("rows.parquet")
    status, out, err = mode("probe", "regressor", "rows.parquet", "--target", "price", "--json")
    assert (status, err) == (0, "")
    record = json.loads(out)
    assert (record["task"], record["metric"], record["samples"]) == ("regression", "r2", 26)
    assert record["notes"] == ["4 rows without a target were left out"]


@pytest.mark.parametrize(
    ("model", "target", "asked", "kind", "subsets"),
    [
        ("classifier", "kind", [], "class", [EVIL, "up"]),
        ("classifier", "kind", ["--subsets", "clusters"], "cluster of the inputs", None),
        ("regressor", "price", [], "cluster of the inputs", None),
        ("regressor", "price", ["--subsets", "target"], "range of the target", None),
        ("regressor", "price", ["--subsets", "kind"], "subset", [EVIL, "up"]),
    ],
)
def test_subsets_are_classes_clusters_ranges_or_a_column(mode, folder, model, target, asked, kind, subsets):
    status, out, err = mode("probe", model, "rows.csv", "--target", target, *asked, "--json")
    assert (status, err) == (0, "")
    record = json.loads(out)
    assert record["subset_kind"] == kind
    assert len(record["subsets"]) == 5 if subsets is None else record["subsets"] == subsets
    assert np.sum(record["composition"]) == 30


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["classifier", "rows.csv"], ["target"]),
        (["classifier", "rows.csv", "--target", "kin"], ["kin", "kind"]),
        (["classifier", "rows.csv", "--target", "price"], ["price", "class", "up"]),
        (["regressor", "rows.csv", "--target", "kind"], ["kind", "number"]),
        (["classifier", "rows.csv", "--target", "b"], ["missing columns", "'b'"]),
        (["classifier", "nothing.csv", "--target", "kind"], ["nothing.csv"]),
        (["nowhere", "rows.csv", "--target", "kind"], ["nowhere"]),
        (["classifier", "empty.csv", "--target", "kind"], ["kind", "no values"]),
        (["classifier", "rows.csv", "--target", "kind", "--report", "no/page.html"], ["report", "page.html"]),
        (["classifier", "rows.csv", "--target", "kind", "--report", "rows.csv"], ["report", "rows.csv"]),
        (["classifier"], ["DATA"]),
        (["classifier", "rows.csv", "--target", "kind", "--subsets", "c"], ["subsets: 'c'", "clusters, target, or a"]),
        (["classifier", "rows.csv", "--target", "kind", "--subsets", "target"], ["subsets: 'target'", "clusters"]),
    ],
)
def test_bad_input_is_one_line_with_status_2(mode, folder, table, arguments, named):
    table.assign(kind=None).to_csv("empty.csv", index=False)
    before = sorted(folder.iterdir())
    status, out, err = mode("probe", *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("mode: ")
    for word in named:
        assert word.lower() in err.lower()
    assert sorted(folder.iterdir()) == before


def test_a_model_of_an_array_takes_its_columns_in_order(mode, folder, table):
    X = table[[EVIL, "b"]]
    MoDERegressor(max_iter=2, hidden=4, n_experts=2, alpha=0.1).fit(X.to_numpy(), table["price"]).save("array")
    table[[EVIL, "b", "price"]].to_csv("plain.csv", index=False)
    status, out, err = mode("probe", "array", "plain.csv", "--target", "price", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["samples"] == 80
    status, _, err = mode("probe", "array", "rows.csv", "--target", "price")
    assert (status, err.count("\n")) == (2, 1)
