"""Probe a model of any kind: find its members on the samples, and measure them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from distilled_experts.errors import DataError, InvalidParameterError
from distilled_experts.probing.bootstrap import Measures, probe_statistic, resampled_score
from distilled_experts.probing.domains import dominating_experts
from distilled_experts.probing.ensembles import Ensemble, is_scikit_learn_ensemble
from distilled_experts.probing.losses import loss_statistic
from distilled_experts.probing.modules import MixtureModule
from distilled_experts.probing.protocol import Probeable, ProbedSamples
from distilled_experts.probing.record import ProbeRecord, Vision, measured_fields
from distilled_experts.probing.similarity import expert_similarity
from distilled_experts.probing.subsets import Subsets, cluster_subsets, named_subsets, target_subsets

__all__ = ["probe", "probe_samples"]

Floats = NDArray[np.float64]

_MODELS = (
    "an estimator of this package, a torch module that contains a MixtureOfExperts, a list of torch networks, a fitted "
    "forest, voting or bagging ensemble of scikit-learn, an object with a method members_on"
)


def probe(
    model: Any,
    X: Any,
    y: Any,
    *,
    layer: str | int | None = None,
    sample_weight: ArrayLike | None = None,
    subsets: ArrayLike | None = None,
) -> ProbeRecord:
    """Measure what each expert of a model does, alone and together.

    Domains and scores are for held-out samples. Narrow vision is defined on training samples: probe these for it.

    Parameters
    ----------
    model : object
        `MoDEClassifier` or `MoDERegressor` · a torch module that contains `layers.MixtureOfExperts`, however deep; its
        routing is forced to one expert at one layer, the rest of it is untouched · a list of torch networks or a
        fitted forest, voting or bagging ensemble of scikit-learn, as `Ensemble` takes them · anything with
        `Probeable.members_on`.
    X : array, data frame or Tensor, first axis N
        As the model takes it.
    y : array, shape (N,) of classes or targets, or (N, C) of targets
        For torch, whole numbers are class codes and others targets.
    layer : str or int, optional
        Name or position of one mixture where the model has several; default: the first. The mixtures of an estimator
        with `n_estimators` are numbered from 0.
    sample_weight : array, shape (N,), optional
    subsets : {"clusters", "target"} or array, shape (N,), optional
        What narrow vision and `ProbeRecord.composition` tell apart: up to five clusters of the inputs, as
        `cluster_subsets` finds them, or up to five ranges of the target; or the name of each sample's own subset.
        Default: classes, and in regression clusters of the inputs. These stand for classes because the gate divides
        the samples by their inputs, so that an expert's vision is narrow in these; two samples of one target may have
        nothing else in common. Where inputs are no numbers, ranges of the target take their place.

    Returns
    -------
    ProbeRecord

    Raises
    ------
    InvalidParameterError
        When nothing is known of such a model, or it has no such layer, or its samples have no such subsets.
    DataError
        When samples, targets, weights or subsets do not fit.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from distilled_experts import MoDEClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> record = probe(MoDEClassifier(random_state=0).fit(X, y), X, y)
    >>> record.matrix.shape, record.own_domain > 0.9
    ((4, 4), True)
    """
    samples = _probeable(model).members_on(X, y, layer=layer)
    if subsets is not None:
        samples = replace(samples, subsets=_subsets(subsets, samples, y))
    return probe_samples(samples, sample_weight)


def probe_samples(samples: ProbedSamples, sample_weight: ArrayLike | None = None) -> ProbeRecord:
    """The measures of `probe` for samples whose expert outputs are there already: rows, or tokens.

    Examples
    --------
    >>> from distilled_experts.probing import ExpertOutputs, class_subsets
    >>> experts = np.broadcast_to(np.eye(2), (2, 2, 2))
    >>> outputs, y = ExpertOutputs(experts, np.eye(2), np.eye(2)), np.array([0, 1])
    >>> probe_samples(ProbedSamples(outputs, y, "classification", class_subsets(y, "ab"))).oracle
    1.0
    """
    outputs, y, task = samples.outputs, samples.y, samples.task
    weight = _checked_weight(sample_weight, len(y))
    if outputs.experts.shape[0] != len(y):
        raise DataError(f"y: {len(y)} targets for {outputs.experts.shape[0]} samples")
    domains = dominating_experts(outputs.weights)
    of_experts, of_mixture = probe_statistic(outputs, y, task, weight), resampled_score(outputs.mixture, y, task)
    of_losses = None if samples.losses is None else loss_statistic(samples.losses, domains)

    def statistic(counts: Floats) -> Measures:
        measures = of_experts(counts) | {"score": of_mixture(counts * weight)}
        return measures if of_losses is None else measures | of_losses(counts * weight)

    return ProbeRecord(
        task=task,
        domains=domains,
        **measured_fields(statistic, len(y)),
        similarity=expert_similarity(outputs.experts, task, sample_weight=weight),
        subsets=samples.subsets.names,
        subset_kind=samples.subsets.kind,
        composition=samples.subsets.composition(domains, outputs.weights.shape[-1], weight),
        narrow_vision=Vision.of(samples.task_norms, samples.whole_norms, samples.subsets, samples.alpha, weight),
        layer=samples.layer,
        layers=samples.layers,
    )


def _probeable(model: Any) -> Probeable:
    if isinstance(model, Probeable):
        return model
    if isinstance(model, torch.nn.Module):
        return MixtureModule(model)
    if is_scikit_learn_ensemble(model):
        return Ensemble(model)
    if isinstance(model, Sequence) and model and all(isinstance(part, torch.nn.Module) for part in model):
        return Ensemble(model)
    raise InvalidParameterError("model", type(model).__name__, _MODELS)


def _subsets(asked: ArrayLike, samples: ProbedSamples, y: Any) -> Subsets:
    if not isinstance(asked, str):
        named = named_subsets(asked)
        if len(named.codes) != len(samples.y):
            raise DataError(f"subsets: {len(named.codes)} labels for {len(samples.y)} samples")
        return named
    known: dict[str, Callable[[], Subsets]] = {}
    if samples.inputs is not None:
        known["clusters"] = partial(cluster_subsets, samples.inputs)
    if samples.task == "regression":
        known["target"] = partial(target_subsets, y)
    if asked not in known:
        raise InvalidParameterError("subsets", asked, ", ".join([*known, "an array with a label for every sample"]))
    return known[asked]()


def _checked_weight(sample_weight: ArrayLike | None, n_samples: int) -> Floats:
    if n_samples == 0:
        raise DataError("X: no samples to probe")
    weight = np.ones(n_samples) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != (n_samples,):
        raise DataError(f"sample_weight: shape {weight.shape} for {n_samples} samples")
    if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.any()):
        raise DataError("sample_weight: weights must be finite and not negative, and one of them above zero")
    return weight
