"""The command from end to end, on data that dependencies ship and on small files with known flaws."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from distilled_experts.cli import cli
from distilled_experts.experiments.metrics import METRICS
from distilled_experts.experiments.studies import STUDIED
from distilled_experts.experiments.task import TASKS
from distilled_experts.functional.options import DISTANCES, TEACHERS

SMALL = ["--seeds", "2", "--epochs", "3", "--hidden", "8"]


@pytest.fixture(autouse=True)
def inside_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISTILLED_EXPERTS_DATA", raising=False)


@pytest.fixture
def sales(tmp_path):
    """A mixed table with missing values, a date, a constant column and three unbalanced classes."""
    rng = np.random.default_rng(0)
    n = 120
    frame = pd.DataFrame(
        {
            "age": np.where(rng.random(n) < 0.1, np.nan, rng.normal(40, 10, n)),
            "city": rng.choice(["Ulm", "Bonn", "Köln"], n),
            "paid": rng.random(n) < 0.5,
            "since": pd.date_range("2020-01-01", periods=n, freq="D").strftime("%Y-%m-%d"),
            "one": 1,
            "shop": rng.integers(12, size=n),
        }
    )
    frame["churn"] = np.where(frame.age.fillna(40) > 50, "yes", np.where(frame.city == "Ulm", "perhaps", "no"))
    frame.to_csv(tmp_path / "sales.csv", index=False)
    return tmp_path / "sales.csv"


def test_compare_writes_the_promised_object_and_folder(mode, tmp_path):
    status, out, err = mode("compare", "wine", *SMALL, "--json", "--out", "run")
    assert (status, err) == (0, "")
    result = json.loads(out)
    keys = {"data", "task", "metric", "seeds", "gate", "arms", "difference", "alpha", "own_domain", "run"}
    assert result.keys() >= keys
    heading = [result[key] for key in ("data", "task", "metric", "seeds")]
    assert heading == ["wine", "classification", "accuracy", 2]
    for arm in ("dense", "moe", "mode"):
        assert result["arms"][arm].keys() >= {"scores", "mean", "se", "seconds"}
        assert len(result["arms"][arm]["scores"]) == 2
        assert all(0 <= score <= 1 for score in result["arms"][arm]["scores"])
    assert result["difference"].keys() >= {"mean", "low", "high", "p"}
    assert len(result["alpha"]) == 2
    assert set(result["own_domain"]) == {"moe", "mode"}
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"specification.json", "environment.json", "metrics.jsonl", "result.json", "report.html", "DONE"}
    assert json.loads((tmp_path / "run/result.json").read_text()) == result
    page = (tmp_path / "run/report.html").read_text()
    assert result["sentence"].split(":")[0] in page


def test_the_same_seeds_give_identical_records(mode, tmp_path):
    for name in ("a", "b"):
        assert mode("compare", "wine", *SMALL, "--out", name)[0] == 0
    timed = {"seconds"}

    def models(name: str) -> list[dict[str, object]]:
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        return [{k: v for k, v in json.loads(line).items() if k not in timed} for line in lines]

    assert models("a") == models("b")
    assert len(models("a")) == 2 + 2 * 6


def test_text_names_arms_difference_and_folder(mode):
    status, out, _ = mode("compare", "wine", *SMALL)
    assert status == 0
    for word in ("dense", "MoE", "MoDE", "95 %", "own domain", "routing accuracy", "runs/wine-"):
        assert word in out


def test_mixed_file_with_target_groups_and_sparse_gate(mode, sales):
    arguments = ["--target", "churn", "--gate", "sparse", "--groups", "shop", *SMALL, "--json"]
    status, out, _ = mode("compare", sales, *arguments)
    assert status == 0
    result = json.loads(out)
    assert (result["gate"], result["top_k"], result["classes"]) == ("sparse", 2, ["no", "perhaps", "yes"])
    assert "group" in result["split"]


def test_split_by_time(mode, sales):
    status, out, _ = mode("compare", sales, "--target", "churn", "--time", "since", *SMALL, "--json")
    assert status == 0
    assert "time" in json.loads(out)["split"]


def test_regression_from_parquet_with_own_test_rows(mode, tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(100, 3)), columns=list("abc"))
    frame["price"] = frame.a * 3 + rng.normal(size=100)
    frame[:80].to_parquet(tmp_path / "train.parquet")
    frame[80:].to_csv(tmp_path / "test.csv.gz", index=False)
    arguments = ["--target", "price", "--test", "test.csv.gz", "--metric", "rmse", *SMALL, "--json"]
    status, out, err = mode("compare", "train.parquet", *arguments)
    assert (status, err) == (0, "")
    result = json.loads(out)
    assert (result["task"], result["negated"], result["rows"]) == ("regression", True, 80)
    assert all(score < 0 for score in result["arms"]["mode"]["scores"])
    assert "own" in result["split"]


def test_test_rows_with_an_unknown_class_are_refused(mode, sales, tmp_path):
    pd.read_csv(sales).assign(churn="never").to_csv(tmp_path / "test.csv", index=False)
    status, _, err = mode("compare", sales, "--target", "churn", "--test", "test.csv", *SMALL)
    assert status == 2
    assert "never" in err


def test_sweep(mode):
    status, out, _ = mode("sweep", "wine", "--alpha", "0,1", "--experts", "1,2", *SMALL, "--json", "--out", "s")
    assert status == 0
    cells = json.loads(out)["cells"]
    assert [(c["experts"], c["alpha"]) for c in cells] == [(1, 0), (2, 0), (2, 1)]
    assert cells[1]["difference"]["mean"] == 0
    assert mode("sweep", "wine", "--alpha", "0,1", "--experts", "1,2", *SMALL, "--out", "s", "--continue")[0] == 0


def test_fit_and_predict(mode, sales, tmp_path):
    assert mode("fit", sales, "--target", "churn", "--out", "model")[0] == 0
    new = pd.read_csv(sales).drop(columns="churn").head(7)
    new.loc[0, "city"] = "Paris"
    new.to_csv(tmp_path / "new.csv", index=False)
    status, out, err = mode("predict", "model", "new.csv")
    assert (status, err) == (0, "")
    (tmp_path / "p.csv").write_text(out)
    predictions = pd.read_csv(tmp_path / "p.csv")
    assert list(predictions.columns) == ["prediction", "probability_no", "probability_perhaps", "probability_yes"]
    np.testing.assert_allclose(predictions.iloc[:, 1:].sum(axis=1), 1)
    assert len(predictions) == 7
    status, with_target, _ = mode("predict", "model", sales)
    assert status == 0
    assert len(with_target.splitlines()) == 121
    assert mode("fit", sales, "--target", "churn", "--out", "model")[0] == 2
    status, _, err = mode("predict", "model", tmp_path / "sales2.csv")
    assert status == 2


def test_predict_names_the_columns_that_are_missing(mode, sales, tmp_path):
    mode("fit", sales, "--target", "churn", "--out", "model")
    pd.read_csv(sales).drop(columns=["age", "churn"]).to_csv(tmp_path / "new.csv", index=False)
    status, _, err = mode("predict", "model", "new.csv")
    assert status == 2
    assert "age" in err


def test_configuration_gives_defaults_and_the_command_line_wins(mode, tmp_path):
    (tmp_path / "c.yaml").write_text("seeds: 3\nepochs: 2\nalpha: [0, 0.5]\nhidden: 8\ntop-k: 1\ngate: sparse\n")
    status, out, _ = mode("compare", "wine", "--config", "c.yaml", "--seeds", "2", "--json")
    assert status == 0
    result = json.loads(out)
    assert (result["seeds"], result["top_k"], result["alpha_grid"]) == (2, 1, [0, 0.5])
    (tmp_path / "bad.yaml").write_text("sedes: 3\n")
    status, _, err = mode("compare", "wine", "--config", "bad.yaml")
    assert status == 2
    assert "seeds" in err


@pytest.mark.parametrize("extra", [["--experts", "1"], ["--gate", "sparse", "--top-k", "1"]])
def test_where_nothing_can_be_distilled_it_says_so(mode, extra):
    status, out, _ = mode("compare", "wine", *SMALL, *extra, "--json")
    result = json.loads(out)
    assert status == 0
    assert "nothing to distil" in " ".join(result["notes"])
    assert result["difference"]["mean"] == 0
    assert mode("compare", "wine", *SMALL, *extra)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["compare", "nothing.csv"], ["nothing.csv"]),
        (["compare", "digit"], ["digits"]),
        (["compare", "sales.csv"], ["target"]),
        (["compare", "sales.csv", "--target", "chrun"], ["chrun", "churn"]),
        (["compare", "wine", "--experts", "0"], ["experts", "0"]),
        (["compare", "wine", "--experts", "many"], ["experts", "many"]),
        (["compare", "wine", "--gate", "sparse", "--top-k", "5"], ["top_k", "5", "4"]),
        (["compare", "wine", "--gate", "soft"], ["gate", "soft", "dense"]),
        (["compare", "wine", "--top-k", "2"], ["top_k", "sparse"]),
        (["compare", "wine", "--alpha", "-1"], ["alpha", "-1"]),
        (["compare", "wine", "--alpha", "much"], ["alpha", "much"]),
        (["compare", "wine", "--alpha", "nan"], ["alpha", "nan"]),
        (["compare", "wine", "--metric", "r2"], ["metric", "r2", "accuracy"]),
        (["compare", "wine", "--lr", "0"], ["lr", "0"]),
        (["compare", "wine", "--seeds", "0"], ["seeds", "0"]),
        (["compare", "diabetes", "--distance", "kl"], ["distance", "kl"]),
        (["compare", "wine", "--device", "gpu9"], ["device", "gpu9"]),
        (["compare", "wine", "--nonsense"], ["--nonsense"]),
        (["sweep", "wine", "--experts", "2,x"], ["experts", "2,x"]),
        (["predict", "nowhere", "sales.csv"], ["nowhere"]),
        (["conpare", "wine"], ["conpare"]),
    ],
)
def test_bad_usage_is_one_line_with_status_2_and_leaves_nothing(mode, sales, tmp_path, arguments, named):
    status, out, err = mode(*arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("mode: ")
    for word in named:
        assert word.lower() in err.lower()
    assert {path.name for path in tmp_path.iterdir()} == {"sales.csv"}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "empty"),
        (b"a,target\n1,x\n2,x\n", "class"),
        (b"a,target\n1,x\n2,x\n3,y\n4,x\n", "y"),
        (b"a,b,target\n,1,x\n,2,x\n,3,y\n,4,y\n", "a"),
        (b"a,target\ninf,x\n2,x\n3,y\n4,y\n", "infinite"),
        (b"a,target\nM\xfcnchen,x\nUlm,y\nUlm,x\nUlm,y\n", "UTF-8"),
    ],
)
def test_bad_tables_are_one_line(mode, tmp_path, content, named):
    (tmp_path / "bad.csv").write_bytes(content)
    status, out, err = mode("compare", "bad.csv", *SMALL, "--out", "run")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("mode: ")
    assert named in err
    assert not (tmp_path / "run").exists()


def test_folders_of_others_are_left_alone(mode, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("keep")
    status, _, err = mode("compare", "wine", *SMALL, "--out", "mine")
    assert status == 2
    assert "mine" in err
    assert mode("compare", "wine", *SMALL, "--out", "run")[0] == 0
    before = (tmp_path / "run/result.json").read_bytes()
    for arguments in ([*SMALL], [*SMALL, "--seeds", "3"], [*SMALL, "--seeds", "3", "--continue"]):
        status, _, err = mode("compare", "wine", *arguments, "--out", "run")
        assert (status, err.count("\n")) == (2, 1)
    assert (tmp_path / "run/result.json").read_bytes() == before
    assert mode("compare", "wine", *SMALL, "--seeds", "3", "--out", "run", "--force")[0] == 0
    assert json.loads((tmp_path / "run/result.json").read_text())["seeds"] == 3
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {"notes.txt"}


def test_quiet_prints_the_sentence_alone(mode):
    status, out, err = mode("compare", "wine", *SMALL, "--quiet")
    assert (status, out.count("\n"), err) == (0, 1, "")


def test_debug_shows_the_traceback(mode):
    status, _, err = mode("compare", "wine", "--alpha", "-1", "--debug")
    assert status == 2
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("mode: alpha")


def test_help_needs_no_heavy_import():
    code = "import sys\nfrom distilled_experts.cli import main\n"
    code += "try: main(['compare', '--help'])\nexcept SystemExit: pass\n"
    code += "print([m for m in ('torch', 'pandas', 'sklearn', 'matplotlib', 'rich') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "--alpha" in done.stdout


def test_the_words_of_the_command_are_those_of_the_library():
    options = {option.name: option.type for option in cli.commands["compare"].params}
    assert tuple(options["distance"].choices) == DISTANCES
    assert tuple(options["teacher"].choices) == TEACHERS
    assert set(options["metric"].choices) == set(METRICS)
    assert tuple(options["task"].choices) == (*TASKS, *STUDIED)


def test_without_arguments_a_command_shows_its_help(mode):
    status, out, _ = mode("compare")
    assert status == 2
    assert "--alpha" in out
