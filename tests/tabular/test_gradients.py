"""Gradient norms of single samples against torch.func, one model, sample and expert at a time."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from distilled_experts.functional import mutual_distillation
from distilled_experts.tabular.gradients import gradient_norms
from distilled_experts.tabular.network import StackedMixture

EXPERT_PARAMETERS = ("hidden_weight", "hidden_bias", "output_weight", "output_bias")
ALPHA = torch.tensor([[0.0, 0.7, 30.0], [0.1, 1.0, 3.0]], dtype=torch.float64)


def build(task: str, n_experts: int, top_k: int | None) -> tuple[StackedMixture, torch.Tensor, torch.Tensor]:
    """A stack whose members differ, rows of both groups and their targets."""
    generator = torch.Generator().manual_seed(0)
    stack = StackedMixture([0, 1], 3, 4, 3, n_experts=n_experts, hidden=5, top_k=top_k, dtype=torch.float64)
    with torch.no_grad():
        for p in stack.parameters():
            p += 0.5 * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    x = torch.randn(2, 6, 4, generator=generator, dtype=torch.float64)
    codes = torch.randint(3, (2, 6), generator=generator)
    target = codes if task == "classification" else torch.randn(2, 6, 3, generator=generator, dtype=torch.float64)
    return stack, x, target


def by_torch_func(stack, x, target, alpha, task, **options) -> tuple[np.ndarray, np.ndarray]:
    """Norms (S, A, B, E) of task loss and whole loss; the mixture is written out, its gate is the stack's."""
    S, A = stack.stack_shape
    weights, active = stack(x).weights.detach(), stack(x).active

    def losses(params, row, truth, gate, mask, strength):
        hidden = (torch.einsum("ehd,d->eh", params["hidden_weight"], row) + params["hidden_bias"]).relu()
        experts = torch.einsum("ech,eh->ec", params["output_weight"], hidden) + params["output_bias"]
        mixture = gate @ experts
        loss = F.cross_entropy(mixture, truth) if task == "classification" else (mixture - truth).square().mean()
        return loss, loss + strength * mutual_distillation(experts[None], mask=mask[None], **options)

    norms = np.zeros((2, *weights.shape))
    for s, a in np.ndindex(S, A):
        params = {name: getattr(stack, name).detach()[s, a] for name in EXPERT_PARAMETERS}
        for b in range(x.shape[1]):
            mask = torch.ones_like(weights[s, a, b], dtype=torch.bool) if active is None else active[s, a, b]
            arguments = (params, x[s, b], target[s, b], weights[s, a, b], mask, alpha[s, a])
            jacobians = torch.func.jacrev(losses)(*arguments)
            for which, gradients in enumerate(jacobians):
                square = sum(g.flatten(1).square().sum(1) for g in gradients.values())
                norms[which, s, a, b] = square.sqrt().numpy()
    return norms[0], norms[1]


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize(("n_experts", "top_k"), [(4, None), (4, 2), (4, 1), (2, None), (1, None)])
def test_norms_are_those_of_torch_func(task, n_experts, top_k):
    stack, x, target = build(task, n_experts, top_k)
    norms = gradient_norms(stack, x, target, ALPHA, task=task, chunk=4)
    expected_task, expected_whole = by_torch_func(stack, x, target, ALPHA, task)
    np.testing.assert_allclose(norms.task, expected_task, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(norms.whole, expected_whole, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(norms.task[0, 0], norms.whole[0, 0])  # α = 0


@pytest.mark.parametrize("options", [{"teacher": "leave_one_out"}, {"teacher": "peers"}, {"distance": "kl"}])
def test_other_teachers_and_distances(options):
    stack, x, target = build("classification", 4, 2)
    norms = gradient_norms(stack, x, target, ALPHA, task="classification", **options)
    expected = by_torch_func(stack, x, target, ALPHA, "classification", **options)[1]
    np.testing.assert_allclose(norms.whole, expected, rtol=1e-9, atol=1e-12)


def test_sample_weights_are_factors():
    stack, x, target = build("regression", 4, None)
    weight = torch.tensor([[1.0, 2.0, 0.0, 3.0, 1.0, 5.0], [1.0] * 6], dtype=torch.float64)
    plain = gradient_norms(stack, x, target, ALPHA, task="regression")
    weighted = gradient_norms(stack, x, target, ALPHA, task="regression", sample_weight=weight)
    factor = (weight / weight.mean(1, keepdim=True)).numpy()[:, None, :, None]
    for name in ("task", "whole"):
        np.testing.assert_allclose(getattr(weighted, name), getattr(plain, name) * factor, rtol=1e-9)


def test_norms_leave_the_network_and_the_precision_of_its_weights_alone():
    stack = StackedMixture([0], 1, 4, 3, n_experts=3, hidden=5)
    before = [p.clone() for p in stack.parameters()]
    with torch.no_grad():
        norms = gradient_norms(stack, torch.ones(1, 2, 4), torch.zeros(1, 2, 3), torch.ones(1, 1), task="regression")
    assert norms.whole.dtype == np.float64
    for p, old in zip(stack.parameters(), before, strict=True):
        assert p.grad is None
        assert torch.equal(p, old)


def test_a_thousand_digits_take_less_than_two_seconds():
    stack = StackedMixture([0], 1, 64, 10, n_experts=4, hidden=64)
    x = torch.rand(1, 1000, 64, generator=torch.Generator().manual_seed(0))
    target = torch.arange(1000)[None] % 10
    start = time.perf_counter()
    gradient_norms(stack, x, target, torch.ones(1, 1), task="classification")
    assert time.perf_counter() - start < 2
