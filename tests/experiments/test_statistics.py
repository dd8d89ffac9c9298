"""The corrected resampled t: known values, calibration, and what one seed gives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from distilled_experts.experiments.statistics import difference, holm, standard_error


def test_without_shared_rows_it_is_the_paired_t_test():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.5, 1, 12), rng.normal(0, 1, 12)
    found = difference(a, b, test_share=0.0)
    wanted = stats.ttest_rel(a, b)
    interval = wanted.confidence_interval(0.95)
    assert found.p == pytest.approx(wanted.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_the_correction_widens_the_interval_by_the_known_factor():
    a, b = [0.9, 0.8, 0.85, 0.95], [0.8, 0.82, 0.8, 0.9]
    plain, corrected = difference(a, b, 0.0), difference(a, b, 3 / 7)
    assert corrected.mean == plain.mean
    factor = math.sqrt((1 / 4 + 3 / 7) / (1 / 4))
    assert corrected.high - corrected.mean == pytest.approx(factor * (plain.high - plain.mean))


def test_it_keeps_its_level_where_a_plain_t_test_does_not():
    """Splits of one sample share rows: their noise is correlated by test / (test + train)."""
    rng = np.random.default_rng(1)
    seeds, share = 10, 3 / 7
    common = share / (1 + share)
    noise = math.sqrt(common) * rng.normal(size=(2000, 1)) + math.sqrt(1 - common) * rng.normal(size=(2000, seeds))
    corrected = [difference(row, np.zeros(seeds), share).p < 0.05 for row in noise]
    plain = [difference(row, np.zeros(seeds), 0.0).p < 0.05 for row in noise]
    assert 0.03 < np.mean(corrected) < 0.07
    assert np.mean(plain) > 0.3


def test_the_detectable_difference_is_found_four_times_out_of_five():
    rng = np.random.default_rng(2)
    spread, seeds = 0.7, 10
    expected = difference(spread * stats.norm.ppf((np.arange(seeds) + 0.5) / seeds), np.zeros(seeds), 0.0)
    true = (stats.t.ppf(0.975, seeds - 1) + stats.t.ppf(0.8, seeds - 1)) * spread / math.sqrt(seeds)
    found = [difference(rng.normal(true, spread, seeds), np.zeros(seeds), 0.0).p < 0.05 for _ in range(2000)]
    assert 0.76 < np.mean(found) < 0.86
    assert expected.detectable == pytest.approx(true, rel=0.2)


def test_equal_scores_are_no_difference_and_a_constant_one_is_certain():
    assert difference([1.0, 1.0], [1.0, 1.0], 0.4).p == 1.0
    assert difference([1.0, 1.0], [1.0, 1.0], 0.4).detectable is None
    assert difference([2.0, 2.0], [1.0, 1.0], 0.4).p == 0.0


def test_one_seed_gives_no_interval():
    found = difference([0.9], [0.8], 0.4).to_dict()
    assert found["mean"] == pytest.approx(0.1)
    assert [found[key] for key in ("low", "high", "p", "detectable")] == [None] * 4
    assert standard_error([0.9]) is None


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
