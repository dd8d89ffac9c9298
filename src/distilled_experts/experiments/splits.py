"""Train, validation and test rows for each seed: stratified, by groups or in order of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit

from distilled_experts.checks import check_share, check_whole
from distilled_experts.errors import DataError, InvalidParameterError
from distilled_experts.experiments.group_splits import draw_groups
from distilled_experts.experiments.task import TASKS
from distilled_experts.experiments.time_splits import TimeWindows

__all__ = ["Split", "make_splits"]

Rows: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Row positions of one seed's parts, each in ascending order; no row is in two parts.

    Attributes
    ----------
    train, validation, test : ndarray of int64
        Row positions. Where the test rows are a table of their own, ``test`` counts in that table.
    """

    train: Rows
    validation: Rows
    test: Rows


class _Shares(NamedTuple):
    test: float
    validation: float


def make_splits(
    y: Any,
    task: str,
    *,
    seeds: int,
    test_size: float = 0.3,
    validation_size: float = 0.2,
    groups: Any = None,
    time: Any = None,
    n_test_rows: int | None = None,
    first_seed: int = 0,
) -> list[Split]:
    """Split the rows anew for each seed; what a seed gives does not depend on how many there are.

    Classes are stratified as far as their rows allow, and each keeps at least one row in training. With
    ``groups``, rows of one group stay together. With ``time``, training rows come before validation rows, and
    these before test rows; rows of the same time stay together, and each seed looks at another contiguous
    window of 80 % of the rows, where seed 0 takes the last one. There a class may be missing in training.

    Parameters
    ----------
    y : array-like of shape (n_rows,) or (n_rows, n_targets)
        Target.
    task : {"classification", "regression"}
        Whether to stratify.
    seeds : int
        Number of splits.
    test_size : float, default=0.3
        Share of the rows for the test.
    validation_size : float, default=0.2
        Share of the other rows for validation.
    groups, time : array-like of shape (n_rows,), optional
        Group labels, or times that can be sorted; not both.
    n_test_rows : int, optional
        Rows of a test table that the caller holds: then all rows of ``y`` are for training and validation,
        and ``test`` counts in that table.
    first_seed : int, default=0
        Number of the first seed.

    Returns
    -------
    list of Split

    Raises
    ------
    InvalidParameterError
        Where a parameter is out of range.
    DataError
        Where there are too few rows, groups or times, or no group can be held out without losing a class.

    Examples
    --------
    >>> split = make_splits([0, 1] * 10, "classification", seeds=1)[0]
    >>> len(split.train), len(split.validation), len(split.test)
    (11, 3, 6)
    """
    if task not in TASKS:
        raise InvalidParameterError("task", task, TASKS)
    check_whole("seeds", seeds)
    check_whole("first_seed", first_seed, least=0)
    if n_test_rows is not None:
        check_whole("n_test_rows", n_test_rows)
    check_share("test_size", test_size)
    check_share("validation_size", validation_size)
    if groups is not None and time is not None:
        raise InvalidParameterError("time", "time together with groups", "one of the two")
    shares = _Shares(0.0 if n_test_rows else test_size, validation_size)
    numbers = range(first_seed, first_seed + seeds)
    if time is not None:
        windows = TimeWindows(_checked(time, len(y), "time"), *shares)
        splits = [Split(*windows.draw(seed)) for seed in numbers]
    else:
        codes = pd.factorize(np.asarray(y), sort=True)[0] if task == "classification" else None
        units = None if groups is None else pd.factorize(_checked(groups, len(y), "groups"), sort=True)[0]
        splits = [_random_split(len(y), codes, units, shares, seed) for seed in numbers]
    if n_test_rows is None:
        return splits
    return [Split(split.train, split.validation, np.arange(n_test_rows)) for split in splits]


def _checked(values: Any, n_rows: int, parameter: str) -> npt.NDArray[Any]:
    array = np.asarray(values)
    if array.shape != (n_rows,):
        raise DataError(f"{parameter}: shape {array.shape} is not allowed; allowed: ({n_rows},), one value a row")
    if pd.isna(array).any():
        raise DataError(f"{parameter}: holds missing values; allowed: a value in every row")
    return array


def _random_split(n_rows: int, codes: Rows | None, groups: Rows | None, shares: _Shares, seed: int) -> Split:
    test_seed, validation_seed = (int(word) for word in np.random.SeedSequence(seed).generate_state(2))
    rest, test = np.arange(n_rows), np.empty(0, dtype=np.int64)
    if shares.test > 0:
        # What stays must be parted once more.
        rest, test = _cut(rest, codes, groups, shares.test, test_seed, least_kept=2)
    train, validation = _cut(rest, codes, groups, shares.validation, validation_seed, least_kept=1)
    return Split(train, validation, test)


def _cut(
    rows: Rows, codes: Rows | None, groups: Rows | None, share: float, seed: int, least_kept: int
) -> tuple[Rows, Rows]:
    """Part rows into kept ones and a share of them that is taken away."""
    classes = None if codes is None else codes[rows]
    if groups is None:
        away = _draw_rows(len(rows), classes, share, seed, least_kept)
    else:
        away = draw_groups(groups[rows], classes, share, seed, least_kept)
    return rows[~away], rows[away]


def _draw_rows(n_rows: int, classes: Rows | None, share: float, seed: int, least_kept: int) -> npt.NDArray[np.bool_]:
    away = np.zeros(n_rows, dtype=bool)
    n_classes = 1 if classes is None else np.unique(classes).size
    most = n_rows - n_classes - (least_kept - 1)
    if most < 1:
        least = n_classes + least_kept
        raise DataError(f"data: {n_rows} rows are too few to split; allowed: {least} or more for {n_classes} classes")
    n_away = min(max(round(share * n_rows), 1), most)
    if classes is None:
        away[next(ShuffleSplit(1, test_size=n_away, random_state=seed).split(away))[1]] = True
        return away
    # The only row of a class is for training; scikit-learn would refuse to stratify it.
    eligible = np.flatnonzero(np.bincount(classes)[classes] > 1)
    # Where fewer rows go away than there are classes, they are drawn without regard to classes.
    stratified = n_away >= np.unique(classes[eligible]).size
    splitter = (StratifiedShuffleSplit if stratified else ShuffleSplit)(1, test_size=n_away, random_state=seed)
    away[eligible[next(splitter.split(eligible, classes[eligible]))[1]]] = True
    return _with_all_classes_kept(away, classes)


def _with_all_classes_kept(away: npt.NDArray[np.bool_], classes: Rows) -> npt.NDArray[np.bool_]:
    for code in np.setdiff1d(classes, classes[~away]):
        away[np.flatnonzero(classes == code)[0]] = False
    return away
