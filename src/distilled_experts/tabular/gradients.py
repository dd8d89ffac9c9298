"""Gradient norms of single samples, for the experts of a stack: what narrow vision is computed from.

Shape suffixes as in `network`: S groups, A members, B rows, E experts, D features, C outputs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distilled_experts.functional import Distance, Teacher, combine
from distilled_experts.probing import two_layer_gradient_norms
from distilled_experts.tabular.losses import TASK_LOSSES
from distilled_experts.tabular.network import StackedMixture

__all__ = ["GradientNorms", "gradient_norms"]


class GradientNorms(NamedTuple):
    """Norms of each sample's gradient by the parameters of each expert, ``(S, A, B, E)``."""

    task: NDArray[np.float64]  # of the task loss alone
    whole: NDArray[np.float64]  # of the whole training loss, task loss + α · distillation loss


def gradient_norms(
    network: StackedMixture,
    x_SBD: Tensor,
    target: Tensor,
    alpha_SA: Tensor,
    *,
    task: str,
    sample_weight: Tensor | None = None,
    distance: Distance = "mse",
    teacher: Teacher = "mean",
    chunk: int = 512,
) -> GradientNorms:
    r"""Gradient norms of the losses of single samples, without a backward pass for each.

    The training loss is a mean of losses of single samples, :math:`ℓ_n + α\,l_n`. The task loss reaches expert i
    through its weight in the mixture, :math:`g_i\,∂ℓ_n/∂y`; squared error with the plain mean as teacher pulls it
    with :math:`2α(e_i − ē)/(kC)`. With ``distance="relative"`` the unit is that of all given rows.

    Parameters
    ----------
    network : StackedMixture
    x_SBD : Tensor
        Rows in the network's precision.
    target : Tensor, shape (S, B) of class codes or (S, B, C) of targets
    alpha_SA : Tensor
        Distillation strength of every model.
    task : {"classification", "regression"}
    sample_weight : Tensor, shape (S, B), optional
        Divided by its mean, a factor of the norms.
    distance, teacher
        As in `distilled_experts.functional.mutual_distillation`.
    chunk : int
        Rows whose hidden activations are in memory at a time.

    Examples
    --------
    >>> stack = StackedMixture([0], 2, 5, 3, n_experts=4, hidden=8)
    >>> x, y = torch.ones(1, 6, 5), torch.zeros(1, 6, dtype=torch.int64)
    >>> norms = gradient_norms(stack, x, y, torch.tensor([[0.0, 1.0]]), task="classification")
    >>> norms.whole.shape, bool((norms.task[0, 0] == norms.whole[0, 0]).all())
    ((1, 2, 6, 4), True)
    """
    upstreams = _upstream(network, x_SBD, target, alpha_SA, task, sample_weight, distance, teacher)
    output_weight = _array(network.output_weight)
    parts = []
    for start in range(0, x_SBD.shape[1], chunk):
        rows = slice(start, start + chunk)
        x = network.encode(x_SBD[:, rows])
        first, hidden = _array(x.unsqueeze(1)), _hidden(network, x)
        parts.append([two_layer_gradient_norms(u[:, :, rows], first, hidden, output_weight) for u in upstreams])
    of_task, of_whole = (np.concatenate(norms, axis=2) for norms in zip(*parts, strict=True))
    return GradientNorms(of_task, of_whole)


def _upstream(
    network: StackedMixture,
    x_SBD: Tensor,
    target: Tensor,
    alpha_SA: Tensor,
    task: str,
    sample_weight: Tensor | None,
    distance: Distance,
    teacher: Teacher,
) -> list[NDArray[np.float64]]:
    """Gradients of the samples' task and whole losses by the expert outputs, ``(S, A, B, E, C)`` each."""
    weight = torch.ones(x_SBD.shape[:2], dtype=x_SBD.dtype, device=x_SBD.device)
    weight = weight if sample_weight is None else sample_weight
    weight = weight.unsqueeze(1) / weight.mean(-1)[:, None, None]
    with torch.no_grad():
        out = network(x_SBD)
    # No sample's loss depends on another's outputs: one backward pass gives the gradients of all.
    experts = out.experts.requires_grad_()
    with torch.enable_grad():
        mixture, distillation = combine(
            experts, out.weights, out.active, sample_weight=weight, distance=distance, teacher=teacher
        )
        assert distillation is not None
        of_task = torch.autograd.grad((TASK_LOSSES[task](mixture, target) * weight).sum(), experts, retain_graph=True)[
            0
        ]
        total = (distillation * alpha_SA).sum() * x_SBD.shape[1]
        of_distillation = torch.autograd.grad(total, experts)[0]
    return [_array(of_task), _array(of_task + of_distillation)]


@torch.no_grad()
def _hidden(network: StackedMixture, x_SBD: Tensor) -> NDArray[np.float64]:
    """Hidden activations for encoded rows, ``(S, A, B, E, H)``."""
    hidden = torch.einsum("saehd,sbd->sabeh", network.hidden_weight, x_SBD)
    return _array((hidden + network.hidden_bias.unsqueeze(2)).relu())


def _array(values: Tensor) -> NDArray[np.float64]:
    array: NDArray[np.float64] = values.detach().cpu().double().numpy()
    return array
