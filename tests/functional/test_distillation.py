"""Edges of the loss: empty sets, lone experts, options that are not allowed."""

from __future__ import annotations

import pytest
import torch

from distilled_experts.errors import InvalidParameterError
from distilled_experts.functional import combine, mutual_distillation
from distilled_experts.functional.options import DISTANCES, TEACHERS


@pytest.mark.parametrize("teacher", TEACHERS)
@pytest.mark.parametrize("distance", DISTANCES)
def test_nothing_to_compare_gives_zero(distance: str, teacher: str) -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(5, 3, 4, generator=generator, requires_grad=True)
    weights = torch.rand(5, 3, generator=generator)
    nobody = torch.zeros(5, 3, dtype=torch.bool)
    lone = nobody.clone()
    lone[:, 1] = True
    cases = [
        (outputs, weights, nobody, None),
        (outputs, weights, lone, None),
        (outputs[:, :1], weights[:, :1], None, None),
        (outputs[:0], weights[:0], None, None),
        (outputs, weights, None, torch.zeros(5)),
    ]
    for experts, gates, mask, sample_weight in cases:
        output, loss = combine(experts, gates, mask, sample_weight=sample_weight, distance=distance, teacher=teacher)
        assert loss is not None
        assert loss.item() == 0
        (gradient,) = torch.autograd.grad(output.sum() * 0 + loss, outputs)
        assert not gradient.any()


def test_rows_without_experts_leave_the_mean() -> None:
    outputs = torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(6, 3, dtype=torch.bool)
    mask[4:] = False
    torch.testing.assert_close(mutual_distillation(outputs, mask=mask), mutual_distillation(outputs[:4]))


def test_lone_experts_stay_in_the_mean() -> None:
    outputs = torch.randn(4, 3, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(4, 3, dtype=torch.bool)
    mask[2:, 1:] = False
    torch.testing.assert_close(mutual_distillation(outputs, mask=mask), mutual_distillation(outputs[:2]) / 2)


def test_compared_set_may_be_larger_than_the_active_one() -> None:
    generator = torch.Generator().manual_seed(0)
    outputs, weights = torch.randn(4, 3, 2, generator=generator), torch.rand(4, 3, generator=generator)
    active = torch.tensor([True, False, False]).expand(4, 3)
    everyone = torch.ones(4, 3, dtype=torch.bool)
    output, loss = combine(outputs, weights, active, compared=everyone)
    torch.testing.assert_close(output, weights[:, :1] * outputs[:, 0])
    torch.testing.assert_close(loss, mutual_distillation(outputs))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distance": "l1"}, "distance: 'l1' is not allowed; allowed: mse, relative, kl, cosine"),
        ({"teacher": "best"}, "teacher: 'best' is not allowed"),
        ({"weighting": "loss"}, "weighting: 'loss' is not allowed"),
        ({"temperature": 0.0}, "temperature: 0.0 is not allowed"),
        ({"temperature": float("nan")}, "temperature: nan is not allowed"),
        ({"teacher": "gate"}, "gate_weights: None is not allowed"),
    ],
)
def test_options_that_are_not_allowed(options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        mutual_distillation(torch.zeros(2, 3, 4), **options)


def test_unlikely_classes_do_not_overflow() -> None:
    logits = torch.tensor([[[500.0, -500.0], [-500.0, 500.0]]], requires_grad=True)
    loss = mutual_distillation(logits, distance="kl")
    assert torch.isfinite(loss)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.isfinite(gradient).all()
