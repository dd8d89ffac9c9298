"""Convolutional experts against the slow reference, alone and in the mixture, dense and sparse."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from distilled_experts import reference
from distilled_experts.errors import InvalidParameterError
from distilled_experts.functional import combine
from distilled_experts.layers import forced_expert
from distilled_experts.vision import ConvolutionExperts, convolution_mixture
from distilled_experts.vision.convolution import maps_of, rows_of

SIZE = (5, 3)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def samples(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64).requires_grad_()


def by_expert(rows_NEI: Tensor, channels: int) -> Tensor:
    """(N, E, h·w·C) → (N, E, C, h, w)."""
    return torch.stack([maps_of(rows, channels, SIZE) for rows in rows_NEI.unbind(1)], 1)


@given(n=st.integers(1, 4), channels=st.integers(1, 3), hidden=st.integers(1, 4), n_experts=st.integers(1, 4))
@settings(max_examples=15)
def test_values_and_gradients_are_those_of_the_reference(n, channels, hidden, n_experts):
    experts = ConvolutionExperts(channels, hidden=hidden, size=SIZE, n_experts=n_experts, generator=seeded(0)).double()
    maps = samples(n, channels, *SIZE)
    found, expected = by_expert(experts(rows_of(maps)), channels), reference.convolutions(experts, maps)
    torch.testing.assert_close(found, expected)
    probe, inputs = samples(*expected.shape, seed=2).detach(), [maps, *experts.parameters()]
    pairs = zip(*(torch.autograd.grad((out * probe).sum(), inputs) for out in (found, expected)), strict=True)
    for ours, slow in pairs:
        torch.testing.assert_close(ours, slow)


def test_sorted_rows_are_those_of_each_expert_alone():
    experts = ConvolutionExperts(2, hidden=3, size=SIZE, n_experts=3, generator=seeded(0)).double()
    rows = rows_of(samples(6, 2, *SIZE))
    everyone = experts(rows)
    chosen = torch.tensor([0, 0, 1, 1, 1, 2])
    torch.testing.assert_close(experts.run_sorted(rows, torch.tensor([2, 3, 1])), everyone[torch.arange(6), chosen])
    torch.testing.assert_close(experts.run_sorted(rows, torch.tensor([6, 0, 0])), everyone[:, 0])


@pytest.mark.parametrize("top_k", [None, 2, 3])
def test_the_mixture_weighs_the_experts_and_distils_the_active_ones(top_k):
    mixture = convolution_mixture(2, hidden=3, size=SIZE, n_experts=3, top_k=top_k, distance="relative").double()
    maps = samples(7, 2, *SIZE)
    out = mixture(rows_of(maps))
    said = torch.stack([rows_of(one) for one in reference.convolutions(mixture.experts, maps).unbind(1)], 1)
    routing = mixture.gate(rows_of(maps))
    expected = combine(said, routing.dense_weights(), routing.mask(), distance="relative")
    torch.testing.assert_close(out.output, expected[0])
    torch.testing.assert_close(out.distillation_loss, expected[1])


def test_an_expert_can_be_forced():
    mixture = convolution_mixture(2, hidden=3, size=SIZE, n_experts=3, top_k=2).double()
    rows = rows_of(samples(4, 2, *SIZE))
    with forced_expert(mixture, 1):
        torch.testing.assert_close(mixture(rows).output, mixture.experts(rows)[:, 1])


def test_channels_last_is_not_copied():
    maps = torch.randn(2, 3, *SIZE).contiguous(memory_format=torch.channels_last)
    rows = rows_of(maps)
    assert rows.data_ptr() == maps.data_ptr() == maps_of(rows, 3, SIZE).data_ptr()


def test_bad_sizes_are_named():
    with pytest.raises(InvalidParameterError, match="hidden: 0 is not allowed"):
        ConvolutionExperts(2, hidden=0, size=SIZE, n_experts=3)
