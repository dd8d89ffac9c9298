"""Statistics of repeated splits: an interval that knows that the splits share rows.

A plain t-test over random splits finds differences that are not there, since the training sets overlap. The corrected
resampled t (Nadeau & Bengio, "Inference for the generalization error", Machine Learning 52, 2003) widens the variance
by the ratio of test to training rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats

__all__ = ["Difference", "difference", "holm", "standard_error"]

CONFIDENCE = 0.95
POWER = 0.8


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences with its 95 % interval.

    `detectable` is the smallest true difference that a study like this one finds, at the 5 % level, four times out
    of five; None where the differences do not vary. With one seed all but `mean` and `scores` are None.
    """

    mean: float
    low: float | None
    high: float | None
    p: float | None
    detectable: float | None
    scores: list[float]

    def to_dict(self) -> dict[str, object]:
        """Plain values for a record."""
        return asdict(self)


def difference(a: Sequence[float], b: Sequence[float], test_share: float) -> Difference:
    """Corrected resampled t for paired scores ``a − b``, one pair per split.

    Parameters
    ----------
    a, b : sequence of float, same length
    test_share : float
        Test rows divided by training rows; 0 gives the plain paired t (the same test rows in every repetition).

    Examples
    --------
    >>> found = difference([0.91, 0.93, 0.92], [0.90, 0.91, 0.91], test_share=3 / 7)
    >>> round(found.mean, 4), found.low < 0 < found.high
    (0.0133, True)
    """
    scores = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    n, mean = len(scores), float(scores.mean())
    if n < 2:
        return Difference(mean, None, None, None, None, scores.tolist())
    error = math.sqrt((1 / n + test_share) * float(scores.var(ddof=1)))
    margin = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)
    reach = margin + stats.t.ppf(POWER, n - 1)
    t = abs(mean) / error if error > 0 else (math.inf if mean else 0.0)
    low, high = mean - float(margin) * error, mean + float(margin) * error
    detectable = float(reach) * error if error > 0 else None
    return Difference(mean, low, high, float(2 * stats.t.sf(t, n - 1)), detectable, scores.tolist())


def standard_error(scores: Sequence[float]) -> float | None:
    """Standard error of the mean over repetitions; None for a single one.

    Examples
    --------
    >>> standard_error([1.0, 3.0])
    1.0
    """
    if len(scores) < 2:
        return None
    return float(np.std(scores, ddof=1) / math.sqrt(len(scores)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values for several hypotheses (Holm 1979), in the order given.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values)
    adjusted = np.empty(len(order))
    running = 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(order) - rank) * p_values[i]))
        adjusted[i] = running
    return [float(p) for p in adjusted]
