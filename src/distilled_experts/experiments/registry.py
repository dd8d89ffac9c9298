"""Data sets that are known by name: the stem of a local file, the target column, the OpenML id."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["BUNDLED", "REGISTRY", "Entry", "suggest"]

DEFAULT_TARGET = "target"


@dataclass(frozen=True)
class Entry:
    """What is known of a named data set.

    Attributes
    ----------
    file : str
        Stem of the file that holds it in a data folder.
    target : str
        Target column in that file.
    openml : int or None
        Id at OpenML; None where the set is not there in this form.
    """

    file: str
    target: str = DEFAULT_TARGET
    openml: int | None = None


BUNDLED = ("digits", "wine", "breast_cancer", "iris", "diabetes")
"""Sets that scikit-learn brings along."""

_OPENML_IDS = {
    "optdigits": 28,
    "satimage": 182,
    "mfeat_fac": 12,
    "mfeat_kar": 16,
    "mfeat_zer": 22,
    "isolet": 300,
    "phoneme": 1489,
    "wall_robot": 1497,
    "letter": 6,
    "splice": 46,
    "spambase": 44,
    "vowel": 307,
    "vehicle": 54,
    "magic": 1120,
    "shuttle": 40685,
    "adult": 1590,
    "bank_marketing": 1461,
    "credit_g": 31,
    "electricity": 151,
    "kr_vs_kp": 3,
    "pendigits": 32,
    "segment": 36,
    "titanic": 40945,
}

REGISTRY: dict[str, Entry] = {
    **{name: Entry(name, openml=number) for name, number in _OPENML_IDS.items()},
    "attrition": Entry("attrition", "Attrition"),
    "credit_data": Entry("credit_data", "Status"),
    "mlc_churn": Entry("mlc_churn", "churn"),
    "diamonds": Entry("diamonds", "price", 42225),
    "ames": Entry("ames", "Sale_Price", 42165),
}
"""Named sets beside the bundled ones."""


def suggest(word: str, known: Iterable[object], limit: int = 5) -> str:
    """Words that look like the one given, or else the first few known ones.

    Examples
    --------
    >>> suggest("optdigit", ["optdigits", "ames"])
    'optdigits'
    >>> suggest("xyz", ["b", "a"])
    'b, a'
    """
    # A table may have names of any type; they are compared and shown as text.
    names = list(dict.fromkeys(map(str, known)))
    folded = {name.casefold(): name for name in names}
    near = [folded[match] for match in difflib.get_close_matches(word.casefold(), folded, n=limit)]
    if near:
        return ", ".join(near)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
