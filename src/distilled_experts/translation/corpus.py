"""Sentence pairs: what all sources give, and how a seed divides them."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from distilled_experts.errors import DataError

__all__ = ["Corpus", "Split", "tidied"]

Pair = tuple[str, str]
"""A sentence and its translation."""

_TEST_SHARE = 0.1
_VALIDATION_SHARE = 0.05
_MOST_DRAWN = 2000
_FEWEST = 10


class Split(NamedTuple):
    """The pairs that a model is trained on, chosen by, and scored on."""

    train: tuple[Pair, ...]
    validation: tuple[Pair, ...]
    test: tuple[Pair, ...]


@dataclass(frozen=True)
class Corpus:
    """Sentence pairs of two languages.

    Attributes
    ----------
    name : str
        Short name of the data set.
    languages : (str, str)
        Source and target.
    train : tuple of (str, str)
    validation, test : tuple of (str, str), optional
        Published parts, the same for every seed. Where there is none, each seed draws its own from `train`.
    notes : tuple of str
        Where the pairs come from, what was repaired or left out.
    """

    name: str
    languages: tuple[str, str]
    train: tuple[Pair, ...]
    validation: tuple[Pair, ...] | None = None
    test: tuple[Pair, ...] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        for part, pairs in parts.items():
            fewest = _FEWEST if part == "train" else 1
            if pairs is not None and len(pairs) < fewest:
                found = f"{len(pairs)} sentence pairs for {part} in '{self.name}'"
                raise DataError(f"data: {found}; allowed: {fewest} or more")

    @property
    def test_share(self) -> float:
        """Test pairs over other pairs, where every seed draws its own; 0 where all seeds share them."""
        split = self.split(0)
        return 0.0 if self.test is not None else len(split.test) / (len(split.train) + len(split.validation))

    @property
    def fingerprint(self) -> str:
        """Hash of all sentences, so that a run is never continued on other data."""
        digest = hashlib.sha256(repr(self.languages).encode())
        for part in (self.train, self.validation, self.test):
            digest.update(repr(part).encode())
        return digest.hexdigest()[:16]

    def first(self, most: int | None) -> Corpus:
        """The same corpus with the first so many pairs to train on; None: all."""
        if most is None or most >= len(self.train):
            return self
        note = f"the first {most} of {len(self.train)} pairs to train on were used"
        return replace(self, train=self.train[:most], notes=(*self.notes, note))

    def split(self, seed: int) -> Split:
        """Divide the pairs for one seed.

        Of the parts that are not published a test takes a tenth, and validation a twentieth of what is left, each at
        most 2000 pairs.

        Examples
        --------
        >>> corpus = Corpus("numbers", ("en", "de"), tuple((str(i), str(i)) for i in range(100)))
        >>> [len(part) for part in corpus.split(seed=0)]
        [86, 4, 10]
        """
        order = np.random.default_rng(seed).permutation(len(self.train)).tolist()
        drawn = {}
        for part, share in {"test": _TEST_SHARE, "validation": _VALIDATION_SHARE}.items():
            published = getattr(self, part)
            n = 0 if published is not None else max(1, min(int(share * len(order)), _MOST_DRAWN))
            drawn[part] = published or tuple(self.train[i] for i in sorted(order[:n]))
            order = order[n:]
        return Split(tuple(self.train[i] for i in sorted(order)), drawn["validation"], drawn["test"])


def tidied(pairs: Iterable[Pair]) -> list[Pair]:
    """Pairs in composed Unicode, with single spaces alone.

    Examples
    --------
    >>> tidied([(" a  cat\\t", "ein Ka\\u0308tzchen")])
    [('a cat', 'ein Kätzchen')]
    """
    return [(_tidy(source), _tidy(target)) for source, target in pairs]


def _tidy(sentence: str) -> str:
    return " ".join(unicodedata.normalize("NFC", sentence).split())
