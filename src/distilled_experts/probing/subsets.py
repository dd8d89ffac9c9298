"""Subsets of the samples by their targets: classes, or ranges of a number."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Subsets", "class_subsets", "frequency_subsets", "target_subsets"]

_RANGES = 5


class Subsets(NamedTuple):
    """Subset of every sample, ``(N,)`` from 0, and the names of the subsets."""

    codes: NDArray[np.int64]
    names: tuple[str, ...]

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
    Subsets(codes=array([1, 0]), names=('cat', 'dog'))
    """
    return Subsets(np.asarray(codes, dtype=np.int64), tuple(str(label) for label in labels))


def frequency_subsets(codes: ArrayLike) -> Subsets:
    """Up to five bands of codes by how frequent they are, each with about as many samples.

    Names tell the last rank of each band, 1 being that of the most frequent code. Ties go by the code.

    Examples
    --------
    >>> frequency_subsets([7, 7, 7, 5, 5, 9])
    Subsets(codes=array([0, 0, 0, 1, 1, 2]), names=('rank ≤ 1', 'rank ≤ 2', 'rank ≤ 3'))
    """
    _, place, counts = np.unique(np.asarray(codes), return_inverse=True, return_counts=True)
    ranked = np.argsort(-counts, kind="stable")
    before = counts[ranked].cumsum() - counts[ranked]
    _, bands = np.unique(before * _RANGES // counts.sum(), return_inverse=True)
    edges = np.searchsorted(bands, np.arange(bands[-1] + 2))
    of_code = np.empty_like(bands)
    of_code[ranked] = bands
    return class_subsets(of_code[place], (f"rank ≤ {edge}" for edge in edges[1:]))


def target_subsets(y: ArrayLike) -> Subsets:
    """Up to five ranges of the target, about equally large.

    Several targets, ``(N, C)``, are standardised and averaged.

    Examples
    --------
    >>> target_subsets([0.0, 1.0, 2.0, 3.0, 4.0]).names
    ('below 0.8', '0.8 to 1.6', '1.6 to 2.4', '2.4 to 3.2', 'from 3.2')
    """
    target = np.asarray(y, dtype=np.float64)
    if target.ndim > 1:
        spread = target.std(0)
        target = ((target - target.mean(0)) / np.where(spread > 0, spread, 1)).mean(1)
    inner = np.quantile(target, np.arange(1, _RANGES) / _RANGES)
    edges = np.unique(inner[inner > target.min()])
    codes = np.searchsorted(edges, target, side="right").astype(np.int64)
    return Subsets(codes, _range_names([f"{edge:.4g}" for edge in edges]))


def _range_names(edges: list[str]) -> tuple[str, ...]:
    if not edges:
        return ("all",)
    between = (f"{low} to {high}" for low, high in pairwise(edges))
    return (f"below {edges[0]}", *between, f"from {edges[-1]}")
