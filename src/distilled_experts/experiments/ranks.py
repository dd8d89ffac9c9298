"""Several methods over several data sets: average ranks, Friedman's test, and the difference that counts.

Scores of different data sets are not comparable, but their order is. Source: Demšar, Statistical comparisons of
classifiers over multiple data sets, JMLR 7, 2006, sections 3.1.3 and 3.2.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

__all__ = ["LEVEL", "Ranking", "rank_methods", "signed_rank"]

LEVEL = 0.05
# With fewer data sets no difference, however steady, is significant.
_FEWEST_SIGNED = 6


@dataclass(frozen=True)
class Ranking:
    """Average ranks of k methods over n data sets, 1 the best.

    Attributes
    ----------
    averages : list of float, length k
        NaN without data sets.
    p : float or None
        Of Friedman's test, that all methods are alike; None for fewer than three methods or two data sets.
    critical_difference : float or None
        Nemenyi's: average ranks that are further apart differ at the level of 5 %; None for fewer than two methods.
    """

    averages: list[float]
    p: float | None
    critical_difference: float | None


def rank_methods(losses: Sequence[Sequence[float]], n_methods: int | None = None) -> Ranking:
    """Rank methods on every data set, the lowest loss first; ties share their ranks.

    Parameters
    ----------
    losses : sequence of sequence of float, (n, k)
        A row a data set; infinite for a method that failed.
    n_methods : int, optional
        k, where there may be no data set.

    Examples
    --------
    >>> found = rank_methods([[0.1, 0.2, 0.3], [0.1, 0.3, 0.2]])
    >>> found.averages, round(found.critical_difference, 2)
    ([1.0, 2.5, 2.5], 2.34)
    """
    n = len(losses)
    k = len(losses[0]) if n else n_methods or 0
    if n == 0:
        return Ranking([math.nan] * k, None, None)
    ranks = stats.rankdata(np.asarray(losses, dtype=float), axis=1)
    tested = n > 1 and k > 2 and bool((ranks != ranks[:, :1]).any())
    p = float(stats.friedmanchisquare(*ranks.T).pvalue) if tested else None
    return Ranking(ranks.mean(0).tolist(), p, _critical_difference(n, k) if k > 1 else None)


def _critical_difference(n: int, k: int) -> float:
    return float(stats.studentized_range.ppf(1 - LEVEL, k, np.inf) / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * n)))


def signed_rank(differences: Sequence[float]) -> float | None:
    """P of Wilcoxon's signed-rank test that differences, one a data set, lie around zero; None for fewer than six.

    Examples
    --------
    >>> round(signed_rank([0.1, 0.2, 0.3, 0.15, 0.4, 0.25]), 3), signed_rank([0.1, 0.2])
    (0.031, None)
    """
    if len(differences) < _FEWEST_SIGNED:
        return None
    values = np.asarray(differences, dtype=float)
    return float(stats.wilcoxon(values).pvalue) if values.any() else 1.0
