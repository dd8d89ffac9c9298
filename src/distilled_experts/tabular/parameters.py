"""Checks of the estimators' parameters, and values that several places share."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from distilled_experts.checks import check_device, check_number, check_share, check_whole, is_whole
from distilled_experts.errors import InvalidParameterError
from distilled_experts.functional import schedule_factor
from distilled_experts.functional.options import check_distillation, refuse_kl

__all__ = [
    "ALPHA_WORDS",
    "DEFAULT_ALPHAS",
    "check_alpha",
    "check_distance",
    "check_gate",
    "check_parameters",
]

# From no distillation to one as strong as the task loss.
DEFAULT_ALPHAS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)

ALPHA_WORDS = "auto, a number ≥ 0, or a list of such numbers"


def check_parameters(estimator: Any, task: str) -> None:
    """Raise an error for the first parameter of an estimator with a value that is not allowed."""
    for name in ("n_experts", "hidden", "batch_size", "n_iter_no_change"):
        check_whole(name, getattr(estimator, name))
    for name, least in {"n_estimators": 1, "max_iter": 1, "n_bins": 0}.items():
        if getattr(estimator, name) != "auto":
            check_whole(name, getattr(estimator, name), least=least)
    check_gate(estimator.gate, estimator.top_k, estimator.n_experts)
    check_distillation(estimator.distance, estimator.teacher, "uniform", 1.0)
    check_distance(estimator.distance, task)
    schedule_factor(estimator.alpha_schedule, 0.0)
    if estimator.max_time is not None:
        check_number("max_time", estimator.max_time, above=0)
    for name in ("alpha", "weight_decay"):
        _check_strengths(name, getattr(estimator, name))
    check_number("learning_rate", estimator.learning_rate, above=0)
    check_share("validation_fraction", estimator.validation_fraction)
    for name in ("early_stopping", "scale_features"):
        given = getattr(estimator, name)
        # 1 == True, but it is a number that someone took for a count.
        if not (isinstance(given, bool | np.bool_) or (isinstance(given, str) and given == "auto")):
            raise InvalidParameterError(name, given, "auto, True, False")
    check_device(estimator.device)


def _check_strengths(name: str, given: Any) -> None:
    """Raise an error unless this is "auto", a strength, or several."""
    if isinstance(given, str):
        if given != "auto":
            raise InvalidParameterError(name, given, ALPHA_WORDS)
        return
    values = list(given) if isinstance(given, Iterable) else [given]
    if not values:
        raise InvalidParameterError(name, given, ALPHA_WORDS)
    for value in values:
        check_alpha(value, name)


def check_gate(gate: object, top_k: Any, n_experts: int) -> None:
    """Raise an error unless gate and top_k go together."""
    if gate not in ("dense", "sparse"):
        raise InvalidParameterError("gate", gate, ("dense", "sparse"))
    if top_k is None:
        return
    if gate == "dense":
        raise InvalidParameterError("top_k", top_k, "None with the dense gate; gate='sparse' takes a number")
    if not is_whole(top_k) or not 1 <= top_k <= n_experts:
        raise InvalidParameterError("top_k", top_k, f"1 to {n_experts}, the number of experts")


def check_distance(distance: str, task: str) -> None:
    """Raise an error for a distance that the task has no use for."""
    if task == "regression":
        refuse_kl(distance, "kl compares classes")


def check_alpha(value: Any, name: str = "alpha") -> float:
    """`value` as a strength, of distillation if nothing else is named."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not (math.isfinite(number) and number >= 0):
        raise InvalidParameterError(name, value, ALPHA_WORDS)
    return number
