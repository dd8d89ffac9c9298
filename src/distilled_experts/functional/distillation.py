"""Moderate mutual distillation: the loss that lets experts learn from each other.

Shapes: N samples, k compared experts, outputs of width D; ``*`` stands for any leading axes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from distilled_experts.errors import InvalidParameterError
from distilled_experts.functional import distances, teachers
from distilled_experts.functional.factors import LossFactors, accumulation_dtype, loss_factors, per_expert
from distilled_experts.functional.options import Distance, Teacher, Weighting, check_distillation

_Measure = Callable[[Tensor, Tensor], Tensor]

# Distances of the outputs themselves; "kl" compares probabilities.
_MEASURES: Mapping[Distance, _Measure] = {
    "mse": distances.squared_error,
    "relative": distances.squared_error,
    "cosine": distances.cosine_distance,
}


def mutual_distillation(
    expert_outputs: Tensor,
    gate_weights: Tensor | None = None,
    sample_weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    distance: Distance = "mse",
    teacher: Teacher = "mean",
    weighting: Weighting = "uniform",
    detach_teacher: bool = False,
    temperature: float = 1.0,
    pair_scale: bool = False,
) -> Tensor:
    r"""Mutual distillation loss :math:`L = \mathrm{mean}_n \sum_{i \in C} w_i\, d(e_i, \mathrm{teacher})`.

    C is the set of experts that are compared for a sample. A sample with an empty set leaves the mean; one
    with a single expert adds zero. Sums are kept in float32 at least, in float64 for float64.

    Parameters
    ----------
    expert_outputs : Tensor (*, N, k, D)
        Unweighted outputs; any strides. Entries outside the mask must be finite.
    gate_weights : Tensor (*, N, k), optional
        For ``teacher="gate"`` and ``weighting="gate"``. Gradients flow into them.
    sample_weight : Tensor (*, N), optional
        The mean over n is weighted with these; at least zero.
    mask : Tensor (*, N, k) of bool, optional
        True for the compared experts. Default: all.
    distance : {"mse", "relative", "kl", "cosine"}
        ``"mse"``: mean squared difference over D. ``"relative"``: the same divided by the detached mean of
        ``‖ē‖²/D`` over the samples, ē being the plain mean of the compared experts; independent of scale.
        ``"kl"``: KL(teacher ‖ expert)·temperature², the teacher being a mean of probabilities;
        `expert_outputs` must be logits, which this function cannot know: callers have to see to it.
        ``"cosine"``: one minus the cosine.
    teacher : {"mean", "gate", "peers", "leave_one_out"}
        Plain mean of the compared experts, mean weighted with the gate (weights divided by their sum), each
        of the other experts in turn (mean over them), or plain mean of the others.
    weighting : {"uniform", "gate"}
        :math:`w_i = 1/|C|`, or the gate's weights as they are.
    detach_teacher : bool
        No gradient flows through the teacher.
    temperature : float
        For ``distance="kl"``: logits are divided by it.
    pair_scale : bool
        Multiply each sample by ``2|C|/(|C|−1)``. For squared error, plain mean and uniform weights the loss
        is then the mean over all pairs of experts of their mean squared difference, so for two experts
        ``MSE(e₁, e₂)``, the way the paper is read for two experts.

    Returns
    -------
    Tensor (*)
        One loss for each leading index; float64 for float64, else float32.

    Raises
    ------
    InvalidParameterError
        An option has a value that is not allowed, or `gate_weights` are needed and absent.

    Notes
    -----
    For squared error with plain mean and uniform weights, `detach_teacher` changes no gradient;
    ``"peers"`` gives ``2k/(k−1)`` times and ``"leave_one_out"`` ``(k/(k−1))²`` times the loss of ``"mean"``,
    so undetached they only rescale the strength α. With gate weights, gate teacher and α = 1 the total of
    squared errors is the local-expert loss of Jacobs et al. (1991).

    References
    ----------
    Xie et al., MoDE: A Mixture-of-Experts Model with Mutual Distillation among the
    Experts, AAAI 2024, arXiv 2402.00893: a reading of it, for the choice of teacher, scale and compared set
    is not known in detail.

    Examples
    --------
    >>> experts = torch.tensor([[[0.0, 0.0], [2.0, 2.0]]])  # one sample, two experts
    >>> mutual_distillation(experts)
    tensor(1.)
    >>> mutual_distillation(experts, pair_scale=True)
    tensor(4.)
    """
    check_distillation(distance, teacher, weighting, temperature)
    if gate_weights is None and "gate" in (teacher, weighting):
        raise InvalidParameterError("gate_weights", None, "a tensor (*, N, k), for the gate's teacher or weighting")
    outputs = expert_outputs.to(accumulation_dtype(expert_outputs.dtype))
    factors = loss_factors(outputs, mask, sample_weight)
    student, source, measure = _spaces(outputs, distance, temperature)
    if teacher == "peers":
        loss = _peer_losses(student, source.detach() if detach_teacher else source, measure, factors)
    else:
        target = _teacher(source, gate_weights, factors, teacher)
        loss = measure(student, target.detach() if detach_teacher else target)
    total = _reduce(loss, gate_weights if weighting == "gate" else None, factors, pair_scale)
    if distance != "relative":
        return total
    with torch.no_grad():
        unit = distances.mean_square(teachers.expert_mean(outputs, factors.share).squeeze(-2), factors.rows)
    return total / unit


def _spaces(outputs: Tensor, distance: Distance, temperature: float) -> tuple[Tensor, Tensor, _Measure]:
    """Give the student's side, what teachers are averaged from, and the distance between the two."""
    if distance != "kl":
        return outputs, outputs, _MEASURES[distance]
    log_probabilities = (outputs / temperature).log_softmax(-1)

    def measure(student: Tensor, target: Tensor) -> Tensor:
        return temperature**2 * distances.kl_divergence(student, target)

    return log_probabilities, log_probabilities.exp(), measure


def _teacher(source: Tensor, gate_weights: Tensor | None, factors: LossFactors, teacher: Teacher) -> Tensor:
    if teacher == "gate" and gate_weights is not None:
        return teachers.gate_mean(source, gate_weights, factors.share)
    if teacher == "leave_one_out":
        return teachers.leave_one_out(source, factors)
    assert teacher == "mean", teacher
    return teachers.expert_mean(source, factors.share)


def _peer_losses(student: Tensor, source: Tensor, measure: _Measure, factors: LossFactors) -> Tensor:
    """Mean distance of each expert from each of the others: (*, N, k)."""
    k = student.shape[-2]
    total = torch.zeros_like(student[..., 0])
    others = 1 - torch.eye(k, dtype=student.dtype, device=student.device)
    for j in range(k):
        counted = others[j]
        if isinstance(factors.share, Tensor):
            counted = counted * (factors.share[..., j : j + 1] > 0)
        total = total + counted * measure(student, source[..., j : j + 1, :])
    return total / per_expert(teachers.n_others(factors.size))


def _reduce(loss: Tensor, gate_weights: Tensor | None, factors: LossFactors, pair_scale: bool) -> Tensor:
    """Weighted sum over the experts, weighted mean over the samples: (*, N, k) → (*)."""
    weights = factors.share
    if gate_weights is not None:
        weights = gate_weights * (weights > 0) if isinstance(weights, Tensor) else gate_weights
    return ((loss * weights).sum(-1) * factors.row_factor(pair_scale)).sum(-1)
