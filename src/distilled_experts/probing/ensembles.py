"""Ensembles without a gate: probing answers for them too, with a rule that says which member dominates.

Legend: N samples · E members · C classes or targets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import nn

from distilled_experts.errors import DataError, InvalidParameterError
from distilled_experts.probing.losses import ExpertLosses, log_losses
from distilled_experts.probing.outputs import ExpertOutputs
from distilled_experts.probing.protocol import ProbedSamples, choose_layer, dominated_by
from distilled_experts.probing.subsets import Subsets, class_subsets, regression_subsets
from distilled_experts.probing.torch_models import (
    arrays_of,
    evaluating,
    inputs_for,
    numbers_of,
    predictions,
    targets_of,
)

__all__ = ["Ensemble", "Rule", "is_scikit_learn_ensemble"]

Array = NDArray[Any]
Rule = Callable[[Array, Array], Array]
"""From members' outputs (N, E, C) and the ensemble's (N, C) to domains (N,) of whole numbers or weights (N, E)."""

_ROWS = 1024


@dataclass(frozen=True)
class Ensemble:
    """An ensemble whose members are probed like experts.

    Parameters
    ----------
    members : fitted scikit-learn ensemble, or sequence of torch.nn.Module
        A random forest, extra trees, a voting or a bagging ensemble, for classes or numbers. Of torch networks, whose
        outputs are class scores or targets, the ensemble is the mean, for classes of their probabilities.
    rule : {"confidence", "nearest"} or callable, optional
        Which member dominates a sample. "confidence" (default for classes): the one with the largest class
        probability. "nearest" (default for numbers): the one whose prediction is nearest to the ensemble's, the first
        of several (two members of equal weight are always equally near). Or a function, as `Rule` describes it.

    Raises
    ------
    InvalidParameterError
        When the rule does not go with the task.
    DataError
        When the targets do not fit.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from distilled_experts.probing import probe
    >>> X, y = load_iris(return_X_y=True)
    >>> forest = RandomForestClassifier(5, max_depth=2, random_state=0).fit(X, y)
    >>> probe(forest, X, y).matrix.shape
    (5, 5)
    >>> first = probe(Ensemble(forest, rule=lambda members, ensemble: np.zeros(len(members), dtype=int)), X, y)
    >>> first.shares
    array([1., 0., 0., 0., 0.])
    """

    members: Any
    rule: str | Rule | None = None

    def members_on(self, X: Any, y: Any, *, layer: str | int | None = None) -> ProbedSamples:
        """Outputs of every member, and weights by the rule."""
        choose_layer(layer, ())
        of_kind = _scikit_learn if is_scikit_learn_ensemble(self.members) else _networks
        parts = of_kind(self.members, X, y)
        if len(parts.y) != len(parts.mixture):
            raise DataError(f"y: {len(parts.y)} targets for {len(parts.mixture)} samples")
        weights = _weights(self.rule, parts.task, parts.experts, parts.mixture)
        outputs = ExpertOutputs(parts.experts, weights, parts.mixture)
        return ProbedSamples(outputs, parts.y, parts.task, parts.subsets, losses=_losses(parts), inputs=parts.inputs)


def is_scikit_learn_ensemble(model: object) -> bool:
    """Whether it is one of the ensembles that `Ensemble` takes."""
    return _is_forest(model) or _is_one_of(model, "Bagging", "Voting")


def _is_forest(model: object) -> bool:
    return _is_one_of(model, "RandomForest", "ExtraTrees")


def _is_one_of(model: object, *names: str) -> bool:
    from sklearn import ensemble

    return isinstance(model, tuple(getattr(ensemble, n + kind) for n in names for kind in ("Classifier", "Regressor")))


class _Parts(NamedTuple):
    """What the members and their ensemble say of the samples.

    `certain` tells which of them, the ensemble last, name a class and give no probabilities.
    """

    experts: Array
    mixture: Array
    y: Array
    task: str
    subsets: Subsets
    inputs: Array | None
    certain: Sequence[bool] = ()


def _losses(parts: _Parts) -> ExpertLosses | None:
    if parts.task != "classification":
        return None
    *of_experts, of_mixture = parts.certain
    experts = np.where(of_experts, np.nan, log_losses(parts.experts, parts.y))
    return ExpertLosses(experts, np.where(of_mixture, np.nan, log_losses(parts.mixture, parts.y)))


def _scikit_learn(ensemble: Any, X: Any, y: Any) -> _Parts:
    from sklearn.base import is_classifier
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(ensemble)
    members = [(member, _columns(ensemble, i, X)) for i, member in enumerate(ensemble.estimators_)]
    truth, inputs = np.asarray(y), _numbers(X)
    if is_classifier(ensemble):
        if truth.ndim > 1:
            raise DataError("y: several targets; probing takes one class for each sample")
        n_classes, codes = len(ensemble.classes_), _codes(truth, ensemble.classes_)
        experts = np.stack([_class_scores(member, rows, n_classes) for member, rows in members], 1)
        mixture, subsets = _ensemble_scores(ensemble, X), class_subsets(codes, ensemble.classes_)
        certain = [not hasattr(model, "predict_proba") for model in (*ensemble.estimators_, ensemble)]
        return _Parts(experts, mixture, codes, "classification", subsets, inputs, certain)
    target = truth.astype(np.float64).reshape(len(truth), -1)
    experts = np.stack([member.predict(rows).reshape(target.shape) for member, rows in members], 1)
    mixture = ensemble.predict(X).reshape(target.shape)
    return _Parts(experts, mixture, target, "regression", regression_subsets(inputs, target), inputs)


def _numbers(X: Any) -> Array | None:
    """The rows as numbers; None where they are sparse, or anything else."""
    try:
        return None if hasattr(X, "tocsr") else np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError):
        return None


def _columns(ensemble: Any, i: int, X: Any) -> Any:
    """The rows as a member was trained on them: forests and bagging train on arrays, bagging on some columns."""
    if not _is_forest(ensemble) and not hasattr(ensemble, "estimators_features_"):
        return X
    rows = X if hasattr(X, "tocsr") else np.asarray(X)
    return rows[:, ensemble.estimators_features_[i]] if hasattr(ensemble, "estimators_features_") else rows


def _codes(y: Array, classes: Array) -> Array:
    known = np.isin(y, classes)
    if not known.all():
        raise DataError(f"y: unknown class {str(y[~known][0])!r}; the ensemble knows {', '.join(map(str, classes))}")
    return np.searchsorted(classes, y)


def _class_scores(member: Any, rows: Any, n_classes: int) -> Array:
    """Probabilities of all classes; the ensemble trained its members on class codes, perhaps not on all."""
    codes = np.asarray(member.classes_).astype(int)
    scores = np.zeros((rows.shape[0], n_classes))
    if hasattr(member, "predict_proba"):
        scores[:, codes] = member.predict_proba(rows)
        return scores
    return np.asarray(np.eye(n_classes)[member.predict(rows).astype(int)])


def _ensemble_scores(ensemble: Any, X: Any) -> Array:
    if hasattr(ensemble, "predict_proba"):
        return np.asarray(ensemble.predict_proba(X))
    return np.eye(len(ensemble.classes_))[_codes(ensemble.predict(X), ensemble.classes_)]


@torch.no_grad()
def _networks(networks: Sequence[nn.Module], X: Any, y: Any) -> _Parts:
    experts = np.stack([_run(network, X) for network in networks], 1)
    inputs = numbers_of(inputs_for(networks[0], X), len(experts))
    target, task, subsets = targets_of(y, experts.shape[-1], inputs)
    experts = softmax(experts, axis=-1) if task == "classification" else experts
    return _Parts(experts, experts.mean(1), target, task, subsets, inputs, [False] * (len(networks) + 1))


def _run(network: nn.Module, X: Any) -> Array:
    with evaluating(network):
        parts = [arrays_of(predictions(network, rows)) for rows in inputs_for(network, X).split(_ROWS)]
    joined = np.concatenate(parts)
    return joined.reshape(-1, joined.shape[-1])


def _weights(rule: str | Rule | None, task: str, experts: Array, mixture: Array) -> Array:
    n_members = experts.shape[1]
    if callable(rule):
        found = np.asarray(rule(experts, mixture))
        weights = dominated_by(found, n_members) if found.ndim == 1 else found
        if weights.shape != experts.shape[:2]:
            raise DataError(f"rule: weights of shape {weights.shape}; allowed: {experts.shape[:2]}, or domains alone")
        return weights
    name = rule or ("confidence" if task == "classification" else "nearest")
    if name == "nearest":
        return dominated_by(_first_nearest(((experts - mixture[:, None]) ** 2).sum(-1)), n_members)
    if name == "confidence" and task == "classification":
        confidence = experts.max(-1)
        return np.asarray(confidence / confidence.sum(-1, keepdims=True))
    allowed = "confidence, nearest, or a function" if task == "classification" else "nearest, or a function"
    raise InvalidParameterError("rule", name, allowed)


def _first_nearest(distances: Array) -> Array:
    """First member with the least distance, ``(N, E)`` to ``(N,)``; rounding makes no difference between equal ones."""
    least = distances.min(1, keepdims=True)
    return np.asarray((distances <= least * (1 + 1e-6)).argmax(1))
