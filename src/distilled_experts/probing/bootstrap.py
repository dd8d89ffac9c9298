"""Bootstrap intervals over samples, for all models and many resamples at once.

A resample is a row of counts: how often each sample was drawn. All measures of probing are quotients of sums over
samples, so a matrix product of counts and columns gives their sums in all resamples. Models that lie side by side in
leading axes see the same resamples: differences between them are paired.

Shape suffixes: R resamples · N samples · E experts · C classes or targets; ``*`` stands for any leading axes of models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from distilled_experts.checks import check_share, check_whole
from distilled_experts.probing.domains import dominating_experts
from distilled_experts.probing.outputs import ExpertOutputs
from distilled_experts.probing.quotient import quotient
from distilled_experts.probing.routing import ERRORS, answer_types, sample_right

__all__ = [
    "Interval",
    "Statistic",
    "bootstrap_intervals",
    "percentile_interval",
    "probe_intervals",
    "probe_statistic",
    "resampled_mean",
    "resampled_score",
]

Floats = NDArray[np.floating]
Measures = dict[str, NDArray[np.float64]]
Statistic = Callable[[NDArray[np.float64]], Measures]
Resampled = Callable[[NDArray[np.float64]], NDArray[np.float64]]

# Counts of one block of resamples: 32 MB.
_BLOCK = 4_000_000
# A variance below this part of the mean square is a rounding error of zero.
_NO_VARIANCE = 1e-12


class Interval(NamedTuple):
    """Ends of a confidence interval, each in the shape of the measure; NaN where the measure is undefined."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]


def probe_intervals(
    outputs: ExpertOutputs,
    y: NDArray[np.generic],
    task: str,
    generator: np.random.Generator,
    *,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Intervals of all measures of `probe_outputs`, which describes parameters, names and shapes.

    In regression the limit below which a prediction is right stays that of the whole sample.

    Examples
    --------
    >>> y = np.array([0, 1] * 50)
    >>> experts = np.broadcast_to(np.eye(2), (100, 2, 2))  # the first always says 0, the second always 1
    >>> outputs = ExpertOutputs(experts, np.full((100, 2), 0.5), experts.mean(1))
    >>> low, high = probe_intervals(outputs, y, "classification", np.random.default_rng(0))["own_domain"]
    >>> bool(0.35 < low < 0.45), bool(0.55 < high < 0.65)
    (True, True)
    """
    statistic = probe_statistic(outputs, y, task)
    return bootstrap_intervals(statistic, len(y), generator, n_resamples=n_resamples, level=level)


def bootstrap_intervals(
    statistic: Statistic,
    n_samples: int,
    generator: np.random.Generator,
    *,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Percentile intervals of measures of resampled samples.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.

    Parameters
    ----------
    statistic : callable
        From counts (R, N) to measures by name, each with a first axis of length R.
    n_samples : int
        N.
    generator : numpy.random.Generator
    n_resamples : int
    level : float
        Confidence, between 0 and 1.

    Raises
    ------
    InvalidParameterError
        When a parameter has a value that is not allowed.

    Examples
    --------
    >>> x = np.arange(100.0)
    >>> intervals = bootstrap_intervals(lambda counts: {"mean": counts @ x / 100}, 100, np.random.default_rng(0))
    >>> low, high = intervals["mean"]
    >>> bool(42 < low < 45), bool(54 < high < 57)
    (True, True)
    """
    for name, number in (("n_samples", n_samples), ("n_resamples", n_resamples)):
        check_whole(name, number)
    blocks = [statistic(counts) for counts in _resamples(n_samples, n_resamples, generator)]
    return {name: percentile_interval(np.concatenate([block[name] for block in blocks]), level) for name in blocks[0]}


def percentile_interval(values: Floats, level: float = 0.95) -> Interval:
    """Central part of the values along the first axis; those that are NaN do not count.

    Examples
    --------
    >>> interval = percentile_interval(np.array([0.0, 1.0, 2.0, 3.0, 4.0, np.nan]), 0.5)
    >>> float(interval.low), float(interval.high)
    (1.0, 3.0)
    """
    check_share("level", level)
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=0)
    last = np.maximum((~np.isnan(ordered)).sum(0) - 1, 0)

    def quantile(share: float) -> NDArray[np.float64]:
        below = np.floor(share * last).astype(np.int64)
        lower = np.take_along_axis(ordered, below[None], 0)[0]
        upper = np.take_along_axis(ordered, np.minimum(below + 1, last)[None], 0)[0]
        return np.asarray(lower + (upper - lower) * (share * last - below))

    return Interval(quantile((1 - level) / 2), quantile((1 + level) / 2))


def resampled_mean(values: NDArray[np.generic], member: NDArray[np.bool_] | None = None) -> Resampled:
    """Mean of values ``(*, N)`` over the samples that count, as a function of counts ``(R, N)``: gives ``(R, *)``.

    NaN where no sample counts; `member` (N,) or (*, N) says which do, by default all.

    Examples
    --------
    >>> mean = resampled_mean(np.array([1.0, 2.0, 6.0]), np.array([True, True, False]))
    >>> mean(np.array([[1.0, 1.0, 1.0], [3.0, 1.0, 0.0], [0.0, 0.0, 4.0]]))
    array([1.5 , 1.25,  nan])
    """
    inside = np.broadcast_to(True if member is None else member, values.shape)
    counted = np.where(inside, values, 0)
    return lambda counts: quotient(_sums(counts, counted), _sums(counts, inside))


