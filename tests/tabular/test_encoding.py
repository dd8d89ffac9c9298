"""The piecewise-linear encoding against interpolation, and in a stack."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distilled_experts.tabular.encoding import PiecewiseLinear
from distilled_experts.tabular.network import StackedMixture


@given(seed=st.integers(0, 99), n_pieces=st.integers(2, 9), rounding=st.sampled_from([0, 1, 8]))
def test_sum_of_the_pieces_is_the_interpolated_rank(seed, n_pieces, rounding):
    values = np.random.default_rng(seed).normal(size=50).round(rounding)
    encoding = PiecewiseLinear.fit(values[:, None], np.array([0]), n_pieces)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, n_pieces + 1), method="averaged_inverted_cdf"))
    if len(edges) < 3:
        assert encoding.n_pieces == 0
        return
    assert encoding.n_pieces == len(edges) - 1
    grid = torch.linspace(-9, 9, 101, dtype=torch.float64)[:, None]
    filled = encoding(grid)[:, 1:] + encoding.mean
    expected = np.interp(grid[:, 0], edges, np.arange(len(edges)))
    np.testing.assert_allclose(filled.sum(1), expected, atol=1e-12)


def test_features_have_mean_zero_and_only_numbers_are_encoded():
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=90), rng.integers(2, size=90), rng.exponential(size=90)])
    encoding = PiecewiseLinear.fit(x, np.array([0, 1, 2]), 4)
    assert encoding.source.tolist() == [0] * 4 + [2] * 4
    encoded = encoding(torch.from_numpy(x))
    torch.testing.assert_close(encoded[:, :3], torch.from_numpy(x))
    torch.testing.assert_close(encoded[:, 3:].mean(0), torch.zeros(8, dtype=torch.float64), atol=1e-12, rtol=0)


def test_weights_are_repeated_rows():
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(40, 2)), rng.integers(1, 4, size=40).astype(float)
    weighted = PiecewiseLinear.fit(x, np.array([0, 1]), 5, weight)
    repeated = PiecewiseLinear.fit(np.repeat(x, weight.astype(int), axis=0), np.array([0, 1]), 5)
    for name, values in weighted.state_dict().items():
        assert torch.equal(values, repeated.state_dict()[name])


@pytest.mark.parametrize("top_k", [None, 2])
def test_a_stack_with_an_encoding_is_one_on_encoded_rows(top_k):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 4))
    encoding = PiecewiseLinear.fit(x, np.array([1, 3]), 6)
    inside = StackedMixture([0, 1], 3, 4, 2, n_experts=3, hidden=5, top_k=top_k, encoding=encoding, dtype=torch.float64)
    weights = {name: p.detach() for name, p in inside.named_parameters()}
    outside = StackedMixture.from_weights(weights, top_k=top_k)
    rows = torch.from_numpy(x).expand(2, -1, -1)
    torch.testing.assert_close(inside(rows).mixture(), outside(encoding(rows)).mixture())
    part = inside.select(groups=slice(1, 2))
    torch.testing.assert_close(part(rows[:1]).mixture(), inside(rows).mixture()[1:])
