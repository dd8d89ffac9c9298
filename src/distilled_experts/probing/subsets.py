"""Subsets of the samples: classes, clusters of their inputs, or ranges of their targets."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from distilled_experts.errors import DataError

__all__ = [
    "Subsets",
    "class_subsets",
    "cluster_subsets",
    "frequency_subsets",
    "named_subsets",
    "regression_subsets",
    "target_subsets",
]

_PARTS = 5


class Subsets(NamedTuple):
    """Subset of every sample, ``(N,)`` from 0, the names of the subsets, and what one of them is."""

    codes: NDArray[np.int64]
    names: tuple[str, ...]
    kind: str = "class"

    def composition(
        self, domains: NDArray[np.int64], n_experts: int, sample_weight: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Weight of each subset (column) in each domain, ``(E, S)``.

        Examples
        --------
        >>> class_subsets([0, 1, 1], "ab").composition(np.array([0, 0, 1]), 2)
        array([[1., 1.],
               [0., 1.]])
        """
        counts = np.zeros((n_experts, len(self.names)))
        np.add.at(counts, (domains, self.codes), 1.0 if sample_weight is None else sample_weight)
        return counts


def class_subsets(codes: ArrayLike, labels: Iterable[object]) -> Subsets:
    """One subset a class.

    Examples
    --------
    >>> class_subsets([1, 0], ["cat", "dog"])
    Subsets(codes=array([1, 0]), names=('cat', 'dog'), kind='class')
    """
    return Subsets(np.asarray(codes, dtype=np.int64), tuple(str(label) for label in labels))


def frequency_subsets(codes: ArrayLike) -> Subsets:
    """Up to five bands of codes by how frequent they are, each with about as many samples.

    Names tell the last rank of each band, 1 being that of the most frequent code. Ties go by the code.

    Examples
    --------
    >>> frequency_subsets([7, 7, 7, 5, 5, 9])
    Subsets(codes=array([0, 0, 0, 1, 1, 2]), names=('rank ≤ 1', 'rank ≤ 2', 'rank ≤ 3'), kind='class')
    """
    _, place, counts = np.unique(np.asarray(codes), return_inverse=True, return_counts=True)
    ranked = np.argsort(-counts, kind="stable")
    before = counts[ranked].cumsum() - counts[ranked]
    _, bands = np.unique(before * _PARTS // counts.sum(), return_inverse=True)
    edges = np.searchsorted(bands, np.arange(bands[-1] + 2))
    of_code = np.empty_like(bands)
    of_code[ranked] = bands
    return class_subsets(of_code[place], (f"rank ≤ {edge}" for edge in edges[1:]))


def named_subsets(labels: ArrayLike) -> Subsets:
    """One subset for each label, in the order of the labels.

    Raises
    ------
    DataError
        Where a label is missing.

    Examples
    --------
    >>> named_subsets(["north", "south", "north"])
    Subsets(codes=array([0, 1, 0]), names=('north', 'south'), kind='subset')
    """
    codes, distinct = pd.factorize(np.asarray(labels), sort=True)
    if (codes < 0).any():
        raise DataError(f"subsets: {int((codes < 0).sum())} samples without a label; allowed: a label for every sample")
    return Subsets(codes.astype(np.int64), tuple(str(label) for label in distinct), "subset")


def cluster_subsets(inputs: ArrayLike) -> Subsets:
    """Up to five clusters of the inputs, the largest first: k-means of the standardised columns.

    Missing values (NaN) count as the mean of their column. The same inputs give the same clusters.

    Source: Arthur & Vassilvitskii, k-means++: the advantages of careful seeding, SODA 2007.

    Parameters
    ----------
    inputs : array, shape (N, D)

    Examples
    --------
    >>> cluster_subsets([[0.0, 1.0], [9.0, 1.0], [9.0, 1.0]])
    Subsets(codes=array([1, 0, 0]), names=('cluster 1', 'cluster 2'), kind='cluster of the inputs')
    """
    # Most uses of this module need no clusters, and their import is slow.
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    x = _standardised(np.asarray(inputs, dtype=np.float64))
    with warnings.catch_warnings():
        # Fewer distinct samples than clusters: then there are fewer clusters.
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = KMeans(min(_PARTS, len(x)), n_init=1, random_state=0).fit_predict(x)
    _, found, sizes = np.unique(found, return_inverse=True, return_counts=True)
    rank = np.empty_like(sizes)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    names = tuple(f"cluster {place + 1}" for place in range(len(sizes)))
    return Subsets(rank[found].astype(np.int64), names, "cluster of the inputs")


def regression_subsets(inputs: ArrayLike | None, y: ArrayLike) -> Subsets:
    """Subsets of samples that have no classes: clusters of the inputs where these are numbers, else target ranges.

    The narrow vision of an expert is one of the inputs, for by these the gate divides the samples; so clusters stand
    for classes, as they do in the definition ("class or cluster"), not ranges of the target.

    Examples
    --------
    >>> regression_subsets([[0.0], [1.0]], [2.0, 3.0]).kind, regression_subsets(None, [2.0, 3.0]).kind
    ('cluster of the inputs', 'range of the target')
    """
    return target_subsets(y) if inputs is None else cluster_subsets(inputs)


def target_subsets(y: ArrayLike) -> Subsets:
    """Up to five ranges of the target, about equally large.

    Several targets, ``(N, C)``, are standardised and averaged.

    Examples
    --------
    >>> target_subsets([0.0, 1.0, 2.0, 3.0, 4.0]).names
    ('below 0.8', '0.8 to 1.6', '1.6 to 2.4', '2.4 to 3.2', 'from 3.2')
    """
    columns = np.asarray(y, dtype=np.float64).reshape(len(np.asarray(y)), -1)
    target = columns[:, 0] if columns.shape[1] == 1 else _standardised(columns).mean(1)
    inner = np.quantile(target, np.arange(1, _PARTS) / _PARTS)
    edges = np.unique(inner[inner > target.min()])
    codes = np.searchsorted(edges, target, side="right").astype(np.int64)
    return Subsets(codes, _range_names([f"{edge:.4g}" for edge in edges]), "range of the target")


def _standardised(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns with mean zero and deviation one; missing values are zero, and columns of one value."""
    known = ~np.isnan(x)
    n = np.maximum(known.sum(0), 1)
    centred = np.where(known, x - np.where(known, x, 0).sum(0) / n, 0)
    spread = np.sqrt((centred**2).sum(0) / n)
    return np.asarray(centred / np.where(spread > 0, spread, 1))


def _range_names(edges: list[str]) -> tuple[str, ...]:
    if not edges:
        return ("all",)
    between = (f"{low} to {high}" for low, high in pairwise(edges))
    return (f"below {edges[0]}", *between, f"from {edges[-1]}")
