"""The experts of trained stacks on given rows, as probing takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from distilled_experts.probing import (
    ExpertFunction,
    ExpertLosses,
    ExpertOutputs,
    ProbedSamples,
    choose_layer,
    class_subsets,
    dominating_experts,
    regression_subsets,
)
from distilled_experts.tabular.gradients import gradient_norms
from distilled_experts.tabular.network import StackedMixture
from distilled_experts.tabular.targets import ClassTarget

__all__ = ["experts_function", "function_of", "members_of", "network_outputs"]

Array = NDArray[Any]

_ROWS = 1024


@torch.no_grad()
def network_outputs(network: StackedMixture, x: Array, device: str) -> ExpertOutputs:
    """Experts, gate weights and mixture of all models of a stack for rows (N, D), with leading axes ``(S, A)``.

    Examples
    --------
    >>> stack = StackedMixture([0, 1], 3, 5, 2, n_experts=4, hidden=8)
    >>> network_outputs(stack, np.ones((7, 5), dtype=np.float32), "cpu").experts.shape
    (2, 3, 7, 4, 2)
    """
    groups = network.stack_shape[0]
    parts = []
    for start in range(0, max(len(x), 1), _ROWS):
        rows = torch.from_numpy(x[start : start + _ROWS]).to(device)
        out = network(rows.expand(groups, -1, -1))
        parts.append([t.cpu().numpy() for t in (out.experts, out.weights, out.mixture())])
    return ExpertOutputs(*(np.concatenate(arrays, axis=2) for arrays in zip(*parts, strict=True)))


def members_of(estimator: Any, x: Array, y: Array, layer: str | int | None) -> ProbedSamples:
    """The experts of one mixture of a fitted estimator, for features (N, D) and targets as `fit` takes them."""
    one, name, names = _mixture(estimator, layer)
    target = estimator.target_
    truth = target.encode(y)
    classes = isinstance(target, ClassTarget)
    kind = torch.int64 if classes else one.hidden_weight.dtype
    norms = gradient_norms(
        one,
        torch.from_numpy(x).to(estimator.device).unsqueeze(0),
        torch.from_numpy(truth).to(estimator.device, kind).unsqueeze(0),
        one.hidden_weight.new_full((1, 1), estimator.alpha_),
        task="classification" if classes else "regression",
        distance=estimator.distance,
        teacher=estimator.teacher,
    )
    outputs = network_outputs(one, x, estimator.device).model(0, 0)
    return ProbedSamples(
        outputs,
        truth,
        "classification" if classes else "regression",
        class_subsets(truth, target.classes) if classes else regression_subsets(x, y),
        norms.task[0, 0],
        norms.whole[0, 0],
        estimator.alpha_,
        name,
        names,
        ExpertLosses.of_scores(outputs, truth) if classes else None,
        x,
    )


def function_of(estimator: Any, x: Array, layer: str | int | None) -> ExpertFunction:
    """The experts of one mixture of a fitted estimator as a function of its features, for `probing.attention`."""
    one, preprocessor = _mixture(estimator, layer)[0], estimator.preprocessor_
    task = "classification" if isinstance(estimator.target_, ClassTarget) else "regression"
    columns = [str(name) for name in preprocessor.feature_names_in]
    return experts_function(one, x, task, columns, preprocessor.feature_sources, estimator.device)


def experts_function(
    network: StackedMixture, x: Array, task: str, columns: Sequence[str], sources: Array, device: str
) -> ExpertFunction:
    """Likewise for a stack of one model; features beyond those that `sources` names are all zero."""
    return ExpertFunction(
        lambda rows: network(rows.unsqueeze(0)).experts[0, 0],
        torch.from_numpy(x).to(device),
        dominating_experts(network_outputs(network, x, device).model(0, 0).weights),
        task,
        columns,
        np.pad(sources, (0, x.shape[1] - len(sources))),
    )


def _mixture(estimator: Any, layer: str | int | None) -> tuple[StackedMixture, str | None, tuple[str, ...]]:
    """One of an estimator's mixtures, its name, and the names of all where there are several."""
    network = estimator.network_
    names = tuple(str(member) for member in range(network.stack_shape[0]))
    member = choose_layer(layer, names)
    one = network.select(groups=slice(member, member + 1))
    return (one, names[member], names) if len(names) > 1 else (one, None, ())
