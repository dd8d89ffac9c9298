"""Gate and experts apart, on gains whose cause is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import r2_score

from distilled_experts.errors import DataError
from distilled_experts.probing import ExpertOutputs, contributions, exchange_intervals, exchange_scores


def mixture_of(experts: np.ndarray, weights: np.ndarray) -> ExpertOutputs:
    return ExpertOutputs(experts, weights, (experts * weights[..., None]).sum(-2))


Y = np.array([0, 1, 1, 0, 1])
KNOW_ONE_CLASS = np.broadcast_to(np.eye(2), (5, 2, 2))
KNOW_NOTHING = 1 - np.repeat(np.eye(2)[Y][:, None], 2, axis=1)
RIGHT_GATE, WRONG_GATE = np.eye(2)[Y], 1 - np.eye(2)[Y]


def test_a_better_gate_alone_gets_all_of_the_gain():
    record = exchange_scores(
        mixture_of(KNOW_ONE_CLASS, WRONG_GATE), mixture_of(KNOW_ONE_CLASS, RIGHT_GATE), Y, "classification"
    )
    assert (record["gate"], record["experts"], record["gain"]) == (1, 0, 1)


def test_better_experts_alone_get_all_of_the_gain():
    before, after = mixture_of(KNOW_NOTHING, RIGHT_GATE), mixture_of(1 - KNOW_NOTHING, RIGHT_GATE)
    record = exchange_scores(before, after, Y, "classification")
    np.testing.assert_array_equal(record["scores"], [[0, 1], [0, 1]])
    assert (record["gate"], record["experts"], record["gain"]) == (0, 1, 1)


def test_what_needs_both_is_divided_evenly():
    """Neither MoDE's gate nor its experts help without the other."""
    record = exchange_scores(
        mixture_of(KNOW_NOTHING, WRONG_GATE), mixture_of(KNOW_ONE_CLASS, RIGHT_GATE), Y, "classification"
    )
    np.testing.assert_array_equal(record["scores"], [[0, 0], [0, 1]])
    assert (record["gate"], record["experts"]) == (0.5, 0.5)


def test_regression_scores_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(30, 2))
    models = [
        mixture_of(y[:, None] + rng.normal(size=(30, 3, 2)), rng.dirichlet(np.ones(3), size=30)) for _ in range(2)
    ]
    scores = exchange_scores(*models, y, "regression")["scores"]
    for g in range(2):
        for e in range(2):
            mixed = (models[g].weights[..., None] * models[e].experts).sum(1)
            assert scores[g, e] == pytest.approx(r2_score(y, mixed))


@given(st.integers(0, 10_000), st.permutations(range(3)), st.sampled_from(["classification", "regression"]))
def test_sums_ranges_and_names_of_experts(seed, order, task):
    rng = np.random.default_rng(seed)
    n = rng.integers(2, 20)
    y = rng.integers(3, size=n) if task == "classification" else rng.normal(size=(n, 3))
    moe, mode = (mixture_of(rng.normal(size=(2, n, 3, 3)), rng.dirichlet(np.ones(3), size=(2, n))) for _ in range(2))
    record = exchange_scores(moe, mode, y, task)
    np.testing.assert_allclose(record["gate"] + record["experts"], record["gain"], atol=1e-9)
    if task == "classification":
        assert ((record["scores"] >= 0) & (record["scores"] <= 1)).all()
        for i, model in enumerate((moe, mode)):
            np.testing.assert_allclose(record["scores"][..., i, i], (model.mixture.argmax(-1) == y).mean(-1))
    renamed = [mixture_of(m.experts[..., order, :], m.weights[..., order]) for m in (moe, mode)]
    np.testing.assert_allclose(exchange_scores(*renamed, y, task)["scores"], record["scores"])
    back = exchange_scores(mode, moe, y, task)
    np.testing.assert_allclose(back["gate"], -record["gate"], atol=1e-9)


def test_intervals_hold_what_they_are_of():
    rng = np.random.default_rng(1)
    y = rng.integers(3, size=400)
    moe, mode = (
        mixture_of(rng.normal(size=(2, 400, 3, 3)), rng.dirichlet(np.ones(3), size=(2, 400))) for _ in range(2)
    )
    record = exchange_scores(moe, mode, y, "classification")
    intervals = exchange_intervals(moe, mode, y, "classification", np.random.default_rng(0), n_resamples=300)
    for name, (low, high) in intervals.items():
        assert low.shape == record[name].shape
        assert ((low <= record[name]) & (record[name] <= high)).all()
    same = exchange_intervals(moe, moe, y, "classification", np.random.default_rng(0), n_resamples=300)
    assert (same["gain"].low == 0).all()
    assert (same["gain"].high == 0).all()


def test_contributions_keep_leading_axes():
    gate, experts = contributions(np.zeros((4, 3, 2, 2)))
    assert gate.shape == experts.shape == (4, 3)


def test_other_shapes_cannot_be_exchanged():
    three = mixture_of(np.zeros((5, 3, 2)), np.full((5, 3), 1 / 3))
    with pytest.raises(DataError, match="experts"):
        exchange_scores(three, mixture_of(KNOW_ONE_CLASS, RIGHT_GATE), Y, "classification")
