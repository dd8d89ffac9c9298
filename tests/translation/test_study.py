"""``mode compare --task translation`` from end to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sentence_pairs import PAIRS

from distilled_experts.errors import InvalidParameterError
from distilled_experts.experiments.cells import Cell
from distilled_experts.experiments.records import RunFolder
from distilled_experts.experiments.trained import run_study
from distilled_experts.experiments.translation_study import TranslationStudy, translation_study
from distilled_experts.translation import ModelSettings, TrainingSettings, TranslationSettings

Mode = Callable[..., tuple[object, str, str]]

TINY = TranslationSettings(
    ModelSettings(width=16, hidden=8, longest=32),
    TrainingSettings(epochs=1, tokens=300),
    vocabulary=300,
    beams=1,
    train_scored=2,
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "small_en-de.tsv"
    path.write_text("".join(f"{source}\t{target}\n" for source, target in PAIRS) + "\tleer\n", encoding="utf-8")
    return path


def tiny_study(data: Path, **options: object) -> TranslationStudy:
    study = translation_study(str(data), **options)
    return replace(study, specification=replace(study.specification, settings=TINY))


def test_the_record_and_its_page_say_what_is_known_of_translators(data: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    record = run_study(tiny_study(data, seeds=2, alpha="0,0.1"), folder)
    assert (record["task"], record["metric"], record["pair"]) == ("translation", "bleu", "en-de")
    assert record["split"] == "56 / 2 / 6 pairs, drawn by each seed"
    assert record["notes"] == ["small_en-de.tsv: left out lines with an empty side: 1"]
    assert record["signatures"]["bleu"].startswith("nrefs:1|case:lc|")
    assert all(len(record["chrf"][arm]) == len(arm_record["scores"]) == 2 for arm, arm_record in record["arms"].items())
    assert record["why"]["by_alpha"]["adjusted_rand"][0][0] == 1
    assert sum(map(sum, record["why"]["flow"]["shares"])) == pytest.approx(1)
    assert set(record["translations"][0]) == {"source", "reference", "dense", "moe", "mode"}
    page = (folder.path / "report.html").read_text(encoding="utf-8")
    for shown in ("BLEU", "Which tokens each domain holds", record["translations"][0]["source"]):
        assert shown in page
    models = folder.metrics()
    assert {Cell.of(model) for model in models} == {
        Cell(seed, arm, alpha) for seed in (0, 1) for arm, alpha in (("dense", 0), ("mixture", 0), ("mixture", 0.1))
    }


def test_what_is_there_is_not_trained_again(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = tiny_study(data, seeds=1, alpha="0.1")
    cell = Cell(0, "mixture", 0.1)
    folder = RunFolder(tmp_path / "run")
    with folder.opened(study.specification.to_dict()):
        folder.write_metrics([cell.to_dict() | study.train(cell) | {"chrf": 12.5}])
    trained: list[Cell] = []
    train = TranslationStudy.train
    monkeypatch.setattr(TranslationStudy, "train", lambda study, cell: trained.append(cell) or train(study, cell))
    record = run_study(study, folder, resume=True)
    assert trained == [Cell(0, "dense"), Cell(0, "mixture")]
    assert record["chrf"]["mode"] == [12.5]


def test_options_of_the_command(data: Path) -> None:
    study = translation_study(str(data))
    s = study.specification
    assert (s.gate, s.experts, s.top_k, s.seeds, s.alpha) == ("sparse", 4, 2, 3, (0.0, 0.01, 0.1, 1.0))
    options = {"gate": "dense", "experts": 3, "hidden": 9, "lr": 0.1, "batch_size": 50, "rows": 20, "pair": "de-en"}
    study = translation_study(str(data), **options)
    s = study.specification
    assert (s.top_k, s.settings.model.top_k, s.settings.model.n_experts) == (None, None, 3)
    assert (s.settings.model.hidden, s.settings.training.tokens, s.settings.training.learning_rate) == (9, 50, 0.1)
    assert (s.rows, len(study.corpus.train), s.pair) == (20, 20, "de-en")
    assert study.corpus.train[0] == PAIRS[0][::-1]
    assert translation_study(str(data), experts=1).specification.settings.model.top_k == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 0}, "rows: 0 is not allowed"),
        ({"epochs": 0}, "epochs: 0 is not allowed"),
        ({"batch_size": 0}, "batch_size: 0 is not allowed"),
        ({"lr": -1.0}, "lr: -1.0 is not allowed"),
        ({"alpha": "-1"}, "alpha: '?-1.*is not allowed"),
        ({"distance": "kl"}, "distance: 'kl' is not allowed; allowed: mse, relative, cosine"),
        ({"model": "bert"}, "model: 'bert' is not allowed; allowed: marian, nllb-moe"),
        ({"pair": "en-cs"}, "pair: 'en-cs' is not allowed; allowed: two of en, de"),
    ],
)
def test_bad_options(data: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        translation_study(str(data), **options)


@pytest.mark.slow
def test_the_command(mode: Mode, data: Path, tmp_path: Path) -> None:
    options = ["--task", "translation", "--pair", "en-de", "--seeds", 1, "--epochs", 1, "--hidden", 8, "--rows", 30]
    command = [
        "compare",
        "small",
        "--data-dir",
        data.parent,
        *options,
        "--alpha",
        0.1,
        "--out",
        tmp_path / "run",
        "--json",
    ]
    status, out, err = mode(*command)
    assert (status, err) == (0, "")
    record = json.loads(out)
    assert record["arms"].keys() == {"dense", "moe", "mode"}
    assert (tmp_path / "run" / "DONE").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--task", "translation"], "mode: data: 'nowhere' is no file, no folder"),
        (["{data}", "--task", "translation", "--target", "y"], "mode: target: 'y' is not allowed"),
        (["digits", "--pair", "en-de"], "mode: pair: 'en-de' is not allowed"),
    ],
)
def test_bad_usage_is_one_line(mode: Mode, data: Path, arguments: list[str], message: str) -> None:
    status, out, err = mode("compare", *(argument.format(data=data) for argument in arguments))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(message)
