"""Train one arm of a comparison as a stack, and measure every model of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from distilled_experts.experiments.metrics import score_many
from distilled_experts.experiments.preparation import Group, Stack
from distilled_experts.experiments.specification import Specification
from distilled_experts.probing import ExpertOutputs, probe_outputs
from distilled_experts.tabular.network import StackedMixture, matching_width
from distilled_experts.tabular.targets import ClassTarget
from distilled_experts.tabular.training import StackedTraining

__all__ = ["build_training", "groups_per_stack", "measure_stack"]

Model = dict[str, Any]
Array = NDArray[Any]

# Past this size a stack gains no more speed, and memory grows with every group.
_STACK_BYTES = 256 * 2**20
_TABLE_BYTES = 2**30
_EVALUATED_ROWS = 1024


def groups_per_stack(specification: Specification, cells: int) -> int:
    """Seeds that train together, by the size of the hidden layer in one step and of their copies of the table."""
    s = specification
    hidden_bytes = 4 * len(s.alphas) * s.experts * s.hidden * s.training.batch_size
    table_bytes = 2 * 4 * cells  # each seed's rows, and the stack of them
    return max(1, min(s.seeds, _STACK_BYTES // hidden_bytes, _TABLE_BYTES // table_bytes))


def arm_alphas(specification: Specification, arm: str) -> tuple[float, ...]:
    """The α that an arm trains side by side."""
    return specification.alphas if arm == "mixture" else (0.0,)


def build_training(stack: Stack, specification: Specification, arm: str) -> StackedTraining:
    """The stack of an arm, ready to run: "dense", one network a seed, or "mixture", one model per seed and α."""
    s, alphas = specification, arm_alphas(specification, arm)

    def network(n_experts: int, hidden: int, top_k: int | None) -> StackedMixture:
        return StackedMixture(
            stack.seeds,
            len(alphas),
            stack.n_features,
            stack.n_outputs,
            n_experts=n_experts,
            hidden=hidden,
            top_k=top_k,
            fan_in=stack.fan_in,
        )

    model = network(s.experts, s.hidden, s.top_k)
    if arm == "dense":
        model = network(1, matching_width(model.parameters_per_model(), stack.n_features, stack.n_outputs), None)
    return StackedTraining(
        model.to(s.device),
        torch.tensor(alphas, device=s.device).repeat(len(stack.groups), 1),
        stack.rows("train", s.device),
        stack.rows("validation", s.device),
        s.task,
        stack.seeds,
        s.training,
    )


def measure_stack(training: StackedTraining, stack: Stack, specification: Specification, arm: str) -> list[Model]:
    """One record a model: scores on training and test rows, probing on test rows, learning curves."""
    models = []
    curves = {name: torch.stack(values).cpu().double().numpy() for name, values in training.history.items()}
    for s, group in enumerate(stack.groups):
        measured = _measure_group(training.network.select(slice(s, s + 1)), stack, s, specification)
        for a, alpha in enumerate(arm_alphas(specification, arm)):
            model: Model = {
                "arm": arm,
                "experts": specification.experts,
                "seed": group.seed,
                "alpha": alpha,
                "validation_loss": float(training.best_loss[s, a]),
                "best_epoch": int(training.best_epoch[s, a]),
                "parameters": training.network.parameters_per_model(),
            }
            model |= {name: _plain(values[a]) for name, values in measured.items()}
            trained = np.isfinite(curves["validation_loss"][:, s, a])
            model["curves"] = {name: _plain(values[trained, s, a]) for name, values in curves.items()}
            models.append(model)
    return models


def _measure_group(network: StackedMixture, stack: Stack, s: int, specification: Specification) -> dict[str, Array]:
    group = stack.groups[s]
    measured = {}
    for part in ("train", "test"):
        outputs = _outputs(network, stack.padded(s, part), specification.device)
        predictions = _predictions(outputs.mixture, group)
        truth = group.y[part]
        if not isinstance(group.target, ClassTarget):
            truth = group.target.decode(truth)
        measured[f"{part}_score"] = score_many(specification.metric, truth, predictions)
    if network.n_experts > 1:
        measured |= probe_outputs(outputs, group.y["test"], specification.task)
    return measured


@torch.no_grad()
def _outputs(network: StackedMixture, x: Array, device: str) -> ExpertOutputs:
    """Outputs of all members of one group, ``(A, N, …)``."""
    parts = []
    for start in range(0, len(x), _EVALUATED_ROWS):
        out = network(torch.from_numpy(x[start : start + _EVALUATED_ROWS]).to(device).unsqueeze(0))
        parts.append([t[0].cpu().numpy() for t in (out.experts, out.weights, out.mixture())])
    return ExpertOutputs(*(np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True)))


def _predictions(mixture: Array, group: Group) -> Array:
    """Class probabilities, or targets in their own units, for every member."""
    if isinstance(group.target, ClassTarget):
        shifted = np.exp(mixture - mixture.max(-1, keepdims=True))
        return np.asarray(shifted / shifted.sum(-1, keepdims=True))
    return group.target.decode(mixture)


def _plain(values: Array) -> Any:
    """Plain numbers and lists; None for what is not defined."""
    array = np.asarray(values, dtype=float)
    plain = array.astype(object)
    plain[~np.isfinite(array)] = None
    return plain.tolist()
