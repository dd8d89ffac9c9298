"""Average ranks and tests over data sets: known values of the literature, and properties."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from distilled_experts.experiments.ranks import rank_methods, signed_rank

# Demšar 2006, table 6: AUC of C4.5 with four ways of pruning, on 14 sets.
AUC = [
    (0.763, 0.768, 0.771, 0.798),
    (0.599, 0.591, 0.590, 0.569),
    (0.954, 0.971, 0.968, 0.967),
    (0.628, 0.661, 0.654, 0.657),
    (0.882, 0.888, 0.886, 0.898),
    (0.936, 0.931, 0.916, 0.931),
    (0.661, 0.668, 0.609, 0.685),
    (0.583, 0.583, 0.563, 0.625),
    (0.775, 0.838, 0.866, 0.875),
    (1.000, 1.000, 1.000, 1.000),
    (0.940, 0.962, 0.965, 0.962),
    (0.619, 0.666, 0.614, 0.669),
    (0.972, 0.981, 0.9751, 0.975),
    (0.957, 0.978, 0.946, 0.970),
]


def test_ranks_and_critical_difference_of_the_literature():
    found = rank_methods([[-score for score in row] for row in AUC])
    assert found.averages == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    # Table 5 there: q = 2.569 for four methods.
    assert found.critical_difference == pytest.approx(2.569 * math.sqrt(4 * 5 / (6 * 14)), abs=1e-3)
    assert found.p == pytest.approx(stats.friedmanchisquare(*zip(*AUC, strict=True)).pvalue)


def test_the_p_of_two_methods_and_the_ranks_of_no_set_are_not_known():
    assert rank_methods([[1.0, 2.0]] * 8).p is None
    assert rank_methods([[1.0, 2.0]] * 8).critical_difference == pytest.approx(1.96 / math.sqrt(8), abs=1e-3)
    none = rank_methods([], 3)
    assert (len(none.averages), none.p, none.critical_difference) == (3, None, None)
    assert all(map(math.isnan, none.averages))


def test_methods_that_tie_everywhere_are_alike():
    found = rank_methods([[1.0, 1.0, 1.0]] * 4)
    assert (found.averages, found.p) == ([2.0] * 3, None)


@given(st.lists(st.lists(st.integers(0, 5), min_size=4, max_size=4), min_size=1, max_size=9))
def test_ranks_add_up_and_do_not_depend_on_the_scale(rows):
    found = rank_methods(rows)
    assert sum(found.averages) == pytest.approx(10)
    assert rank_methods([[2.0**loss for loss in row] for row in rows]).averages == found.averages


def test_a_failed_method_is_last():
    assert rank_methods([[math.inf, 1.0, 2.0]]).averages == [3.0, 1.0, 2.0]


def test_the_signed_rank_test_needs_six_sets():
    assert signed_rank([1.0] * 5) is None
    assert signed_rank([0.0] * 6) == 1.0
    gains = [0.3, 0.1, 0.2, 0.5, 0.4, 0.6]
    assert signed_rank(gains) == signed_rank([-gain for gain in gains]) == pytest.approx(2 / 2**6)
