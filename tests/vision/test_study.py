"""``mode compare --task vision`` from end to end on digits: record, page, continuation, bad input."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distilled_experts.experiments import image_study as module
from distilled_experts.experiments.cells import Cell
from distilled_experts.experiments.image_study import image_study
from distilled_experts.experiments.records import RunFolder
from distilled_experts.experiments.trained import run_study

SMALL = ["--task", "vision", "--rows", 120, "--epochs", 1, "--alpha", "0,0.1", "--experts", 3, "--hidden", 8]
TIMED = {"seconds"}


@pytest.fixture(autouse=True)
def inside_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISTILLED_EXPERTS_DATA", raising=False)


def models(path: Path) -> list[dict[str, object]]:
    lines = (path / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMED} for line in lines]


def test_compare_gives_the_record_and_the_page_of_a_table(mode, tmp_path):
    status, out, err = mode("compare", "digits", *SMALL, "--seeds", 2, "--gate", "sparse", "--json", "--out", "run")
    assert (status, err) == (0, "")
    record = json.loads(out)
    heading = [record[key] for key in ("kind", "data", "task", "metric", "seeds", "gate", "top_k", "rows", "features")]
    assert heading == ["compare", "digits", "vision", "accuracy", 2, "sparse", 2, 120, 64]
    assert record["notes"] == ["120 of 1797 images were drawn"]
    for arm in ("dense", "moe", "mode"):
        assert len(record["arms"][arm]["scores"]) == len(record["log_loss"][arm]) == 2
        assert len(record["by_class"][arm]) == 10
    assert record["difference"]["low"] <= record["difference"]["mean"] <= record["difference"]["high"]
    assert len(record["alpha"]) == 2
    assert set(record["own_domain"]) == {"moe", "mode"}
    why = record["why"]
    assert why["exchange"] is None
    assert np.sum(why["flow"]["shares"]) == pytest.approx(1)
    assert why["course"]["moe"]["epoch"] == [1]
    assert all(0 <= index <= 1 for row in why["by_alpha"]["vision_whole"] for index in row)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        *("specification.json", "environment.json", "metrics.jsonl", "result.json", "report.html", "DONE")
    }
    page = (tmp_path / "run/report.html").read_text()
    assert record["sentence"].split(":")[0] in page
    assert page.count('src="data:image/png;base64,') == sum(
        bool(example["png"]) for arm in record["examples"].values() for example in arm
    )
    for title in ("What each domain looks like", "Accuracy in each class", "What becomes of the errors"):
        assert title in page


@pytest.mark.slow
def test_a_seed_does_not_depend_on_others_and_an_unfinished_run_goes_on(tmp_path, monkeypatch):
    study = image_study("digits", rows=120, epochs=1, alpha="0,0.1", experts=3, hidden=8, seeds=1)
    whole = run_study(study, RunFolder(tmp_path / "whole"))
    trained: list[Cell] = []
    train = module.ImageStudy.train

    def interrupted(self, cell):
        trained.append(cell)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return train(self, cell)

    monkeypatch.setattr(module.ImageStudy, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_study(study, RunFolder(tmp_path / "parts"))
    parts = run_study(study, RunFolder(tmp_path / "parts"), resume=True)
    assert [cell.arm for cell in trained] == ["dense", "mixture", "mixture", "mixture"]
    assert models(tmp_path / "whole") == models(tmp_path / "parts")
    assert parts["difference"] == whole["difference"]
    assert run_study(study, RunFolder(tmp_path / "whole"), resume=True) == json.loads(json.dumps(whole))


@pytest.mark.slow
def test_a_folder_of_pictures_with_a_damaged_one(mode, tmp_path):
    rng = np.random.default_rng(0)
    for label, shade in {"dark": 40, "light": 200}.items():
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for i in range(12):
            pixels = np.clip(rng.normal(shade, 20, (16, 20, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / label / f"{i}.png")
    (tmp_path / "pictures" / "dark" / "broken.jpg").write_bytes(b"nothing")
    status, out, err = mode("compare", "pictures", *SMALL, "--seeds", 1, "--json")
    assert (status, err) == (0, "")
    record = json.loads(out)
    assert record["classes"] == ["dark", "light"]
    assert record["notes"] == ["1 of 25 files could not be read and were left out, first broken.jpg"]
    assert record["specification"]["training"]["mirrored"] is True


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nonesuch"], "data: 'nonesuch' is no folder, no .npz file and no known set of images"),
        (["digits", "--model", "resnet"], "model: 'resnet' is not allowed; allowed: conv-head, conv-experts, vit"),
        (["digits", "--model", "conv-experts", "--distance", "kl"], "distance: 'kl' is not allowed"),
        (["digits", "--model", "vit", "--distance", "kl"], "distance: 'kl' is not allowed"),
        (["digits", "--groups", "g"], "groups: 'g' is not allowed; allowed: with other tasks than vision"),
        (["digits", "--explain"], "explain: True is not allowed; allowed: with other tasks than vision"),
        (["digits", "--rows", "0"], "rows: 0 is not allowed"),
        (["digits", "--rows", "12"], "rows: 12 leave class '.' with fewer than 2 images"),
        (["digits", "--epochs", "0"], "epochs: 0 is not allowed"),
        (["digits", "--metric", "r2"], "metric: 'r2' is not allowed"),
        (["digits", "--top-k", "2"], "top_k: 2 is not allowed; allowed: None with the dense gate"),
        (["digits", "--data-dir", "nowhere"], "data_dir: 'nowhere' is not allowed; allowed: an existing folder"),
    ],
)
def test_bad_input_is_one_line(mode, arguments, line):
    status, out, err = mode("compare", *arguments, "--task", "vision")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert re.match(f"mode: .*({line})", err)


def test_options_of_images_are_not_for_tables(mode):
    status, _, err = mode("compare", "wine", "--model", "vit")
    assert status == 2
    assert err.startswith("mode: model: 'vit' is not allowed; allowed: with")


def test_without_transformers_the_extra_is_named(mode, monkeypatch):
    monkeypatch.setitem(sys.modules, "distilled_experts.experiments.image_study", None)
    monkeypatch.setitem(sys.modules, "transformers", None)
    status, _, err = mode("compare", "digits", "--task", "vision")
    assert status == 2
    assert 'pip install "distilled-experts[vision]"' in err
