"""Where sentence pairs come from."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sentence_pairs import PAIRS

from distilled_experts.errors import DataError, InvalidParameterError, MissingDependencyError, UnknownDataError
from distilled_experts.transformers import hub
from distilled_experts.translation import load_corpus


def tsv(path: Path, pairs: Any = PAIRS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{source}\t{target}\n" for source, target in pairs), encoding="utf-8")
    return path


def test_a_file_is_trained_on_and_repeated_pairs_are_dropped(tmp_path: Path) -> None:
    corpus = load_corpus(str(tsv(tmp_path / "mine_en-de.tsv", [*PAIRS, PAIRS[0]])))
    assert (corpus.name, corpus.languages, corpus.train) == ("mine_en-de", ("en", "de"), PAIRS)
    assert corpus.test is corpus.validation is None
    assert corpus.notes == ("repeated pairs, left out: 1",)


def test_names_are_found_below_the_data_folder_with_their_parts(tmp_path: Path) -> None:
    for part, pairs in {"train": PAIRS, "val": PAIRS[:3], "test_2016": PAIRS[:2], "test_2017": PAIRS[:1]}.items():
        tsv(tmp_path / "text" / f"Small_{part}_en-de.tsv", pairs)
    tsv(tmp_path / "smaller_train.tsv")
    corpus = load_corpus("small", pair="de-en", data_dir=tmp_path)
    assert corpus.train == tuple(pair[::-1] for pair in PAIRS)
    assert len(corpus.validation or ()) == 3
    assert len(corpus.test or ()) == 2
    assert corpus.notes == ("not read: Small_test_2017_en-de.tsv",)


def test_a_folder_holds_parts_as_tables_or_as_plain_files(tmp_path: Path) -> None:
    tsv(tmp_path / "tables" / "train.tsv")
    tsv(tmp_path / "tables" / "dev.tsv", PAIRS[:2])
    corpus = load_corpus(str(tmp_path / "tables"))
    assert (corpus.name, corpus.languages) == ("tables", ("source", "target"))
    assert corpus.validation == PAIRS[:2]
    plain = tmp_path / "plain"
    plain.mkdir()
    for side, language in enumerate(("en", "de")):
        (plain / f"train.{language}").write_text("\n".join(pair[side] for pair in PAIRS), encoding="utf-8")
    assert load_corpus(str(plain), pair="en-de").train == PAIRS
    assert load_corpus(str(plain)).languages == ("de", "en")
    (plain / "test.en").write_text("alone\n")
    with pytest.raises(DataError, match=r"test\.en in .* has no partner; allowed: two files of a part"):
        load_corpus(str(plain), pair="en-de")


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    tsv(tmp_path / "small_test.tsv")
    with pytest.raises(UnknownDataError, match=r"'none' is no file, no folder.*known: multi30k, opus100, small_test"):
        load_corpus("none", data_dir=tmp_path)
    with pytest.raises(DataError, match="'small' has no part to train on, but test; allowed: a file of train"):
        load_corpus("small", data_dir=tmp_path)
    with pytest.raises(DataError, match=r"its type is not known; allowed: names that end in \.tsv"):
        load_corpus(str(tsv(tmp_path / "pairs.csv")))
    with pytest.raises(InvalidParameterError, match=r"data_dir: .* allowed: an existing folder"):
        load_corpus("small", data_dir=tmp_path / "nowhere")
    with pytest.raises(DataError, match="9 sentence pairs for train"):
        load_corpus(str(tsv(tmp_path / "few.tsv", PAIRS[:9])))


def test_the_hub_gives_parts_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"en": source, "de": target} for source, target in [*PAIRS, ("", "leer")]]
    asked: list[tuple[Any, ...]] = []

    def load(*arguments: Any) -> dict[str, Any]:
        asked.append(arguments)
        return {"train": rows, "validation": rows[:2], "test": rows[:1], "other": rows}

    monkeypatch.setattr(importlib, "import_module", lambda name: SimpleNamespace(load_dataset=load))
    monkeypatch.setattr(hub, "_check_online", lambda *arguments: None)
    corpus = load_corpus("multi30k", pair="de-en")
    assert corpus.train == tuple(pair[::-1] for pair in PAIRS)
    assert (len(corpus.validation or ()), len(corpus.test or ())) == (2, 1)
    assert corpus.notes == ("train: left out lines with an empty side: 1",)
    load_corpus("opus100", pair="en-de")
    assert asked == [("bentrevett/multi30k", None), ("Helsinki-NLP/opus-100", "de-en")]
    with pytest.raises(InvalidParameterError, match="pair: 'en-fr' is not allowed; allowed: languages of the data set"):
        load_corpus("multi30k", pair="en-fr")
    with pytest.raises(InvalidParameterError, match="pair: None is not allowed"):
        load_corpus("multi30k")


def test_without_the_client_of_the_hub_there_is_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingDependencyError, match=r"multi30k_train_en-de\.tsv into a folder and name it"):
        load_corpus("multi30k", pair="en-de")
