"""The identities that follow from the definition of mutual distillation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from distilled_experts.functional import (
    combine,
    dense_gate,
    mutual_distillation,
    sparse_gate,
    sparse_gate_mask,
)
from distilled_experts.functional.options import DISTANCES, TEACHERS, WEIGHTINGS

Experts = tuple[Tensor, Tensor]
VARIANTS = [(d, t, w) for d in DISTANCES for t in TEACHERS for w in WEIGHTINGS]


@st.composite
def experts(draw: st.DrawFn, min_k: int = 2, max_k: int = 6) -> Experts:
    """Expert outputs (2, N, k, D) of any magnitude and gate weights (2, N, k) that sum to one, in float64."""
    n, k, width = draw(st.integers(1, 6)), draw(st.integers(min_k, max_k)), draw(st.integers(1, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    scale = 10.0 ** draw(st.integers(-3, 3))
    outputs = scale * torch.randn(2, n, k, width, generator=generator, dtype=torch.float64)
    scores = torch.randn(2, n, k, generator=generator, dtype=torch.float64)
    return outputs.requires_grad_(), scores.softmax(-1).requires_grad_()


def property_test(**strategies: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        return settings(max_examples=40)(given(**strategies)(test))

    return decorate


def close(a: Tensor, b: Tensor, unit: float = 1e-300) -> None:
    scale = max(float(a.detach().abs().max()), float(b.detach().abs().max()), unit)
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12 * scale)


def unit_of(distance: str) -> float:
    """What rounding is relative to: divergence and cosine are differences of numbers of size one."""
    return 1.0 if distance in ("kl", "cosine") else 1e-300


def loss_of(outputs: Tensor, weights: Tensor, **options: Any) -> Tensor:
    """The loss on the fused way where there is one."""
    loss = combine(outputs, weights, **options)[1]
    assert loss is not None
    return loss


def gradient(loss: Tensor, of: Tensor) -> Tensor:
    return torch.autograd.grad(loss.sum(), of, retain_graph=True)[0]


@property_test(case=experts())
def test_value_is_difference_of_squares_and_half_the_pairs(case: Experts) -> None:
    outputs, weights = case
    _, n, k, width = outputs.shape
    total = loss_of(outputs, weights) * n * k * width
    mean = outputs.mean(-2)
    close(total, (outputs.square().sum((-3, -2, -1)) - k * mean.square().sum((-2, -1))))
    differences = outputs.unsqueeze(-2) - outputs.unsqueeze(-3)
    close(total, differences.square().sum((-4, -3, -2, -1)) / (2 * k))


@property_test(case=experts())
def test_gradient_in_closed_form(case: Experts) -> None:
    outputs, weights = case
    _, n, k, width = outputs.shape
    expected = 2 * (outputs - outputs.mean(-2, keepdim=True)) / (n * k * width)
    close(gradient(loss_of(outputs, weights), outputs), expected)
    close(gradient(mutual_distillation(outputs), outputs), expected)


@property_test(case=experts())
def test_detaching_the_mean_changes_no_gradient(case: Experts) -> None:
    outputs, _ = case
    attached = gradient(mutual_distillation(outputs), outputs)
    close(gradient(mutual_distillation(outputs, detach_teacher=True), outputs), attached)


@property_test(case=experts())
def test_peers_and_leave_one_out_rescale(case: Experts) -> None:
    outputs, weights = case
    k = outputs.shape[-2]
    mean = mutual_distillation(outputs)
    for teacher, factor in (("peers", 2 * k / (k - 1)), ("leave_one_out", (k / (k - 1)) ** 2)):
        loss = mutual_distillation(outputs, teacher=teacher)
        close(loss, factor * mean)
        close(gradient(loss, outputs), factor * gradient(mean, outputs))
    close(loss_of(outputs, weights, pair_scale=True), 2 * k / (k - 1) * mean)


@property_test(case=experts(max_k=2))
def test_two_experts(case: Experts) -> None:
    outputs, weights = case
    first, second = outputs.unbind(-2)
    between = (first - second).square().mean((-2, -1))
    close(loss_of(outputs, weights), between / 4)
    close(loss_of(outputs, weights, pair_scale=True), between)


@property_test(case=experts(), seed=st.integers(0, 1000))
def test_local_expert_loss(case: Experts, seed: int) -> None:
    """Gate weights and gate teacher at α = 1: the local-expert loss of Jacobs et al. (1991)."""
    outputs, weights = case
    generator = torch.Generator().manual_seed(seed)
    target = torch.randn(outputs[..., 0, :].shape, generator=generator, dtype=torch.float64)
    output, loss = combine(outputs, weights, teacher="gate", weighting="gate")
    assert loss is not None
    total = (output - target).square().mean((-2, -1)) + loss
    local = ((outputs - target.unsqueeze(-2)).square().mean(-1) * weights).sum(-1).mean(-1)
    close(total, local)
    for inputs in (outputs, weights):
        # The weights' gradients differ by a constant for each sample, which a softmax ignores.
        a, b = gradient(total, inputs), gradient(local, inputs)
        axis = -1 if inputs is weights else ()
        close(a - a.mean(-1, keepdim=True) if axis else a, b - b.mean(-1, keepdim=True) if axis else b)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("distance", DISTANCES)
def test_strength_zero_is_plain_to_the_bit(distance: str, masked: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    outputs = torch.randn(2, 5, 3, 7, generator=generator).movedim(-1, -3).requires_grad_()
    weights = torch.rand(2, 7, 5, generator=generator).requires_grad_()
    mask = torch.rand(2, 7, 5, generator=generator) < 0.6 if masked else None
    plain, none = combine(outputs, weights, mask, distillation=False)
    distilled, loss = combine(outputs, weights, mask, distance=distance)
    assert none is None
    assert loss is not None
    assert torch.equal(plain, distilled)
    inputs = (outputs, weights)
    expected = torch.autograd.grad(plain.sin().sum(), inputs, retain_graph=True)
    found = torch.autograd.grad(distilled.sin().sum() + 0.0 * loss.sum(), inputs, retain_graph=True)
    unused = torch.autograd.grad(distilled.sin().sum(), inputs)
    for a, b, c in zip(expected, found, unused, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)
        assert a.stride() == b.stride()


@pytest.mark.parametrize(("distance", "teacher", "weighting"), VARIANTS)
def test_identical_experts_give_zero(distance: str, teacher: str, weighting: str) -> None:
    generator = torch.Generator().manual_seed(3)
    outputs = torch.randn(4, 1, 6, generator=generator).expand(4, 5, 6).clone().requires_grad_()
    weights = torch.rand(4, 5, generator=generator)
    loss = loss_of(outputs, weights, distance=distance, teacher=teacher, weighting=weighting)
    assert abs(loss.item()) < 1e-6
    assert float(gradient(loss, outputs).abs().max()) < 1e-6


@property_test(case=experts(), variant=st.sampled_from(VARIANTS), seed=st.integers(0, 1000))
def test_order_of_experts_does_not_matter(case: Experts, variant: tuple[str, str, str], seed: int) -> None:
    outputs, weights = case
    distance, teacher, weighting = variant
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(outputs.shape[-2], generator=generator)
    mask = torch.rand(weights.shape, generator=generator) < 0.7
    options: dict[str, Any] = {"distance": distance, "teacher": teacher, "weighting": weighting}
    output, loss = combine(outputs, weights, mask, **options)
    again, same = combine(outputs[..., order, :], weights[..., order], mask[..., order], **options)
    assert loss is not None
    assert same is not None
    close(output, again)
    close(loss, same, unit_of(distance))


@property_test(n=st.integers(1, 6), k=st.integers(1, 12), seed=st.integers(0, 1000))
def test_all_experts_active_is_the_dense_gate(n: int, k: int, seed: int) -> None:
    scores = torch.randn(n, k, generator=torch.Generator().manual_seed(seed))
    weights, mask = sparse_gate_mask(scores, k)
    assert torch.equal(weights, dense_gate(scores))
    assert mask.all()
    selected, indices = sparse_gate(scores, k)
    torch.testing.assert_close(torch.zeros(n, k).scatter(-1, indices, selected), dense_gate(scores))


@property_test(case=experts(min_k=1), variant=st.sampled_from(VARIANTS), seed=st.integers(0, 1000))
def test_mask_equals_leaving_experts_out(case: Experts, variant: tuple[str, str, str], seed: int) -> None:
    """A dense computation with a mask equals the sparse one over the selected experts."""
    outputs, weights = case
    distance, teacher, weighting = variant
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(weights.shape, generator=generator, dtype=torch.float64)
    active = 1 + seed % outputs.shape[-2]
    dense_weights, mask = sparse_gate_mask(scores, active)
    sparse_weights, indices = sparse_gate(scores, active)
    chosen = outputs.gather(-2, indices.unsqueeze(-1).expand(*indices.shape, outputs.shape[-1]))
    options: dict[str, Any] = {"distance": distance, "teacher": teacher, "weighting": weighting}
    output, loss = combine(outputs, dense_weights, mask, **options)
    expected, expected_loss = combine(chosen, sparse_weights, **options)
    assert loss is not None
    assert expected_loss is not None
    close(output, expected)
    close(loss, expected_loss, unit_of(distance))


@property_test(case=experts())
def test_relative_distance_does_not_see_the_scale(case: Experts) -> None:
    outputs, weights = case
    loss = loss_of(outputs, weights, distance="relative")
    close(loss_of(1000 * outputs, weights, distance="relative"), loss)


@property_test(case=experts(), k=st.integers(1, 4))
def test_sample_weights_count_samples(case: Experts, k: int) -> None:
    outputs, weights = case
    doubled = loss_of(torch.cat([outputs, outputs[:, :1]], 1), torch.cat([weights, weights[:, :1]], 1))
    counts = torch.ones(outputs.shape[1])
    counts[0] = 2
    close(loss_of(outputs, weights, sample_weight=counts), doubled)
    close(loss_of(outputs, weights, sample_weight=k * counts), doubled)


@pytest.mark.parametrize("step", [1e-1, 1e-2, 1e-3, 1e-4])
def test_no_digits_are_lost_where_experts_agree(step: float) -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(256, 1, 64, generator=generator) + step * torch.randn(256, 4, 64, generator=generator)
    expected = float(mutual_distillation(outputs.double()))
    weights = torch.full((256, 4), 0.25)
    assert float(loss_of(outputs, weights)) == pytest.approx(expected, rel=1e-5)
    assert float(mutual_distillation(outputs)) == pytest.approx(expected, rel=1e-5)
