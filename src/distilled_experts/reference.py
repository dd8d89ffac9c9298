"""Slow and obvious versions of `functional` and of the layers: the oracle that tests compare with.

One sample, one expert at a time, straight from the definitions. Gradients come from autograd. Only tests and
the documentation import this module.

Legend: N samples, k or E experts, D output width; leading axes are walked one index at a time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor


def combine(
    expert_outputs: Tensor,
    weights: Tensor,
    mask: Tensor | None = None,
    *,
    sample_weight: Tensor | None = None,
    distance: str = "mse",
    teacher: str = "mean",
    weighting: str = "uniform",
    detach_teacher: bool = False,
    temperature: float = 1.0,
    pair_scale: bool = False,
) -> tuple[Tensor, Tensor]:
    """Oracle of `functional.combine`."""
    *lead, n_samples, k, width = expert_outputs.shape
    active = _full(mask, True, (*lead, n_samples, k))
    outputs = []
    for at in _indices((*lead, n_samples)):
        mixed = expert_outputs.new_zeros(width)
        for i in range(k):
            if active[*at, i]:
                mixed = mixed + weights[*at, i] * expert_outputs[*at, i]
        outputs.append(mixed)
    loss = mutual_distillation(
        expert_outputs,
        weights,
        sample_weight,
        mask,
        distance=distance,
        teacher=teacher,
        weighting=weighting,
        detach_teacher=detach_teacher,
        temperature=temperature,
        pair_scale=pair_scale,
    )
    return torch.stack(outputs).reshape(*lead, n_samples, width), loss


def mutual_distillation(
    expert_outputs: Tensor,
    gate_weights: Tensor | None = None,
    sample_weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    distance: str = "mse",
    teacher: str = "mean",
    weighting: str = "uniform",
    detach_teacher: bool = False,
    temperature: float = 1.0,
    pair_scale: bool = False,
) -> Tensor:
    """Oracle of `functional.mutual_distillation`."""
    *lead, n_samples, k, _ = expert_outputs.shape
    compared = _full(mask, True, (*lead, n_samples, k))
    rows = _full(sample_weight, 1.0, (*lead, n_samples)).to(expert_outputs.dtype)
    gates = _full(gate_weights, 1.0, (*lead, n_samples, k)).to(expert_outputs.dtype)
    losses = []
    for model in _indices(lead):
        total, weight, size = 0 * expert_outputs[model].sum(), torch.zeros(()), torch.zeros(())
        for n in range(n_samples):
            members = [i for i in range(k) if compared[*model, n, i]]
            if not members:
                continue
            outputs = expert_outputs[*model, n][members]
            weight = weight + rows[*model, n]
            size = size + rows[*model, n] * outputs.detach().mean(0).square().mean()
            gate = gates[*model, n][members]
            row = _row_loss(outputs, gate, distance, teacher, weighting, detach_teacher, temperature)
            if pair_scale and len(members) > 1:
                row = row * 2 * len(members) / (len(members) - 1)
            total = total + rows[*model, n] * row
        if weight != 0:
            total = total / weight
        if distance == "relative" and size != 0:
            total = total / (size / weight)
        losses.append(total)
    return torch.stack(losses).reshape(lead)


def _row_loss(
    outputs: Tensor,
    gate: Tensor,
    distance: str,
    teacher: str,
    weighting: str,
    detach: bool,
    temperature: float,
) -> Tensor:
    """Loss of one sample: outputs (|C|, D), gate (|C|)."""
    if len(outputs) == 1:
        return outputs.sum() * 0
    measure, source = _measure(distance, outputs, temperature)
    teachers = _teachers(source.detach(), gate.detach(), teacher) if detach else _teachers(source, gate, teacher)
    loss = outputs.sum() * 0
    for i, targets in enumerate(teachers):
        weight = gate[i] if weighting == "gate" else 1 / len(outputs)
        for target in targets:
            loss = loss + weight * measure(outputs[i], target) / len(targets)
    return loss


def _teachers(source: Tensor, gate: Tensor, teacher: str) -> Iterator[list[Tensor]]:
    """Give, for each expert in turn, the list of its teachers."""
    n = len(source)
    for i in range(n):
        others = [source[j] for j in range(n) if j != i]
        if teacher == "mean":
            yield [torch.stack(list(source)).mean(0)]
        elif teacher == "gate":
            yield [sum((gate[j] * source[j] for j in range(n)), torch.zeros(())) / gate.sum()]
        elif teacher == "leave_one_out":
            yield [torch.stack(others).mean(0)]
        else:
            assert teacher == "peers", teacher
            yield others


def _measure(distance: str, outputs: Tensor, temperature: float) -> tuple[Callable[[Tensor, Tensor], Tensor], Tensor]:
    """Give the distance of an expert's output from a teacher, and what teachers are averaged from."""
    if distance == "kl":

        def divergence(student: Tensor, target: Tensor) -> Tensor:
            probabilities = (student / temperature).softmax(-1)
            return temperature * temperature * (target * (target / probabilities).log()).sum()

        return divergence, (outputs / temperature).softmax(-1)
    if distance == "cosine":
        return _cosine_distance, outputs
    assert distance in ("mse", "relative"), distance
    return lambda student, target: ((student - target) ** 2).mean(), outputs


