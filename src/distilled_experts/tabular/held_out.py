"""Which rows each member of an estimator trains on, and by which it is judged."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["held_out_rows"]

Positions = NDArray[np.int32]


def held_out_rows(
    labels: NDArray[np.generic] | None, n_rows: int, share: float, n_members: int, random: np.random.RandomState
) -> tuple[Positions, Positions]:
    """Deal out the rows: every member is judged by others, and together by all as evenly as their number allows.

    All rows are put in one order, in which each stretch has the classes in their proportions; the members hold out one
    stretch after the other, from the front again past the end.

    Parameters
    ----------
    labels : array, shape (N,), or None
        Classes whose proportions every member's rows should have.
    n_rows : int
        N, 2 or more.
    share : float
        Of the rows that a member holds out, rounded up; at least one row stays for training.
    n_members : int
        M.
    random : RandomState

    Returns
    -------
    train : array of int32, shape (M, N - H)
        Ascending in each row.
    held : array of int32, shape (M, H)

    Examples
    --------
    >>> train, held = held_out_rows(np.array([0, 1] * 4), 8, 0.25, 4, np.random.RandomState(0))
    >>> np.sort(held.ravel())
    array([0, 1, 2, 3, 4, 5, 6, 7], dtype=int32)
    >>> (held % 2).sum(1)  # one row of each class
    array([1, 1, 1, 1])
    """
    order = random.permutation(n_rows)
    if labels is not None:
        _, codes, counts = np.unique(labels[order], return_inverse=True, return_counts=True)
        by_class = np.argsort(codes, kind="stable")
        rank = np.empty(n_rows, dtype=np.int64)
        rank[by_class] = np.arange(n_rows) - np.repeat(np.cumsum(counts) - counts, counts)
        # Each class begins somewhere else, so that the single rows of rare classes are not held out together.
        begin = random.uniform(size=len(counts))
        order = order[np.argsort((rank + begin[codes]) / counts[codes], kind="stable")]
    n_held = min(math.ceil(share * n_rows), n_rows - 1)
    stretches = (np.arange(n_members)[:, None] * n_held + np.arange(n_held)) % n_rows
    held = np.sort(order[stretches].astype(np.int32), axis=1)
    train = np.empty((n_members, n_rows - n_held), dtype=np.int32)
    for member, out in enumerate(held):
        train[member] = np.delete(np.arange(n_rows, dtype=np.int32), out)
    return train, held
