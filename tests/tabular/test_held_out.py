"""Rows that members are judged by."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilled_experts.tabular.held_out import held_out_rows


@given(
    n_rows=st.integers(2, 60),
    share=st.floats(0.01, 0.99),
    n_members=st.integers(1, 9),
    n_classes=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_every_row_trains_or_judges_and_all_judge_equally_often(n_rows, share, n_members, n_classes, seed):
    labels = np.random.default_rng(seed).integers(n_classes, size=n_rows)
    train, held = held_out_rows(labels, n_rows, share, n_members, np.random.RandomState(seed))
    for kept, out in zip(train, held, strict=True):
        np.testing.assert_array_equal(np.sort(np.concatenate([kept, out])), np.arange(n_rows))
    assert train.shape[1] >= 1
    assert held.shape[1] >= 1
    times = np.bincount(held.ravel(), minlength=n_rows)
    assert times.max() - times.min() <= 1


@given(counts=st.lists(st.integers(1, 40), min_size=2, max_size=5), seed=st.integers(0, 99))
def test_classes_keep_their_proportions(counts, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    _, held = held_out_rows(labels, len(labels), 0.25, 6, np.random.RandomState(seed))
    for out in held:
        expected = np.asarray(counts) * held.shape[1] / len(labels)
        # Each class rounds for itself, and what all others round up or down is missing from one or added to it.
        assert (np.abs(np.bincount(labels[out], minlength=len(counts)) - expected) <= len(counts)).all()


@pytest.mark.parametrize("labels", [None, np.arange(50) % 2])
def test_another_seed_deals_otherwise(labels):
    deals = [held_out_rows(labels, 50, 0.2, 1, np.random.RandomState(seed))[1] for seed in (0, 1, 0)]
    assert not np.array_equal(deals[0], deals[1])
    np.testing.assert_array_equal(deals[0], deals[2])
