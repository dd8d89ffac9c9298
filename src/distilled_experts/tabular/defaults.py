"""The training that follows from an estimator's parameters, and what "auto" stands for in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilled_experts.errors import DataError
from distilled_experts.tabular.encoding import PiecewiseLinear
from distilled_experts.tabular.fitting import Choices, Part
from distilled_experts.tabular.training import TrainingSettings

__all__ = ["AUTO_MEMBERS", "choices_of", "holds_out", "number_of_members", "settings_of"]

# From here on "auto" holds out rows; fewer say too little to be judged by.
_HELD_OUT_FROM = 200
# Members where each is judged by other rows.
AUTO_MEMBERS = 8
# Steps where the table has many rows, and the fewest and the most epochs for them.
_STEPS, _EPOCHS = 1500, (40, 200)
# Pieces of a number, and features that all of them together give at most.
_BINS, _MOST_ENCODED = 16, 1024
# What is tried where held-out rows decide, and what is taken where there are none.
_ALPHAS, _ALPHA = (0.0, 0.1, 1.0), 0.1
_WEIGHT_DECAYS, _WEIGHT_DECAY = (2.0, 10.0), 0.0


def holds_out(estimator: Any, n_rows: int) -> bool:
    """Whether the members are judged by rows of the table."""
    if estimator.early_stopping == "auto":
        return n_rows >= _HELD_OUT_FROM
    if estimator.early_stopping and n_rows < 2:
        raise DataError("early_stopping: True needs two distinct rows or more, to hold one out")
    return bool(estimator.early_stopping)


def number_of_members(estimator: Any, *, judged: bool) -> int:
    """How many mixtures are averaged."""
    if estimator.n_estimators == "auto":
        return AUTO_MEMBERS if judged else 1
    return int(estimator.n_estimators)


def choices_of(estimator: Any, train: Part, numeric: NDArray[np.intp], *, judged: bool) -> Choices:
    """What is trained: everything that `judged` members can decide, or one of each.

    Parameters
    ----------
    estimator : MoDEEstimator
    train : Part
    numeric : array of int
        Features that are numbers, not categories.
    judged : bool
        Whether there are rows that decide.
    """
    if estimator.n_experts == 1:
        alphas: tuple[float, ...] = (0.0,)
    else:
        alphas = _values(estimator.alpha, _ALPHAS if judged else (_ALPHA,))
    decays = _values(estimator.weight_decay, _WEIGHT_DECAYS if judged else (_WEIGHT_DECAY,))
    return Choices(_encodings(estimator, train, numeric, judged=judged), alphas, decays)


def settings_of(estimator: Any, n_rows: int, *, whole: bool) -> TrainingSettings:
    """How each member is trained on `n_rows` rows, in batches or with the `whole` of them in every step."""
    batch_size = n_rows if whole else estimator.batch_size
    epochs = estimator.max_iter
    if epochs == "auto":
        fewest, most = _EPOCHS
        epochs = most if whole else min(max(fewest, round(_STEPS * batch_size / n_rows)), most)
    return TrainingSettings(
        epochs=epochs,
        patience=estimator.n_iter_no_change,
        batch_size=batch_size,
        learning_rate=estimator.learning_rate,
        schedule="cosine",
        distance=estimator.distance,
        teacher=estimator.teacher,
        alpha_schedule=estimator.alpha_schedule,
    )


def _values(given: str | float | Iterable[float], automatic: tuple[float, ...]) -> tuple[float, ...]:
    if isinstance(given, str):
        return automatic
    return tuple(map(float, given)) if isinstance(given, Iterable) else (float(given),)


def _encodings(estimator: Any, train: Part, numeric: NDArray[np.intp], *, judged: bool) -> list[PiecewiseLinear | None]:
    """What to append to the features; with and without where rows can decide."""
    automatic = estimator.n_bins == "auto"
    if not len(numeric) or (automatic and not judged):
        return [None]
    n_bins = min(_BINS, _MOST_ENCODED // len(numeric)) if automatic else int(estimator.n_bins)
    if n_bins < 2:
        return [None]
    weight = None if train.weight is None else train.weight.astype(np.float64, copy=False)
    encoding = PiecewiseLinear.fit(train.x, numeric, n_bins, weight)
    return [encoding, None] if automatic else [encoding]
