"""First and second derivatives of the loss, and `torch.func`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from distilled_experts.functional import combine, mutual_distillation
from distilled_experts.functional.options import TEACHERS


def case(layout: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (2, 3, 2, 4) if layout == "experts first" else (2, 4, 3, 2)
    outputs = torch.randn(shape, generator=generator, dtype=torch.float64)
    outputs = outputs.movedim(-1, -3) if layout == "experts first" else outputs
    weights = torch.rand(2, 4, 3, generator=generator, dtype=torch.float64)
    mask = torch.rand(2, 4, 3, generator=generator) < 0.8
    mask[0, 0] = False
    sample_weight = torch.rand(4, generator=generator, dtype=torch.float64)
    return outputs.requires_grad_(), weights.requires_grad_(), mask, sample_weight


@pytest.mark.parametrize("options", [{}, {"pair_scale": True}, {"distillation": False}])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("layout", ["samples first", "experts first"])
def test_fused_derivatives(layout: str, masked: bool, weighted: bool, options: dict[str, Any]) -> None:
    outputs, weights, mask, sample_weight = case(layout)

    def function(outputs: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
        found = combine(
            outputs,
            weights,
            mask if masked else None,
            sample_weight=sample_weight if weighted else None,
            **options,
        )
        return tuple(part for part in found if part is not None)

    assert gradcheck(function, (outputs, weights))
    assert gradgradcheck(function, (outputs, weights))


@pytest.mark.parametrize("distance", ["mse", "kl", "cosine"])
@pytest.mark.parametrize("teacher", TEACHERS)
def test_other_derivatives(distance: str, teacher: str) -> None:
    outputs, weights, mask, sample_weight = case("samples first")

    def function(outputs: Tensor, weights: Tensor) -> Tensor:
        return mutual_distillation(
            outputs, weights, sample_weight, mask, distance=distance, teacher=teacher, weighting="gate"
        )

    assert gradcheck(function, (outputs, weights))
    assert gradgradcheck(function, (outputs, weights))


def test_derivative_of_one_of_the_two_results() -> None:
    outputs, weights, mask, _ = case("samples first")
    output, loss = combine(outputs, weights, mask)
    assert loss is not None
    (of_loss,) = torch.autograd.grad(loss.sum(), outputs, retain_graph=True)
    torch.testing.assert_close(of_loss, torch.autograd.grad(mutual_distillation(outputs, mask=mask).sum(), outputs)[0])
    (of_output,) = torch.autograd.grad(output.sum(), outputs)
    torch.testing.assert_close(of_output, (weights * mask).unsqueeze(-1).expand(outputs.shape))


def test_outputs_without_gradient() -> None:
    outputs, weights, _, _ = case("samples first")
    output, loss = combine(outputs.detach(), weights)
    assert loss is not None
    (output.sum() + loss.sum()).backward()
    assert weights.grad is not None
    torch.testing.assert_close(weights.grad, outputs.detach().sum(-1))


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_function_transforms() -> None:
    outputs, weights, _, _ = case("samples first")
    outputs, weights = outputs.detach(), weights.detach()
    expected_output, expected = combine(outputs, weights)
    assert expected is not None
    output, loss = torch.func.vmap(combine)(outputs, weights)
    torch.testing.assert_close(output, expected_output)
    torch.testing.assert_close(loss, expected)

    def loss_of_one(outputs: Tensor, weights: Tensor) -> Tensor:
        loss = combine(outputs, weights)[1]
        assert loss is not None
        return loss

    found = torch.func.vmap(torch.func.grad(loss_of_one))(outputs, weights)
    mean = outputs.mean(-2, keepdim=True)
    torch.testing.assert_close(found, 2 * (outputs - mean) / outputs[0].numel())
    jacobian = torch.func.jacrev(lambda weights: combine(outputs, weights)[0])(weights)
    assert jacobian.shape == (*output.shape, *weights.shape)
