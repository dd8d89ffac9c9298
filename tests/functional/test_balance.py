"""Balance losses and losses with the opposite aim, against the reference and at their limits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from distilled_experts import reference
from distilled_experts.functional import (
    gate_variance,
    importance,
    load_balance,
    orthogonality,
    sparse_gate_mask,
    z_loss,
)


@pytest.fixture
def scores() -> Tensor:
    return torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_against_the_reference(scores: Tensor) -> None:
    scores.requires_grad_()
    weights, mask = sparse_gate_mask(scores, 2)
    pairs = [
        (
            load_balance(scores.softmax(-1), mask),
            [reference.load_balance(s.softmax(-1), m) for s, m in zip(scores, mask, strict=True)],
        ),
        (z_loss(scores), [reference.z_loss(s) for s in scores]),
        (importance(weights), [reference.importance(w) for w in weights]),
    ]
    for found, expected in pairs:
        torch.testing.assert_close(found, torch.stack(expected))
        a = torch.autograd.grad(found.sum(), scores, retain_graph=True)[0]
        b = torch.autograd.grad(torch.stack(expected).sum(), scores, retain_graph=True)[0]
        torch.testing.assert_close(a, b)


def test_padding_does_not_count(scores: Tensor) -> None:
    weights, mask = sparse_gate_mask(scores, 2)
    real = torch.tensor([1, 1, 1, 1, 0, 0, 0])
    probabilities = scores.softmax(-1)
    torch.testing.assert_close(load_balance(probabilities, mask, real), load_balance(probabilities[:, :4], mask[:, :4]))
    torch.testing.assert_close(z_loss(scores, real), z_loss(scores[:, :4]))
    torch.testing.assert_close(importance(weights, real), importance(weights[:, :4]))
    torch.testing.assert_close(gate_variance(weights, real), gate_variance(weights[:, :4]))
    outputs = scores.unsqueeze(-1) + torch.arange(3)
    torch.testing.assert_close(orthogonality(outputs, mask, real), orthogonality(outputs[:, :4], mask[:, :4]))


@pytest.mark.parametrize("k", [1, 2, 4])
def test_uniform_load_is_one_and_collapse_is_e_over_k(k: int) -> None:
    scores = torch.zeros(8, 4)
    for n in range(8):
        scores[n, [(n + j) % 4 for j in range(k)]] = 1e-6
    uniform = load_balance(scores.softmax(-1), sparse_gate_mask(scores, k)[1])
    assert float(uniform) == pytest.approx(1, abs=1e-5)
    collapsed = torch.zeros(8, 4)
    collapsed[:, :k] = 100
    loss = load_balance(collapsed.softmax(-1), sparse_gate_mask(collapsed, k)[1])
    assert float(loss) == pytest.approx(4 / k)


def test_no_samples_give_zero() -> None:
    empty = torch.zeros(0, 4)
    assert load_balance(empty, empty > 0) == 0
    assert z_loss(empty) == importance(empty) == gate_variance(empty) == 0


@pytest.mark.parametrize("masked", [False, True])
def test_orthogonality(masked: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    outputs = torch.randn(6, 4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(6, 4, generator=generator) < 0.7 if masked else None
    found, expected = orthogonality(outputs, mask), reference.orthogonality(outputs, mask)
    torch.testing.assert_close(found, expected)
    a, b = (torch.autograd.grad(loss, outputs)[0] for loss in (found, expected))
    torch.testing.assert_close(a, b)
    assert orthogonality(torch.ones(2, 3, 4)) == pytest.approx(1)
    assert orthogonality(torch.ones(2, 1, 4)) == 0


def test_gate_variance() -> None:
    weights = torch.rand(2, 9, 3, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(gate_variance(weights), -weights.var(1, correction=0).mean(-1))
