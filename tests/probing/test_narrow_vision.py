"""Narrow vision, on gradients whose distribution is known; norms in closed form against autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distilled_experts.probing import gradient_shares, narrow_vision, narrow_vision_index, two_layer_gradient_norms


def test_one_expert_for_each_class_is_the_narrowest_vision():
    subsets = np.array([0, 0, 1, 2, 2, 2])
    vision = narrow_vision(np.eye(3)[subsets] * 7, subsets, 3)
    np.testing.assert_array_equal(vision.shares, np.eye(3))
    np.testing.assert_array_equal(vision.sizes, [2, 1, 3])
    assert vision.index == 1


def test_experts_that_learn_alike_have_the_widest_vision():
    vision = narrow_vision(np.repeat(np.random.default_rng(0).random((10, 1)), 4, axis=1), np.arange(10) % 3, 3)
    np.testing.assert_allclose(vision.shares, 0.25)
    assert vision.index == pytest.approx(0, abs=1e-12)


def test_subsets_count_by_their_size():
    norms = np.array([[1.0, 0.0]] * 3 + [[1.0, 1.0]])
    assert narrow_vision(norms, np.array([0, 0, 0, 1]), 2).index == pytest.approx(0.75)


def test_subsets_without_samples_or_gradients_do_not_count():
    norms = np.array([[1.0, 0.0], [0.0, 0.0]])
    vision = narrow_vision(norms, np.array([0, 2]), 3)
    assert np.isnan(vision.shares[1:]).all()
    assert vision.index == 1
    assert np.isnan(narrow_vision(np.zeros((2, 2)), np.array([0, 1]), 2).index)


def test_one_expert_has_no_index():
    vision = narrow_vision(np.ones((2, 3, 1)), np.array([0, 1, 1]), 2)
    np.testing.assert_array_equal(vision.shares, np.ones((2, 2, 1)))
    assert vision.index.shape == (2,)
    assert np.isnan(vision.index).all()


@given(st.integers(0, 10_000), st.permutations(range(4)))
def test_ranges_and_names_of_experts(seed, order):
    rng = np.random.default_rng(seed)
    n, n_subsets = rng.integers(1, 30), rng.integers(1, 5)
    norms = rng.exponential(size=(2, n, 4)) * rng.integers(2, size=(2, n, 4))
    subsets = rng.integers(n_subsets, size=(2, n) if seed % 2 else n)
    vision = narrow_vision(norms, subsets, n_subsets)
    defined = ~np.isnan(vision.shares[..., 0])
    np.testing.assert_allclose(vision.shares.sum(-1)[defined], 1)
    assert ((vision.index >= 0) & (vision.index <= 1) | np.isnan(vision.index)).all()
    renamed = narrow_vision(norms[..., order], subsets, n_subsets)
    np.testing.assert_allclose(renamed.shares, vision.shares[..., order])
    np.testing.assert_allclose(renamed.index, vision.index, atol=1e-12)
    np.testing.assert_allclose(narrow_vision(norms * 3, subsets, n_subsets).index, vision.index, atol=1e-12)


def test_shares_are_those_of_a_loop():
    rng = np.random.default_rng(1)
    norms, subsets = rng.random((20, 3)), rng.integers(4, size=20)
    shares = gradient_shares(norms, subsets, 4)
    sizes = np.bincount(subsets, minlength=4)
    entropies = []
    for s in range(4):
        sums = norms[subsets == s].sum(0)
        np.testing.assert_allclose(shares[s], sums / sums.sum())
        entropies.append(-(shares[s] * np.log(shares[s])).sum() / np.log(3))
    assert narrow_vision_index(shares, sizes) == pytest.approx(1 - np.average(entropies, weights=sizes))


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_closed_form_is_autograd_one_sample_and_expert_at_a_time(activation):
    generator = torch.Generator().manual_seed(0)
    n, e, d, h, c = 7, 3, 5, 4, 2

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    x, u, w1, b1, w2, b2 = draw(n, d), draw(n, e, c), draw(e, h, d), draw(e, h), draw(e, c, h), draw(e, c)
    function = getattr(torch.nn.functional, activation)
    before = torch.einsum("ehd,nd->neh", w1, x) + b1
    slope = torch.func.vmap(torch.func.vmap(torch.func.vmap(torch.func.grad(function))))(before)
    norms = two_layer_gradient_norms(
        *(t.numpy() for t in (u, x, function(before), w2)), slope=None if activation == "relu" else slope.numpy()
    )
    for i in range(n):
        for j in range(e):
            leaves = [t[j].clone().requires_grad_() for t in (w1, b1, w2, b2)]
            hidden = function(leaves[0] @ x[i] + leaves[1])
            gradients = torch.autograd.grad(((leaves[2] @ hidden + leaves[3]) * u[i, j]).sum(), leaves)
            assert norms[i, j] == pytest.approx(float(sum((g**2).sum() for g in gradients)) ** 0.5, rel=1e-12)