def _cosine_distance(student: Tensor, target: Tensor) -> Tensor:
    lengths: Tensor = student.norm() * target.norm()
    return 1 - student @ target / lengths


def sparse_gate(scores: Tensor, k: int, *, renormalise: bool = True) -> tuple[Tensor, Tensor]:
    """Oracle of `functional.sparse_gate`: sort by falling score, then by index."""
    *lead, _ = scores.shape
    weights, indices = [], []
    for at in _indices(lead):
        row = scores[at]
        order = [i for _, i in sorted((-score, i) for i, score in enumerate(row.tolist()))][:k]
        exponentials = row.exp()
        chosen = exponentials[order]
        weights.append(chosen / (chosen.sum() if renormalise else exponentials.sum()))
        indices.append(torch.tensor(order))
    return torch.stack(weights).reshape(*lead, k), torch.stack(indices).reshape(*lead, k)


class StackedExperts(Protocol):
    """Weights as `layers.Experts` holds them."""

    up: Tensor
    up_bias: Tensor | None
    down: Tensor
    down_bias: Tensor | None


def mlp(experts: StackedExperts, activation: str, x: Tensor) -> Tensor:
    """Oracle of `layers.Experts`: (N, d_in) → (N, E, d_out)."""
    rows = []
    for sample in x:
        outputs = []
        for i in range(len(experts.up)):
            hidden = experts.up[i] @ sample
            if experts.up_bias is not None:
                hidden = hidden + experts.up_bias[i]
            output = experts.down[i] @ _activate(hidden, activation)
            outputs.append(output if experts.down_bias is None else output + experts.down_bias[i])
        rows.append(torch.stack(outputs))
    return torch.stack(rows)


class Convolutions(Protocol):
    """Stacked weights of convolutional experts, as `vision.ConvolutionExperts` holds them."""

    up: Tensor
    up_bias: Tensor
    down: Tensor
    down_bias: Tensor


def convolutions(experts: Convolutions, maps: Tensor) -> Tensor:
    """Oracle of `vision.ConvolutionExperts`: (N, C, h, w) → (N, E, C, h, w)."""
    outputs = []
    for up, up_bias, down, down_bias in zip(experts.up, experts.up_bias, experts.down, experts.down_bias, strict=True):
        outputs.append(_convolution(_convolution(maps, up, up_bias).clamp_min(0), down, down_bias))
    return torch.stack(outputs, 1)


def _convolution(maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Three by three, zeros around: each output pixel is a sum over its nine neighbours."""
    _, _, height, width = maps.shape
    padded = maps.new_zeros(*maps.shape[:2], height + 2, width + 2)
    padded[:, :, 1:-1, 1:-1] = maps
    output = bias[:, None, None].expand(len(maps), -1, height, width)
    for row, column in itertools.product(range(3), range(3)):
        neighbours = padded[:, :, row : row + height, column : column + width]
        output = output + torch.einsum("nchw,oc->nohw", neighbours, weight[:, :, row, column])
    return output


def _activate(hidden: Tensor, activation: str) -> Tensor:
    if activation == "relu":
        return hidden.clamp_min(0)
    if activation == "gelu":
        return hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
    gate, up = hidden[: len(hidden) // 2], hidden[len(hidden) // 2 :]
    return gate * gate.sigmoid() * up


def load_balance(probabilities: Tensor, mask: Tensor) -> Tensor:
    """Oracle of `functional.load_balance` without leading axes."""
    n_samples, n_experts = probabilities.shape
    loss = probabilities.sum() * 0
    for i in range(n_experts):
        assigned = sum(bool(mask[n, i]) for n in range(n_samples)) / int(mask.sum())
        loss = loss + n_experts * assigned * probabilities[:, i].mean()
    return loss


def z_loss(scores: Tensor) -> Tensor:
    """Oracle of `functional.z_loss` without leading axes."""
    return torch.stack([row.exp().sum().log() ** 2 for row in scores]).mean()


def importance(weights: Tensor) -> Tensor:
    """Oracle of `functional.importance` without leading axes."""
    totals = torch.stack([weights[:, i].sum() for i in range(weights.shape[1])])
    return ((totals - totals.mean()) ** 2).mean() / totals.mean() ** 2


def orthogonality(expert_outputs: Tensor, mask: Tensor | None = None) -> Tensor:
    """Oracle of `functional.orthogonality` without leading axes."""
    n_samples, k, _ = expert_outputs.shape
    compared = _full(mask, True, (n_samples, k))
    rows = []
    for n in range(n_samples):
        members = [expert_outputs[n, i] for i in range(k) if compared[n, i]]
        if members:
            pairs = [(a @ b / (a.norm() * b.norm())) ** 2 for a, b in itertools.combinations(members, 2)]
            rows.append(torch.stack(pairs).mean() if pairs else expert_outputs.sum() * 0)
    return torch.stack(rows).mean() if rows else expert_outputs.sum() * 0


def _full(values: Tensor | None, default: float, shape: Sequence[int]) -> Tensor:
    return torch.full(tuple(shape), default) if values is None else values.expand(*shape)


def _indices(shape: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return itertools.product(*(range(size) for size in shape))