def resampled_score(
    predictions: Floats, y: NDArray[np.generic], task: str, member: NDArray[np.bool_] | None = None
) -> Resampled:
    """Score of predictions as a function of counts: accuracy, or R² (mean over the targets).

    Parameters
    ----------
    predictions : array, shape (*, N, C)
        Class scores, or predicted targets.
    y : array, shape (N,) of class codes, or (N, C) of targets
    task : {"classification", "regression"}
    member : array of bool, shape (*, N), optional
        The samples that count. Default: all.

    Returns
    -------
    callable
        From counts ``(R, N)`` to scores ``(R, *)``; NaN where no sample counts, or targets do not vary.

    Examples
    --------
    >>> score = resampled_score(np.eye(2)[[0, 0, 1]], np.array([0, 1, 1]), "classification")
    >>> score(np.array([[1.0, 1.0, 1.0], [3.0, 0.0, 0.0]]))
    array([0.66666667, 1.        ])
    """
    if task == "classification":
        return resampled_mean(predictions.argmax(-1) == y, member)
    member = np.broadcast_to(True if member is None else member, predictions.shape[:-1])
    inside = member[..., None].astype(np.float64)
    target = np.asarray(y, dtype=np.float64)
    # Around the mean of the samples that count, the difference of squares below keeps its digits.
    target = (target - (target * inside).sum(-2, keepdims=True) / np.maximum(inside.sum(-2, keepdims=True), 1)) * inside
    residual = (predictions - np.asarray(y, dtype=np.float64)) ** 2 * inside

    def r2(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        n, first, second, apart = (_column_sums(counts, columns) for columns in (inside, target, target**2, residual))
        total = second - first**2 / np.maximum(n, 1)
        total = np.where(total > _NO_VARIANCE * second, total, 0)
        return np.asarray((1 - quotient(apart, total)).mean(-1))

    return r2


def probe_statistic(
    outputs: ExpertOutputs, y: NDArray[np.generic], task: str, sample_weight: NDArray[np.float64] | None = None
) -> Statistic:
    """All measures of `probe_outputs` as a function of counts ``(R, N)``; counts of one give the measures themselves.

    Examples
    --------
    >>> experts = np.broadcast_to(np.eye(2), (3, 2, 2))  # the first always says 0, the second always 1
    >>> outputs = ExpertOutputs(experts, np.full((3, 2), 0.5), experts.mean(1))
    >>> statistic = probe_statistic(outputs, np.array([0, 1, 1]), "classification")
    >>> statistic(np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 1.0]]))["own_domain"].round(2)
    array([0.33, 0.67])
    """
    weight = np.ones(len(y)) if sample_weight is None else sample_weight
    domains = dominating_experts(outputs.weights)
    n_experts = outputs.weights.shape[-1]
    right, mixture_right = sample_right(outputs.experts, outputs.mixture, y, task, sample_weight)
    chosen = np.take_along_axis(right, domains[..., None], axis=-1)[..., 0]
    some = np.asarray(right.any(-1))
    types = answer_types(right, mixture_right, domains)
    alone = np.take_along_axis(outputs.experts, domains[..., None, None], axis=-2)[..., 0, :]
    own_domain = resampled_score(alone, y, task)
    members = [domains == j for j in range(n_experts)]
    each = np.moveaxis(outputs.experts, -2, 0)
    columns = [resampled_score(each, y, task, member) for member in members]
    shares = {"oracle": some, **{name: types == i for i, name in enumerate(ERRORS, 1)}}

    def statistic(counts: NDArray[np.float64]) -> Measures:
        counts = counts * weight
        return {
            "shares": np.stack([_share(counts, member) for member in members], axis=-1),
            "matrix": np.moveaxis(np.stack([column(counts) for column in columns], axis=-1), 1, -2),
            "own_domain": own_domain(counts),
            "routing_accuracy": quotient(_sums(counts, chosen), _sums(counts, some)),
            **{name: _share(counts, column) for name, column in shares.items()},
        }

    return statistic


def _resamples(n_samples: int, n_resamples: int, generator: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    """Counts of resamples, ``(R, N)``, in blocks that fit into memory."""
    size = max(1, _BLOCK // n_samples)
    for start in range(0, n_resamples, size):
        rows = min(size, n_resamples - start)
        drawn = generator.integers(n_samples, size=(rows, n_samples)) + n_samples * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * n_samples)
        yield counts.reshape(rows, n_samples).astype(np.float64)


def _sums(counts: NDArray[np.float64], column: NDArray[np.generic]) -> NDArray[np.float64]:
    """Sums over samples in every resample: ``(R, N)`` and ``(*, N)`` to ``(R, *)``."""
    flat = np.asarray(column, dtype=np.float64).reshape(-1, counts.shape[-1])
    return np.asarray(counts @ flat.T).reshape(len(counts), *column.shape[:-1])


def _share(counts: NDArray[np.float64], member: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of the samples drawn that are members, ``(R, *)``."""
    return quotient(_sums(counts, member), _sums(counts, np.ones_like(member)))


def _column_sums(counts: NDArray[np.float64], columns: Floats) -> NDArray[np.float64]:
    """Likewise with columns: ``(R, N)`` and ``(*, N, C)`` to ``(R, *, C)``."""
    return _sums(counts, np.swapaxes(columns, -1, -2))
