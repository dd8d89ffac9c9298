"""The one place where own layers, stacked and attached models meet: mixture and distillation loss."""

from __future__ import annotations

from torch import Tensor

from distilled_experts.functional.distillation import mutual_distillation
from distilled_experts.functional.factors import loss_factors
from distilled_experts.functional.fused import distilled_sum, transformed, weighted_sum
from distilled_experts.functional.options import Distance, Teacher, Weighting, check_distillation


def combine(
    expert_outputs: Tensor,
    weights: Tensor,
    mask: Tensor | None = None,
    *,
    distillation: bool = True,
    sample_weight: Tensor | None = None,
    compared: Tensor | None = None,
    distance: Distance = "mse",
    teacher: Teacher = "mean",
    weighting: Weighting = "uniform",
    detach_teacher: bool = False,
    temperature: float = 1.0,
    pair_scale: bool = False,
) -> tuple[Tensor, Tensor | None]:
    r"""Mix the experts, :math:`y = \sum_i g_i e_i`, and let them learn from each other.

    The output has the same bits with and without distillation, and so have its gradients where the loss is
    weighted with zero. Squared error (also relative) with the plain mean and uniform weights takes a fused
    way with a gradient in closed form; all else, and all under a transform of `torch.func`, is left to autograd.

    Parameters
    ----------
    expert_outputs : Tensor (*, N, k, D)
        Unweighted outputs of the k experts of each of N samples; any strides. A dense layer has k = E.
        Entries outside the mask must be finite.
    weights : Tensor (*, N, k)
        The gate's weights.
    mask : Tensor (*, N, k) of bool, optional
        False: the expert takes no part in the output, nor in distillation. Default: all take part.
    distillation : bool
        False: no loss is computed.
    sample_weight : Tensor (*, N), optional
        Weights of the samples in the loss. They leave the output as it is.
    compared : Tensor (*, N, k) of bool, optional
        The experts that distil, where these are others than the active ones of `mask`.
    distance, teacher, weighting, detach_teacher, temperature, pair_scale
        As in `mutual_distillation`.

    Returns
    -------
    output : Tensor (*, N, D)
        In the precision of `expert_outputs`.
    loss : Tensor (*) or None
        One loss for each leading index, None without distillation.

    Raises
    ------
    InvalidParameterError
        An option has a value that is not allowed.

    Examples
    --------
    >>> experts = torch.tensor([[[0.0, 0.0], [2.0, 2.0]]])  # one sample, two experts
    >>> combine(experts, torch.tensor([[0.25, 0.75]]))
    (tensor([[1.5000, 1.5000]]), tensor(1.))
    """
    if mask is not None:
        weights = weights * mask
    weights = weights.expand(expert_outputs.shape[:-1])
    if not distillation:
        return weighted_sum(expert_outputs, weights), None
    check_distillation(distance, teacher, weighting, temperature)
    compared = mask if compared is None else compared
    fused = distance in ("mse", "relative") and teacher == "mean" and weighting == "uniform" and not transformed()
    if fused and not (sample_weight is not None and sample_weight.requires_grad):
        factors = loss_factors(expert_outputs, compared, sample_weight)
        return distilled_sum(expert_outputs, weights, factors, pair_scale, distance == "relative")
    loss = mutual_distillation(
        expert_outputs,
        weights,
        sample_weight,
        compared,
        distance=distance,
        teacher=teacher,
        weighting=weighting,
        detach_teacher=detach_teacher,
        temperature=temperature,
        pair_scale=pair_scale,
    )
    return weighted_sum(expert_outputs, weights), loss
