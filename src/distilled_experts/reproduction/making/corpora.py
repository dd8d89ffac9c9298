"""Texts as windows of tokens, for small language models."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

from distilled_experts.errors import DataError

__all__ = ["LENGTH", "Corpus", "load_corpus"]

LENGTH = 128
_BYTE_PAIRS = 1000


class Corpus(NamedTuple):
    """Tokens (windows, LENGTH) to train on and to validate on, and the size of their vocabulary."""

    train: Tensor
    validation: Tensor
    vocabulary: int


def load_corpus(name: str, data_dir: str | None) -> Corpus:
    """The corpus of this name; files lie in the folder ``text`` of the data folder.

    Raises
    ------
    DataError
        When there is no data folder, or a file is not in it.

    Examples
    --------
    >>> load_corpus("descriptions", None).train.shape[1]
    128
    """
    return _CORPORA[name](data_dir)


def _text_folder(data_dir: str | None) -> Path:
    if data_dir is None:
        raise DataError("data-dir: a folder with text/ is needed")
    return Path(data_dir) / "text"


def _read(path: Path) -> str:
    """Text of a file, unpacked; of tab-separated sentences the first column."""
    try:
        if path.suffix != ".gz":
            return path.read_text(encoding="utf-8")
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            return "\n".join(line.split("\t")[0] for line in lines)
    except OSError as error:
        raise DataError(f"data-dir: '{path}' cannot be read: {error.strerror or error}") from error


def _characters(text: str) -> Corpus:
    """Characters; the last tenth validates."""
    number = {character: i for i, character in enumerate(sorted(set(text)))}
    tokens = torch.tensor([number[character] for character in text])
    border = len(tokens) * 9 // 10
    return Corpus(_windows(tokens[:border]), _windows(tokens[border:]), len(number))


def _shakespeare(data_dir: str | None) -> Corpus:
    return _characters(_read(_text_folder(data_dir) / "tinyshakespeare.txt"))


def _descriptions(data_dir: str | None) -> Corpus:
    """What scikit-learn says of its data sets."""
    loaders = (load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine)
    return _characters("\n".join(load().DESCR for load in loaders))


def _multi30k(data_dir: str | None) -> Corpus:
    """English sentences, one a line, in byte pairs learned from those of the training."""
    folder = _text_folder(data_dir)
    train, validation = (_read(folder / f"multi30k_{part}_en-de-fr-cs.tsv.gz") for part in ("train", "val"))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=_BYTE_PAIRS, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(train.splitlines(), trainer)
    first, second = (_windows(torch.tensor(tokenizer.encode(text).ids)) for text in (train, validation))
    return Corpus(first, second, tokenizer.get_vocab_size())


_CORPORA: Mapping[str, Callable[[str | None], Corpus]] = {
    "shakespeare": _shakespeare,
    "multi30k": _multi30k,
    "descriptions": _descriptions,
}


def _windows(tokens: Tensor) -> Tensor:
    """Cut into windows that do not overlap: (T) → (T // LENGTH, LENGTH)."""
    return tokens[: len(tokens) // LENGTH * LENGTH].reshape(-1, LENGTH)
