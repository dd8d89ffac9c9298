"""Drawing whole groups of rows, so that every class stays with the rows that are kept."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold

from distilled_experts.errors import DataError

__all__ = ["draw_groups"]

Codes = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
_FOLDS = 10
# Stratifying takes time for each group, and so many groups spread the classes by themselves.
_MOST_STRATIFIED_GROUPS = 1000


def draw_groups(groups: Codes, classes: Codes | None, share: float, seed: int, least_kept: int) -> Mask:
    """Mark rows of whole groups, about a share of all, that are taken away.

    Parameters
    ----------
    groups : ndarray of shape (n_rows,)
        Group codes.
    classes : ndarray of shape (n_rows,) or None
        Class codes, for stratification.
    share : float
        Part of the rows, or of the groups where there are no classes, to take.
    seed : int
        Seed of the draw.
    least_kept : {1, 2}
        Groups that must stay; with 2, one of them can again be taken without a class being lost.

    Raises
    ------
    DataError
        Where no group can be taken.
    """
    names, codes = np.unique(groups, return_inverse=True)
    if names.size <= least_kept:
        raise DataError(f"groups: {names.size} distinct values are too few to split; allowed: {least_kept + 1} or more")
    occurrence = _occurrence(codes, classes, names.size)
    drawn = _draw(codes, classes, share, seed, names.size - least_kept)
    order = np.random.default_rng(seed).permutation(names.size)
    away = _repaired(drawn, occurrence, np.bincount(codes), order, least_kept)
    return np.asarray(away[codes])


def _occurrence(groups: Codes, classes: Codes | None, n_groups: int) -> Mask:
    """Table (n_groups, n_classes): which class occurs in which group."""
    n_classes = 0 if classes is None else int(classes.max()) + 1
    occurrence = np.zeros((n_groups, n_classes), dtype=bool)
    if classes is not None:
        occurrence[groups, classes] = True
        occurrence = occurrence[:, occurrence.any(axis=0)]
    return occurrence


def _draw(groups: Codes, classes: Codes | None, share: float, seed: int, most: int) -> Mask:
    n_groups = int(groups.max()) + 1
    away = np.zeros(n_groups, dtype=bool)
    folds = min(_FOLDS, n_groups)
    if classes is None or np.bincount(classes).max() < folds or n_groups > _MOST_STRATIFIED_GROUPS:
        splitter = GroupShuffleSplit(1, test_size=min(max(round(share * n_groups), 1), most), random_state=seed)
        away[groups[next(splitter.split(groups, groups=groups))[1]]] = True
        return away
    left = max(round(share * folds), 1)
    for _, fold in _stratified_folds(groups, classes, folds, seed):
        larger = away.copy()
        larger[groups[fold]] = True
        # A fold may be empty, or so large that too few groups would stay.
        if left and len(fold) and larger.sum() <= most:
            away, left = larger, left - 1
    return away


def _stratified_folds(groups: Codes, classes: Codes, folds: int, seed: int) -> Iterator[tuple[Codes, Codes]]:
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # Classes with fewer rows than folds cannot be spread evenly, which is no news here.
        warnings.simplefilter("ignore", UserWarning)
        yield from splitter.split(groups, classes, groups)


def _repaired(away: Mask, occurrence: Mask, sizes: Codes, order: Codes, least_kept: int) -> Mask:
    """Bring groups back, small ones first, until every class is kept; or else take one group that can go."""
    for group in sorted(np.flatnonzero(away), key=lambda group: sizes[group]):
        if _is_enough(~away, occurrence, least_kept):
            return away
        away[group] = False
    for group in order:
        alone = np.zeros_like(away)
        alone[group] = True
        if _is_enough(~alone, occurrence, least_kept):
            return alone
    raise DataError("groups: no group can be held out without losing a class; allowed: each class in several groups")


def _is_enough(kept: Mask, occurrence: Mask, least_kept: int) -> bool:
    groups_of_class = occurrence[kept].sum(axis=0)
    if int(kept.sum()) < least_kept or bool((groups_of_class == 0).any()):
        return False
    needed = (occurrence[kept] & (groups_of_class == 1)).any(axis=1)
    return least_kept == 1 or not bool(needed.all())
