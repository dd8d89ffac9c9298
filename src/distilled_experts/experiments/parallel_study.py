"""Parallel study: the experts of both arms trained anew under one frozen gate.

The trained MoE's gate is kept, the experts start again from the initial weights, once without distillation and once
with the α that was chosen. Both arms then have the same domains, so every difference is one of the experts alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from distilled_experts.experiments.large_tables import large_table
from distilled_experts.experiments.preparation import Group, Stack
from distilled_experts.experiments.specification import Specification
from distilled_experts.experiments.stacks import new_mixture, training_of
from distilled_experts.experiments.statistics import difference
from distilled_experts.probing import (
    Attention,
    expert_attention,
    plain_numbers,
    probe_outputs,
    resampled_score,
)
from distilled_experts.tabular.experts import experts_function, network_outputs
from distilled_experts.tabular.network import StackedMixture
from distilled_experts.tabular.training import StackedTraining

__all__ = ["run_parallel", "summarise_attention", "summarise_parallel"]

Model = dict[str, Any]
Array = NDArray[Any]

ARMS = ("moe", "mode")

_GATE = ("gate_weight", "gate_bias")
_ATTENTION_ROWS = 1000


def run_parallel(
    trained: StackedMixture,
    stack: Stack,
    specification: Specification,
    alphas: Sequence[float],
    on_epoch: Callable[[StackedTraining], None] | None = None,
) -> list[Model]:
    """Train and measure two mixtures a seed, without and with distillation.

    Parameters
    ----------
    trained : StackedMixture
        Its first members are plain mixtures, whose gates are kept.
    stack : Stack
        The rows that they were trained on.
    specification : Specification
    alphas : sequence of float
        Strength of distillation, one a seed.
    on_epoch : callable, optional
        As in `StackedTraining.run`.

    Returns
    -------
    list of dict
        One a seed and arm: probing on test rows, and attention to the columns.
    """
    return _measured(_trained(trained, stack, specification, alphas, on_epoch), stack, specification, alphas)


def _trained(
    trained: StackedMixture,
    stack: Stack,
    specification: Specification,
    alphas: Sequence[float],
    on_epoch: Callable[[StackedTraining], None] | None,
) -> StackedMixture:
    network = new_mixture(stack, specification, len(ARMS))
    with torch.no_grad():
        for name in _GATE:
            getattr(network, name).copy_(getattr(trained, name)[:, :1])
    strengths = torch.tensor([[0.0, alpha] for alpha in alphas], device=specification.device)
    training_of(network, strengths, stack, specification, frozen=_GATE).run(on_epoch)
    return network


def _measured(
    network: StackedMixture, stack: Stack, specification: Specification, alphas: Sequence[float]
) -> list[Model]:
    models = []
    for s, (group, alpha) in enumerate(zip(stack.groups, alphas, strict=True)):
        measured = _measured_pair(network.select(slice(s, s + 1)), stack.padded(s, "test"), group, specification)
        for a, (arm, strength) in enumerate(zip(ARMS, (0.0, alpha), strict=True)):
            model = {"arm": f"parallel_{arm}", "experts": network.n_experts, "seed": group.seed, "alpha": strength}
            model |= {name: plain_numbers(values[a]) for name, values in measured.items()}
            models.append(model | {"columns": group.columns})
    return models


def _measured_pair(pair: StackedMixture, x: Array, group: Group, specification: Specification) -> dict[str, Array]:
    """Measures of both arms for one seed's test rows, each with a first axis of two."""
    outputs, y = network_outputs(pair, x, specification.device).model(0), group.y["test"]
    probed = probe_outputs(outputs, y, specification.task)
    return {
        "score": resampled_score(outputs.mixture, y, specification.task)(np.ones((1, len(y))))[0],
        "own_domain": probed["own_domain"],
        "by_expert": np.diagonal(probed["matrix"], axis1=-2, axis2=-1),
        "shares": probed["shares"],
        "attention": _attention(pair, x, group, specification),
    }


def summarise_parallel(models: Sequence[Model], test_share: float) -> dict[str, Any] | None:
    """What the record holds under ``why.parallel``; None where there was no study."""
    arms = {arm: _arm(models, arm) for arm in ARMS}
    if not arms["moe"]:
        return None
    own, scores = ({arm: [m[name] for m in found] for arm, found in arms.items()} for name in ("own_domain", "score"))
    return {
        "own_domain": own,
        "score": scores,
        "difference": difference(own["mode"], own["moe"], test_share).to_dict(),
        "by_expert": _by_expert(arms, test_share),
    }


def summarise_attention(models: Sequence[Model]) -> dict[str, Any] | None:
    """What the record holds under ``why.attention``; None where there was no study."""
    arms = {arm: _arm(models, arm) for arm in ARMS}
    if not arms["moe"]:
        return None
    columns = arms["moe"][0]["columns"]
    return {
        "columns": columns,
        **{arm: large_table([model["attention"] for model in found]) for arm, found in arms.items()},
        "picked_up": [_picked_up(columns, *pair) for pair in zip(*arms.values(), strict=True)],
    }


def _arm(models: Sequence[Model], arm: str) -> list[Model]:
    return sorted((m for m in models if m["arm"] == f"parallel_{arm}"), key=lambda m: int(m["seed"]))


def _by_expert(arms: Mapping[str, Sequence[Model]], test_share: float) -> list[dict[str, Any]]:
    """Experts in the order of their domains' sizes, which makes those of several seeds comparable."""
    shares = np.array([model["shares"] for model in arms["moe"]])
    order = (-shares).argsort(axis=1, kind="stable")
    ranked = {
        arm: np.take_along_axis(np.array([m["by_expert"] for m in found], dtype=float), order, 1)
        for arm, found in arms.items()
    }
    sizes = np.take_along_axis(shares, order, 1).mean(0)
    return [
        {"share": float(share), "difference": _difference(mode, moe, test_share)}
        for share, mode, moe in zip(sizes, ranked["mode"].T, ranked["moe"].T, strict=True)
    ]


def _difference(mode: Array, moe: Array, test_share: float) -> dict[str, object] | None:
    """Of the seeds in which the domain is not empty."""
    known = ~np.isnan(mode + moe)
    return difference(mode[known].tolist(), moe[known].tolist(), test_share).to_dict() if known.any() else None


def _picked_up(columns: Sequence[str], *arms: Model) -> list[list[str]]:
    """Names of the columns that each expert of one seed picks up."""
    moe, mode = (Attention(tuple(columns), np.array(m["attention"], dtype=float), "gradients") for m in arms)
    return [[columns[f] for f in np.flatnonzero(row).tolist()] for row in moe.picked_up(mode)]


def _attention(pair: StackedMixture, x: Array, group: Group, specification: Specification) -> NDArray[np.float64]:
    """Attention (2, E, columns) of the experts of both arms."""
    rows = x[np.linspace(0, len(x) - 1, min(len(x), _ATTENTION_ROWS)).round().astype(int)]
    members = [pair.select(members=slice(a, a + 1)) for a in range(len(ARMS))]
    found = [
        experts_function(one, rows, specification.task, group.columns, group.sources, specification.device)
        for one in members
    ]
    return np.stack([expert_attention(function).values for function in found])
