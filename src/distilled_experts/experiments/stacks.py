"""Train one arm of a comparison as a stack, and measure every model of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from distilled_experts.experiments.course import Course, vision_of
from distilled_experts.experiments.evidence import against_plain
from distilled_experts.experiments.metrics import score_many
from distilled_experts.experiments.preparation import Group, Stack
from distilled_experts.experiments.specification import Specification
from distilled_experts.probing import plain_numbers, probe_outputs
from distilled_experts.tabular.experts import network_outputs
from distilled_experts.tabular.network import StackedMixture, matching_width
from distilled_experts.tabular.targets import ClassTarget
from distilled_experts.tabular.training import StackedTraining

__all__ = ["build_training", "groups_per_stack", "measure_stack", "new_mixture", "training_of"]

Model = dict[str, Any]
Array = NDArray[Any]

# Past this size a stack gains no more speed, and memory grows with every group.
_STACK_BYTES = 256 * 2**20
_TABLE_BYTES = 2**30
_VISION_ROWS = 1000


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
    alphas = arm_alphas(specification, arm)
    model = new_mixture(stack, specification, len(alphas))
    if arm == "dense":
        width = matching_width(model.parameters_per_model(), stack.n_features, stack.n_outputs)
        alone = replace(specification, experts=1, gate="dense", top_k=None, hidden=width, explain=False)
        model = new_mixture(stack, alone, len(alphas))
    strengths = torch.tensor(alphas, device=specification.device).repeat(len(stack.groups), 1)
    return training_of(model, strengths, stack, specification)


def new_mixture(stack: Stack, specification: Specification, n_members: int) -> StackedMixture:
    """Mixtures with each seed's initial weights."""
    s = specification
    return StackedMixture(
        stack.seeds,
        n_members,
        stack.n_features,
        stack.n_outputs,
        n_experts=s.experts,
        hidden=s.hidden,
        top_k=s.top_k,
        fan_in=stack.fan_in,
    ).to(s.device)


def training_of(
    network: StackedMixture, alpha: torch.Tensor, stack: Stack, specification: Specification, frozen: Sequence[str] = ()
) -> StackedTraining:
    """Training of a network on a stack's rows, as specified; parameters with `frozen` names stay as they are."""
    s = specification
    train, validation = (stack.rows(part, s.device) for part in ("train", "validation"))
    return StackedTraining(network, alpha, train, validation, s.task, stack.seeds, s.training, frozen)


def measure_stack(
    training: StackedTraining, stack: Stack, specification: Specification, arm: str, course: Course | None = None
) -> list[Model]:
    """One record a model: scores on training and test rows, probing on test rows, learning curves.

    Mixtures with several experts have a course.
    """
    models = []
    vision = _vision(training) if course is not None else {}
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
            model |= {name: plain_numbers(values[a]) for name, values in measured.items()}
            model |= {name: plain_numbers(values[s, a]) for name, values in vision.items()}
            trained = np.isfinite(curves["validation_loss"][:, s, a])
            model["curves"] = {name: plain_numbers(values[trained, s, a]) for name, values in curves.items()}
            if course is not None:
                model["course"] = course.of(s, a)
            models.append(model)
    return models


def _vision(training: StackedTraining) -> dict[str, Array]:
    """Narrow vision of all models with the weights that they keep."""
    groups = torch.arange(len(training.alpha), device=training.alpha.device)
    return vision_of(training, training.network, groups, _VISION_ROWS)


def _measure_group(network: StackedMixture, stack: Stack, s: int, specification: Specification) -> dict[str, Array]:
    group = stack.groups[s]
    measured = {}
    for part in ("train", "test"):
        outputs = network_outputs(network, stack.padded(s, part), specification.device).model(0)
        predictions = _predictions(outputs.mixture, group)
        truth = group.y[part]
        if not isinstance(group.target, ClassTarget):
            truth = group.target.decode(truth)
        measured[f"{part}_score"] = score_many(specification.metric, truth, predictions)
    if network.n_experts > 1:
        measured |= probe_outputs(outputs, group.y["test"], specification.task)
        measured |= against_plain(outputs, group.y["test"], specification.task)
    return measured


def _predictions(mixture: Array, group: Group) -> Array:
    """Class probabilities, or targets in their own units, for every member."""
    if isinstance(group.target, ClassTarget):
        shifted = np.exp(mixture - mixture.max(-1, keepdims=True))
        return np.asarray(shifted / shifted.sum(-1, keepdims=True))
    return group.target.decode(mixture)
