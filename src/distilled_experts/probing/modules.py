"""Torch modules that contain mixtures of experts, at any depth.

Legend: N samples · R rows that the layer routes (N, or several of each sample) · E experts · C outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from distilled_experts.errors import DataError, InvalidParameterError
from distilled_experts.functional import mutual_distillation
from distilled_experts.layers import Experts, MixtureOfExperts, Routing, StackedExperts
from distilled_experts.layers.forcing import forced_expert, forced_routing, recorded_calls
from distilled_experts.probing.attribution import ExpertFunction
from distilled_experts.probing.domains import dominating_experts
from distilled_experts.probing.losses import ExpertLosses
from distilled_experts.probing.narrow_vision import two_layer_gradient_norms
from distilled_experts.probing.outputs import ExpertOutputs
from distilled_experts.probing.protocol import ProbedSamples, choose_layer
from distilled_experts.probing.torch_models import (
    arrays_of,
    evaluating,
    inputs_for,
    numbers_of,
    predictions,
    targets_of,
)

__all__ = ["MixtureModule"]

_ROWS = 1024
_GRADIENTS = 64  # samples whose full gradients are in memory at a time


@dataclass(frozen=True)
class MixtureModule:
    """Members of a torch module: the experts of one of its `layers.MixtureOfExperts`.

    An expert alone is the whole module with this layer's routing forced to it: one pass for each expert, and none
    where the layer's output is the module's, for there one run of the experts says all. Where a layer routes several
    rows of a sample, such as tokens, the sample has the mean of their weights.

    Parameters
    ----------
    module : torch.nn.Module
        Returns class scores, whose softmax gives probabilities, or targets, or a record with them as ``output`` or
        ``logits``.
    classifies : bool
        Whether they are class scores; asked for by `attention` alone, `probe` sees it from the targets.
    alpha : float, optional
        Strength of distillation in training, where the layer distils: for narrow vision of the whole loss.
    narrow_vision : bool
        Whether to measure what the experts learn from, which is what takes time.

    Examples
    --------
    >>> from distilled_experts.probing import probe
    >>> layers = [MixtureOfExperts(4, 8, hidden=8, n_experts=3), MixtureOfExperts(8, 2, hidden=8, n_experts=2)]
    >>> class Deep(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.bottom, self.top = layers
    ...     def forward(self, x):
    ...         return self.top(self.bottom(x).output.relu()).output
    >>> record = probe(Deep(), torch.ones(6, 4), torch.tensor([0, 1] * 3), layer="bottom")
    >>> record.layers, record.matrix.shape
    (('bottom', 'top'), (3, 3))
    """

    module: nn.Module
    classifies: bool = True
    alpha: float | None = None
    narrow_vision: bool = True

    def members_on(self, X: Any, y: Any, *, layer: str | int | None = None) -> ProbedSamples:
        """Outputs of every expert of one mixture, and gradient norms where rows are samples."""
        names, position, mixture = self._mixture(layer)
        x = inputs_for(self.module, X)
        with evaluating(self.module):
            parts = [_outputs(self.module, mixture, rows) for rows in x.split(_ROWS)]
            outputs = ExpertOutputs(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
            inputs = numbers_of(x, len(outputs.mixture))
            target, task, subsets = targets_of(y, outputs.mixture.shape[-1], inputs)
            if len(target) != len(outputs.mixture):
                raise DataError(f"y: {len(target)} targets for {len(outputs.mixture)} predictions")
            measured = self.narrow_vision and len(x) == len(target)
            found = _gradient_norms(self.module, mixture, x, target, self.alpha) if measured else None
        task_norms, whole_norms = (None, None) if found is None else found
        return ProbedSamples(
            outputs,
            target,
            task,
            subsets,
            task_norms,
            whole_norms,
            alpha=self.alpha,
            layer=names[position],
            layers=names,
            losses=ExpertLosses.of_scores(outputs, target) if task == "classification" else None,
            inputs=inputs,
        )

    def expert_function(self, X: Any, *, layer: str | int | None = None) -> ExpertFunction:
        """The experts of one mixture, each alone in the whole module, as a function of its input; for `attention`."""
        _, _, mixture = self._mixture(layer)
        x = inputs_for(self.module, X)

        def run(rows: Tensor) -> Tensor:
            with evaluating(self.module):
                return _one_by_one(self.module, mixture, rows)

        with evaluating(self.module):
            weights = np.concatenate([_outputs(self.module, mixture, rows)[1] for rows in x.split(_ROWS)])
        columns = [str(column) for column in getattr(X, "columns", range(x.shape[-1]))]
        task = "classification" if self.classifies else "regression"
        return ExpertFunction(run, x, dominating_experts(weights), task, columns, np.arange(len(columns)))

    def _mixture(self, layer: str | int | None) -> tuple[tuple[str, ...], int, MixtureOfExperts]:
        """The names of all mixtures, and the position of one, and itself."""
        mixtures = {name: part for name, part in self.module.named_modules() if isinstance(part, MixtureOfExperts)}
        if not mixtures:
            raise InvalidParameterError("model", type(self.module).__name__, "modules that contain a MixtureOfExperts")
        names = tuple(name or "mixture" for name in mixtures)
        position = choose_layer(layer, names)
        return names, position, list(mixtures.values())[position]


@torch.no_grad()
def _outputs(module: nn.Module, mixture: MixtureOfExperts, x: Tensor) -> tuple[NDArray[Any], ...]:
    """Experts (N, E, C), gate weights (N, E) and prediction (N, C)."""
    with recorded_calls(mixture) as calls:
        prediction = predictions(module, x)
    if len(calls) != 1:
        raise DataError(f"layer: it is run {len(calls)} times for a sample; probing needs layers that are run once")
    call = calls[0]
    whole = prediction is call.out.output and mixture.shared is None
    experts = _in_one_run(mixture, call.x) if whole else _one_by_one(module, mixture, x)
    prediction = prediction.reshape(-1, prediction.shape[-1])
    weights = _by_sample(call.out.routing.dense_weights().reshape(-1, mixture.n_experts), len(prediction))
    return arrays_of(experts), arrays_of(weights), arrays_of(prediction)


def _in_one_run(mixture: MixtureOfExperts, x: Tensor) -> Tensor:
    experts: Tensor = mixture.experts(x.reshape(-1, x.shape[-1]))
    return experts


def _one_by_one(module: nn.Module, mixture: MixtureOfExperts, x: Tensor) -> Tensor:
    alone = []
    for expert in range(mixture.n_experts):
        with forced_expert(mixture, expert):
            prediction = predictions(module, x)
        alone.append(prediction.reshape(-1, prediction.shape[-1]))
    return torch.stack(alone, 1)


def _by_sample(weights_RE: Tensor, n_samples: int) -> Tensor:
    if len(weights_RE) % n_samples:
        raise DataError(f"layer: it routes {len(weights_RE)} rows for {n_samples} predictions, which cannot be matched")
    return weights_RE.reshape(n_samples, -1, weights_RE.shape[-1]).mean(1)


class _Gradients(NamedTuple):
    """Input (R, d_in) of the experts, and gradients (R, E, d_out) of the summed losses by what they return."""

    inputs: Tensor
    task: Tensor
    whole: Tensor | None


def _gradient_norms(
    module: nn.Module, mixture: MixtureOfExperts, x: Tensor, target: NDArray[np.generic], alpha: float | None
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None] | None:
    """Norms (N, E) of the gradients of the samples' losses, the task's and the whole; None for several rows each."""
    task, whole = [], []
    for rows, truth in zip(x.split(_ROWS), torch.from_numpy(target).split(_ROWS), strict=True):
        found = _gradients(module, mixture, rows, truth.to(x.device), alpha)
        if len(found.inputs) != len(rows):
            return None
        task.append(_norms(mixture.experts, found.inputs, found.task))
        if found.whole is not None:
            whole.append(_norms(mixture.experts, found.inputs, found.whole))
    return np.concatenate(task), np.concatenate(whole) if whole else None


@torch.enable_grad()
def _gradients(
    module: nn.Module, mixture: MixtureOfExperts, x: Tensor, target: Tensor, alpha: float | None
) -> _Gradients:
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []
    routings: list[Routing] = []

    def leaf(_: object, arguments: tuple[Tensor], output: Tensor) -> Tensor:
        inputs.append(arguments[0].detach())
        outputs.append(output.detach().requires_grad_())
        return outputs[0]

    def all_experts(rows: Tensor) -> Routing:
        routing: Routing = mixture.gate(rows)
        routings.append(routing)
        return Routing(routing.scores, routing.dense_weights())

    handle = mixture.experts.register_forward_hook(leaf)
    try:
        with forced_routing(mixture, all_experts):
            prediction = predictions(module, x).reshape(len(target), -1)
    finally:
        handle.remove()
    if target.is_floating_point():
        loss = (prediction - target.to(prediction.dtype)).square().mean(-1).sum()
    else:
        loss = F.cross_entropy(prediction, target, reduction="sum")
    (task,) = torch.autograd.grad(loss, outputs)
    whole = None if alpha is None else task + alpha * _alike(mixture, outputs[0], routings[0])
    return _Gradients(inputs[0], task, whole)


def _alike(mixture: MixtureOfExperts, outputs_NED: Tensor, routing: Routing) -> Tensor:
    """Gradient (N, E, D) of the summed distillation losses of the samples by what the active experts return."""
    loss = mutual_distillation(
        outputs_NED,
        routing.dense_weights(),
        mask=None if mixture.scope == "all" else routing.mask(),
        distance=mixture.distance,
        teacher=mixture.teacher,
        weighting=mixture.weighting,
        detach_teacher=mixture.detach_teacher,
        temperature=mixture.temperature,
        pair_scale=mixture.pair_scale,
    )
    (gradient,) = torch.autograd.grad(loss * len(outputs_NED), outputs_NED)
    return gradient


def _norms(experts: StackedExperts, x_ND: Tensor, upstream_NEC: Tensor) -> NDArray[np.float64]:
    """Norm of each sample's gradient by all parameters of each expert, ``(N, E)``."""
    if isinstance(experts, Experts) and experts.activation == "relu" and experts.up_bias is not None:
        return _closed_norms(experts, experts.up_bias, x_ND, upstream_NEC)
    parameters = {name: p.detach() for name, p in experts.named_parameters()}

    def pulled(weights: dict[str, Tensor], x_D: Tensor, upstream_EC: Tensor) -> Tensor:
        out: Tensor = functional_call(experts, weights, (x_D.unsqueeze(0),))
        return (out[0] * upstream_EC).sum()

    gradients = vmap(grad(pulled), in_dims=(None, 0, 0), chunk_size=_GRADIENTS)(parameters, x_ND, upstream_NEC)
    square = sum(g.double().flatten(2).square().sum(-1) for g in gradients.values())
    return arrays_of(torch.as_tensor(square).sqrt())


@torch.no_grad()
def _closed_norms(experts: Experts, up_bias: Tensor, x_ND: Tensor, upstream_NEC: Tensor) -> NDArray[np.float64]:
    """The same for the experts of most mixtures, without a gradient of full size for every sample."""
    hidden = F.linear(x_ND, experts.up.flatten(0, 1), up_bias.flatten()).relu()
    hidden_NEH = hidden.unflatten(1, experts.up.shape[:2])
    return two_layer_gradient_norms(*map(arrays_of, (upstream_NEC, x_ND, hidden_NEH, experts.down)))
