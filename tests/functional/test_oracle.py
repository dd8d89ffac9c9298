"""Fast functions against the slow reference: values and all gradients, in float64, at odd sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from distilled_experts import functional, reference
from distilled_experts.functional.options import DISTANCES, TEACHERS, WEIGHTINGS

LEADS = [(), (2,), (2, 1)]
LAYOUTS = ["samples first", "experts first"]


def make_case(
    lead: tuple[int, ...], n: int, k: int, width: int, layout: str, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Expert outputs, weights, mask and sample weights; only strides depend on the layout."""
    generator = torch.Generator().manual_seed(seed)
    if layout == "experts first":
        outputs = torch.randn(*lead, k, width, n, generator=generator, dtype=torch.float64).movedim(-1, -3)
    else:
        outputs = torch.randn(*lead, n, k, width, generator=generator, dtype=torch.float64)
    weights = torch.rand(*lead, n, k, generator=generator, dtype=torch.float64) + 0.1
    mask = torch.rand(*lead, n, k, generator=generator) < 0.7
    mask[..., :1, :] = False
    sample_weight = torch.rand(*lead, n, generator=generator, dtype=torch.float64)
    return outputs.requires_grad_(), weights.requires_grad_(), mask, sample_weight


def gradients(output: Tensor, loss: Tensor, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(7)
    probe = torch.randn(output.shape, generator=generator, dtype=output.dtype)
    strengths = torch.randn(loss.shape, generator=generator, dtype=loss.dtype)
    total = (output * probe).sum() + (loss * strengths).sum()
    found = torch.autograd.grad(total, inputs, materialize_grads=True)
    return list(found)


def check(outputs: Tensor, weights: Tensor, mask: Tensor | None, **options: Any) -> None:
    fast = functional.combine(outputs, weights, mask, **options)
    slow = reference.combine(outputs, weights, mask, **options)
    assert fast[1] is not None
    torch.testing.assert_close(fast[0], slow[0])
    torch.testing.assert_close(fast[1], slow[1])
    for a, b in zip(gradients(fast[0], fast[1], (outputs, weights)), gradients(*slow, (outputs, weights)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("detach_teacher", [False, True])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("teacher", TEACHERS)
@pytest.mark.parametrize("distance", DISTANCES)
def test_every_variant(distance: str, teacher: str, weighting: str, detach_teacher: bool) -> None:
    outputs, weights, mask, sample_weight = make_case((2,), 5, 3, 3, "experts first")
    options = {
        "distance": distance,
        "teacher": teacher,
        "weighting": weighting,
        "detach_teacher": detach_teacher,
        "temperature": 1.7,
    }
    check(outputs, weights, None, **options)
    check(outputs, weights, mask, sample_weight=sample_weight, **options)


@given(
    lead=st.sampled_from(LEADS),
    n=st.integers(1, 5),
    k=st.integers(1, 5),
    width=st.integers(1, 5),
    layout=st.sampled_from(LAYOUTS),
    distance=st.sampled_from(["mse", "relative"]),
    masked=st.booleans(),
    weighted=st.booleans(),
    pair_scale=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60)
def test_fused_way(
    lead: tuple[int, ...],
    n: int,
    k: int,
    width: int,
    layout: str,
    distance: str,
    masked: bool,
    weighted: bool,
    pair_scale: bool,
    seed: int,
) -> None:
    outputs, weights, mask, sample_weight = make_case(lead, n, k, width, layout, seed)
    check(
        outputs,
        weights,
        mask if masked else None,
        sample_weight=sample_weight if weighted else None,
        distance=distance,
        pair_scale=pair_scale,
    )


def test_shared_mask_and_sample_weights_broadcast_over_models() -> None:
    outputs, weights, mask, sample_weight = make_case((3,), 5, 3, 2, "experts first")
    check(outputs, weights, mask[0], sample_weight=sample_weight[0])
    check(outputs, weights, None, sample_weight=sample_weight[0], teacher="peers")


def test_gradient_of_sample_weights() -> None:
    outputs, weights, mask, sample_weight = make_case((), 5, 3, 2, "samples first")
    sample_weight.requires_grad_()
    losses = [
        package.combine(outputs, weights, mask, sample_weight=sample_weight)[1] for package in (functional, reference)
    ]
    found, expected = (torch.autograd.grad(loss, sample_weight)[0] for loss in losses)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_low_precision_sums_in_float32(dtype: torch.dtype) -> None:
    outputs, weights, mask, _ = make_case((), 50, 4, 33, "samples first")
    low = outputs.detach().to(dtype).requires_grad_()
    low_weights = weights.detach().to(dtype)
    output, loss = functional.combine(low, low_weights, mask)
    expected, expected_loss = functional.combine(low.detach().double(), low_weights.double(), mask)
    assert loss is not None
    assert expected_loss is not None
    assert (output.dtype, loss.dtype) == (dtype, torch.float32)
    assert loss.item() == pytest.approx(expected_loss.item(), rel=1e-6)
    torch.testing.assert_close(output, expected.to(dtype))
    (gradient,) = torch.autograd.grad(loss, low)
    assert gradient.dtype == dtype
