"""Where sentence pairs come from: a file, a folder, the data folder, the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from distilled_experts.errors import DataError, InvalidParameterError, UnknownDataError
from distilled_experts.transformers.hub import load_from_hub
from distilled_experts.translation.corpus import Corpus
from distilled_experts.translation.reading import (
    SUFFIXES,
    Languages,
    PairFile,
    complete,
    pair_of_object,
    parse_languages,
    read_pairs,
    zipped,
)

__all__ = ["load_corpus"]

_PARTS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation"}
_PARTS |= {"dev": "validation", "test": "test"}
# Name to repository; opus100 has a configuration for each pair of languages, in the order of the alphabet.
_HUB = {"multi30k": "bentrevett/multi30k", "opus100": "Helsinki-NLP/opus-100"}
_UNNAMED = ("source", "target")


def load_corpus(data: str, *, pair: str | None = None, data_dir: str | Path | None = None) -> Corpus:
    """Load sentence pairs.

    Parameters
    ----------
    data : str
        A TSV or JSON lines file; a folder; or a name, that of files below the data folder (``multi30k`` is found in
        ``multi30k_train_en-de.tsv`` and others) or of a set on the hub, by the optional package ``datasets``: multi30k,
        opus100. Files whose names hold train, validation (val, valid, dev) or test are these parts; in a folder they
        may be plain, with a sentence a line (``train.en`` and ``train.de``).
    pair : str, optional
        Source and target, such as ``en-de``: columns, keys or endings of files. Default: the first two.
    data_dir : str or Path, optional
        Data folder, searched recursively.

    Returns
    -------
    Corpus

    Raises
    ------
    UnknownDataError
        Where nothing has this name.
    DataError
        Where pairs cannot be read or fetched, or are too few.
    MissingDependencyError
        Where the pairs are on the hub alone, and ``datasets`` is not installed.
    InvalidParameterError
        Where these languages are not there.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "numbers_en-de.tsv"
    ...     _ = path.write_text("\\n".join(f"{n} dogs\\t{n} Hunde" for n in range(20)), encoding="utf-8")
    ...     corpus = load_corpus(str(path))
    >>> corpus.languages, corpus.train[0]
    (('en', 'de'), ('0 dogs', '0 Hunde'))
    """
    wanted = None if pair is None else parse_languages(pair)
    path = Path(data)
    if path.is_file():
        return _from_file(path, wanted)
    if path.is_dir():
        return _from_folder(path, wanted)
    files = [] if data_dir is None else _below(Path(data_dir))
    named = [file for file in files if re.match(rf"{re.escape(data)}(?![a-z0-9])", file.name, re.IGNORECASE)]
    if named:
        return _from_parts(data, _by_part(named), wanted)
    if data in _HUB:
        return _from_hub(data, wanted)
    known = ", ".join([*_HUB, *sorted({_stem(file) for file in files})])
    raise UnknownDataError(f"data: '{data}' is no file, no folder and no known set of sentence pairs; known: {known}")


def _below(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InvalidParameterError("data_dir", str(folder), "an existing folder")
    return sorted(path for path in folder.rglob("*") if path.name.endswith(SUFFIXES))


def _stem(file: Path) -> str:
    return file.name.split(".")[0]


def _from_file(path: Path, wanted: Languages | None) -> Corpus:
    if not path.name.endswith(SUFFIXES):
        raise DataError(f"file '{path}': its type is not known; allowed: names that end in {', '.join(SUFFIXES)}")
    return _from_parts(_stem(path), {"train": [path]}, wanted)


def _from_folder(folder: Path, wanted: Languages | None) -> Corpus:
    files = [file for file in _below(folder) if file.parent == folder]
    if files:
        return _from_parts(folder.resolve().name, _by_part(files), wanted)
    plain = _plain_parts(folder, wanted)
    read = {part: zipped(*files, languages) for part, (files, languages) in plain.items()}
    return _corpus(folder.resolve().name, read, ())


def _by_part(files: Iterable[Path]) -> dict[str, list[Path]]:
    """Files of each part by what their names hold; those that say nothing are to train on."""
    found: dict[str, list[Path]] = {}
    for file in files:
        words = re.split(r"[^a-z]+", _stem(file).lower())
        found.setdefault(next((_PARTS[word] for word in words if word in _PARTS), "train"), []).append(file)
    return found


def _plain_parts(folder: Path, wanted: Languages | None) -> dict[str, tuple[tuple[Path, Path], Languages]]:
    """For each part its two files, one a language, and their endings."""
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and file.name.count(".") == 1]
    found: dict[str, tuple[tuple[Path, Path], Languages]] = {}
    for part, of_part in _by_part(files).items():
        by_ending = {file.suffix[1:]: file for file in of_part}
        names = wanted or tuple(by_ending)[:2]
        if len(names) < 2 or not by_ending.keys() >= set(names):
            there = ", ".join(file.name for file in of_part)
            raise DataError(f"data: {there} in '{folder}' has no partner; allowed: two files of a part, one a language")
        found[part] = (by_ending[names[0]], by_ending[names[1]]), (names[0], names[1])
    return found


def _from_parts(name: str, files: dict[str, list[Path]], wanted: Languages | None) -> Corpus:
    read = {part: read_pairs(of_part[0], wanted) for part, of_part in files.items()}
    unused = [file.name for of_part in files.values() for file in of_part[1:]]
    return _corpus(name, read, (f"not read: {', '.join(unused)}",) if unused else ())


def _corpus(name: str, parts: dict[str, PairFile], notes: tuple[str, ...]) -> Corpus:
    if "train" not in parts:
        there = ", ".join(parts) or "nothing"
        raise DataError(f"data: '{name}' has no part to train on, but {there}; allowed: a file of train")
    notes += tuple(note for part in parts.values() for note in part.notes)
    train, validation, test = (parts.get(part) for part in ("train", "validation", "test"))
    pairs = train.pairs if train is not None else []
    if test is None:
        # What occurs twice would be trained on and scored on.
        pairs, n_all = list(dict.fromkeys(pairs)), len(pairs)
        notes += (f"repeated pairs, left out: {n_all - len(pairs)}",) if len(pairs) < n_all else ()
    languages = next((part.languages for part in parts.values() if part.languages), _UNNAMED)
    return Corpus(
        name,
        languages,
        tuple(pairs),
        None if validation is None else tuple(validation.pairs),
        None if test is None else tuple(test.pairs),
        notes,
    )


def _from_hub(name: str, wanted: Languages | None) -> Corpus:
    if wanted is None:
        raise InvalidParameterError("pair", None, f"source and target, such as en-de, for '{name}' from the hub")
    configuration = "-".join(sorted(wanted)) if name == "opus100" else None
    remedy = f"put files such as {name}_train_{'-'.join(wanted)}.tsv into a folder and name it with --data-dir"
    parts: Any = load_from_hub(_HUB[name], configuration, remedy=remedy)
    return _corpus(name, {_PARTS[part]: _rows(part, parts[part], wanted) for part in parts if part in _PARTS}, ())


def _rows(name: str, rows: Iterable[Any], wanted: Languages) -> PairFile:
    found = [pair_of_object(row, wanted) for row in rows]
    if None in found:
        raise InvalidParameterError("pair", "-".join(wanted), "languages of the data set")
    return complete(name, (pair for pair, _ in filter(None, found)), wanted, {})
