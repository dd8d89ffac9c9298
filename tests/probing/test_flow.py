"""Flow of answers and agreement of domains, on answers that are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from distilled_experts.probing import ANSWER_TYPES, adjusted_rand, answer_flow, answer_types, error_types


def test_a_gate_that_learns_moves_gate_errors_to_right_answers():
    right = np.eye(2, dtype=bool)[[0, 1, 0, 1]]
    before = answer_types(right, np.zeros(4, bool), np.array([1, 0, 1, 0]))
    after = answer_types(right, np.ones(4, bool), np.array([0, 1, 0, 1]))
    flow = answer_flow(before, after)
    assert flow[ANSWER_TYPES.index("gate_error"), ANSWER_TYPES.index("right")] == 1
    assert flow.sum() == 1


@given(st.integers(0, 10_000), st.permutations(range(3)))
def test_rows_and_columns_add_up_to_the_types_of_both_models(seed, order):
    rng = np.random.default_rng(seed)
    n = rng.integers(1, 20)
    right = rng.random((2, 5, n, 3)) < 0.4
    mixture_right, domains = rng.random((2, 5, n)) < 0.5, rng.integers(3, size=(2, 5, n))
    before, after = (answer_types(right[i], mixture_right[i], domains[i]) for i in range(2))
    flow = answer_flow(before, after)
    assert flow.shape == (5, 4, 4)
    np.testing.assert_allclose(flow.sum((-1, -2)), 1)
    for model, shares in ((0, flow.sum(-1)), (1, flow.sum(-2))):
        np.testing.assert_allclose(shares[:, 0], mixture_right[model].mean(-1))
        for name, share in error_types(right[model], mixture_right[model], domains[model]).items():
            np.testing.assert_allclose(shares[:, ANSWER_TYPES.index(name)], share)
    new_domains = np.argsort(order)[domains[0]]
    np.testing.assert_array_equal(answer_types(right[0][..., order], mixture_right[0], new_domains), before)


@given(st.integers(0, 10_000))
def test_adjusted_rand_is_that_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    n = rng.integers(1, 30)
    first, second = rng.integers(rng.integers(1, 5), size=(3, n)), rng.integers(rng.integers(1, 5), size=(3, n))
    index = adjusted_rand(first, second)
    for model in range(3):
        assert index[model] == pytest.approx(adjusted_rand_score(first[model], second[model]))
    names = rng.permutation(5)
    np.testing.assert_allclose(adjusted_rand(names[first], second), index, atol=1e-12)
    np.testing.assert_allclose(adjusted_rand(second, first), index, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 20_011])
def test_the_same_division_is_one_also_where_it_is_trivial(n):
    together = np.zeros(n, dtype=np.int64)
    assert adjusted_rand(together, together) == 1
    if n < 10:
        assert adjusted_rand(np.arange(n), np.arange(n)) == 1
