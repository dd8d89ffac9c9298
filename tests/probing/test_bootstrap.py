"""Bootstrap intervals against samples that are really drawn again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilled_experts.errors import InvalidParameterError
from distilled_experts.probing import (
    ExpertOutputs,
    bootstrap_intervals,
    percentile_interval,
    probe_intervals,
    probe_outputs,
    probe_statistic,
    resampled_score,
)
from distilled_experts.probing.bootstrap import _resamples


def drawn_outputs(
    seed: int, task: str, n: int = 40, models: tuple[int, ...] = (2, 3)
) -> tuple[ExpertOutputs, np.ndarray]:
    rng = np.random.default_rng(seed)
    experts, weights = rng.normal(size=(*models, n, 3, 2)), rng.dirichlet(np.ones(3), size=(*models, n))
    y = rng.integers(2, size=n) if task == "classification" else 100 + rng.normal(size=(n, 2))
    experts = experts if task == "classification" else y[:, None] + experts
    return ExpertOutputs(experts, weights, (experts * weights[..., None]).sum(-2)), y


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_all_samples_once_give_the_measures_themselves(task):
    outputs, y = drawn_outputs(0, task)
    expected = probe_outputs(outputs, y, task)
    once = probe_statistic(outputs, y, task)(np.ones((1, len(y))))
    assert once.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(once[name][0], value, err_msg=name)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_counts_give_the_measures_of_repeated_samples(task):
    outputs, y = drawn_outputs(1, task, n=25)
    counts = np.concatenate(list(_resamples(25, 6, np.random.default_rng(0))))
    np.testing.assert_array_equal(counts.sum(1), 25)
    values = probe_statistic(outputs, y, task)(counts)
    # What is right in regression depends on a median, which is kept.
    names = values if task == "classification" else ("shares", "matrix", "own_domain")
    for r, row in enumerate(counts):
        again = np.repeat(np.arange(25), row.astype(int))
        parts = (outputs.experts[..., again, :, :], outputs.weights[..., again, :], outputs.mixture[..., again, :])
        expected = probe_outputs(ExpertOutputs(*parts), y[again], task)
        for name in names:
            np.testing.assert_allclose(values[name][r], expected[name], err_msg=name)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_intervals_hold_the_measures_and_keep_their_shapes(task):
    outputs, y = drawn_outputs(2, task, n=300)
    measures = probe_outputs(outputs, y, task)
    intervals = probe_intervals(outputs, y, task, np.random.default_rng(0), n_resamples=200)
    for name, (low, high) in intervals.items():
        assert low.shape == high.shape == measures[name].shape
        assert (low <= high).all()
        assert ((low <= measures[name]) & (measures[name] <= high)).mean() > 0.95, name


def test_a_share_has_the_interval_of_the_normal_approximation():
    n = 400
    right = np.arange(n) < 100
    low, high = bootstrap_intervals(
        lambda counts: {"share": counts @ right / n}, n, np.random.default_rng(0), n_resamples=4000
    )["share"]
    half = 1.96 * (0.25 * 0.75 / n) ** 0.5
    assert low == pytest.approx(0.25 - half, abs=0.005)
    assert high == pytest.approx(0.25 + half, abs=0.005)


def test_blocks_of_any_size_give_the_same_interval(monkeypatch):
    outputs, y = drawn_outputs(3, "classification")
    whole = probe_intervals(outputs, y, "classification", np.random.default_rng(5), n_resamples=50)
    monkeypatch.setattr("distilled_experts.probing.bootstrap._BLOCK", 3 * len(y))
    blocks = probe_intervals(outputs, y, "classification", np.random.default_rng(5), n_resamples=50)
    for name, interval in whole.items():
        np.testing.assert_array_equal(interval, blocks[name])


def test_undefined_resamples_do_not_count():
    values = np.array([[1.0, np.nan], [np.nan, np.nan], [3.0, np.nan]])
    interval = percentile_interval(values, 0.5)
    assert (interval.low[0], interval.high[0]) == (1.5, 2.5)
    assert np.isnan(interval.low[1])
    assert np.isnan(interval.high[1])


@given(st.integers(0, 10_000), st.floats(0.01, 0.99))
def test_percentiles_are_those_of_numpy(seed, level):
    values = np.random.default_rng(seed).normal(size=(1 + seed % 20, 3))
    expected = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
    np.testing.assert_allclose(percentile_interval(values, level), expected, atol=1e-12)


def test_no_r2_where_targets_do_not_vary():
    score = resampled_score(np.zeros((3, 1)), np.array([[0.1], [0.1], [0.7]]), "regression")
    values = score(np.array([[3.0, 0, 0], [1, 2, 0], [0, 0, 3], [1, 1, 1]]))
    assert np.isnan(values[:3]).all()
    assert np.isfinite(values[3])


@pytest.mark.parametrize(
    ("name", "options"),
    [("level", {"level": 1.0}), ("n_resamples", {"n_resamples": 0}), ("n_samples", {"n_samples": 0})],
)
def test_wrong_numbers_are_refused(name, options):
    with pytest.raises(InvalidParameterError, match=name):
        bootstrap_intervals(
            lambda counts: {"n": counts.sum(-1)}, **{"n_samples": 3, "generator": np.random.default_rng(0), **options}
        )
