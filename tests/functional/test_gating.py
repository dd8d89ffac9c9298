"""Gates: selection, ties, weights, layouts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distilled_experts import reference
from distilled_experts.errors import InvalidParameterError
from distilled_experts.functional import dense_gate, sparse_gate, sparse_gate_mask


@given(
    n=st.sampled_from([0, 1, 2, 5, 60]),
    n_experts=st.integers(1, 12),
    k=st.integers(1, 12),
    renormalise=st.booleans(),
    levels=st.integers(1, 5),
    transposed=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=80)
def test_selection_equals_a_stable_sort(
    n: int, n_experts: int, k: int, renormalise: bool, levels: int, transposed: bool, seed: int
) -> None:
    """Scores from few levels, so that ties are common; few rows are sorted, of many the winners are searched."""
    k = min(k, n_experts)
    generator = torch.Generator().manual_seed(seed)
    shape = (2, n_experts, n) if transposed else (2, n, n_experts)
    scores = torch.randint(levels, shape, generator=generator).double()
    scores = scores.transpose(-1, -2) if transposed else scores
    weights, indices = sparse_gate(scores, k, renormalise=renormalise)
    assert weights.shape == indices.shape == (2, n, k)
    if n:
        expected_weights, expected = reference.sparse_gate(scores, k, renormalise=renormalise)
        assert torch.equal(indices, expected)
        torch.testing.assert_close(weights, expected_weights)
    dense_weights, mask = sparse_gate_mask(scores, k, renormalise=renormalise)
    assert torch.equal(mask, torch.zeros_like(mask).scatter(-1, indices, True))
    torch.testing.assert_close(dense_weights, torch.zeros_like(scores).scatter(-1, indices, weights))


def test_gradients_of_both_forms_agree() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(7, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    probe = torch.randn(7, 6, generator=generator, dtype=torch.float64)
    for renormalise in (True, False):
        weights, indices = sparse_gate(scores, 2, renormalise=renormalise)
        dense_weights, _ = sparse_gate_mask(scores, 2, renormalise=renormalise)
        (a,) = torch.autograd.grad((weights * probe.gather(-1, indices)).sum(), scores)
        (b,) = torch.autograd.grad((dense_weights * probe).sum(), scores)
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("n_rows", [1, 200])
@pytest.mark.parametrize("n_experts", [4, 12])
def test_excluded_experts_are_never_selected_twice(n_experts: int, n_rows: int) -> None:
    """Minus infinity excludes an expert; where too few remain, others come in with a weight of zero."""
    scores = torch.full((n_rows, n_experts), -torch.inf)
    scores[:, 2] = 1.0
    weights, indices = sparse_gate(scores, 3)
    assert indices.tolist() == [[2, 0, 1]] * n_rows
    assert weights.tolist() == [[1.0, 0.0, 0.0]] * n_rows
    assert sparse_gate_mask(scores, 3)[1].sum() == 3 * n_rows


@pytest.mark.parametrize("k", [0, 5, -1])
def test_bad_k(k: int) -> None:
    for gate in (sparse_gate, sparse_gate_mask):
        with pytest.raises(InvalidParameterError, match=r"k: -?\d is not allowed; allowed: whole numbers from 1 to 4"):
            gate(torch.zeros(3, 4), k)


def test_dense_gate_along_another_axis() -> None:
    scores = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(dense_gate(scores, 0).sum(0), torch.ones(5))
