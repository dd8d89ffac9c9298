"""Probing of whole models through the protocol: known answers, weights, records."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import r2_score

from distilled_experts.errors import DataError, InvalidParameterError
from distilled_experts.probing import (
    ExpertLosses,
    ExpertOutputs,
    ProbedSamples,
    class_subsets,
    dominated_by,
    probe,
    probe_samples,
    sample_right,
    target_subsets,
)


class OneClassEach:
    """Expert i always says i; the gate sends class c to the expert `gate[c]`."""

    def __init__(self, gate: list[int]) -> None:
        self.gate = np.array(gate)

    def members_on(self, X, y, *, layer=None) -> ProbedSamples:
        n = len(self.gate)
        weights = dominated_by(self.gate[y], n)
        outputs = ExpertOutputs(np.broadcast_to(np.eye(n), (len(y), n, n)), weights, weights)
        norms = weights + 0.0
        return ProbedSamples(outputs, y, "classification", class_subsets(y, "abc"), norms, alpha=0.0)


Y = np.array([0, 0, 0, 1, 1, 2])


def test_experts_that_know_one_class_each():
    record = probe(OneClassEach([0, 1, 2]), None, Y)
    np.testing.assert_array_equal(record.matrix, np.eye(3))
    np.testing.assert_array_equal(record.own_domain_by_expert, 1)
    np.testing.assert_array_equal(record.composition, np.diag([3, 2, 1]))
    assert record.score == record.own_domain == record.routing_accuracy == record.oracle == 1
    assert record.errors == {"gate_error": 0, "expert_error": 0, "combination_error": 0}
    assert record.narrow_vision.task.index == 1
    assert record.narrow_vision.whole is None
    assert not record.similarity.homogenised


def test_a_gate_that_is_always_wrong():
    record = probe(OneClassEach([1, 2, 0]), None, Y)
    assert record.score == record.own_domain == record.routing_accuracy == 0
    assert record.oracle == record.errors["gate_error"] == 1
    np.testing.assert_allclose(record.shares, [1 / 6, 3 / 6, 2 / 6])


def test_identical_experts_raise_the_alarm_and_empty_domains_are_none():
    scores = np.random.default_rng(0).normal(size=(40, 1, 3))
    outputs = ExpertOutputs(scores.repeat(2, 1), np.tile([0.7, 0.3], (40, 1)), scores[:, 0])
    y = scores[:, 0].argmax(-1)
    record = probe_samples(ProbedSamples(outputs, y, "classification", class_subsets(y, range(3))))
    assert record.similarity.homogenised
    plain = record.to_dict()
    assert plain["matrix"]["value"] == [[1.0, None], [1.0, None]]
    assert plain["similarity"]["warning"] in record._repr_html_()
    assert plain["narrow_vision"] is None


def drawn(seed: int, task: str, n: int = 30) -> ProbedSamples:
    rng = np.random.default_rng(seed)
    experts, weights = rng.normal(size=(n, 3, 2)), rng.dirichlet(np.ones(3), size=n)
    y = rng.integers(2, size=n) if task == "classification" else rng.normal(size=(n, 2))
    subsets = class_subsets(y, range(2)) if task == "classification" else target_subsets(y)
    norms = rng.exponential(size=(2, n, 3))
    outputs = ExpertOutputs(experts, weights, (experts * weights[..., None]).sum(1))
    losses = ExpertLosses.of_scores(outputs, y) if task == "classification" else None
    return ProbedSamples(outputs, y, task, subsets, *norms, alpha=0.1, losses=losses)


def taken(samples: ProbedSamples, rows: np.ndarray) -> ProbedSamples:
    outputs = ExpertOutputs(*(getattr(samples.outputs, p)[rows] for p in ("experts", "weights", "mixture")))
    subsets = samples.subsets._replace(codes=samples.subsets.codes[rows])
    norms = (samples.task_norms[rows], samples.whole_norms[rows])
    losses = None if samples.losses is None else ExpertLosses(*(part[rows] for part in samples.losses))
    return ProbedSamples(outputs, samples.y[rows], samples.task, subsets, *norms, alpha=0.1, losses=losses)


NUMBERS = ("score", "own_domain", "routing_accuracy", "oracle", "errors", "shares", "matrix", "composition")
NUMBERS += ("similarity", "narrow_vision", "log_loss", "own_domain_log_loss", "log_loss_matrix")


@pytest.mark.parametrize("task", ["classification", "regression"])
@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_whole_weights_are_repeated_samples_and_zero_weights_missing_ones(task, seed):
    samples = drawn(seed, task, n=12)
    weight = np.random.default_rng(seed).integers(3, size=12)
    weight[0] = 1
    weighted = probe_samples(samples, weight).to_dict()
    repeated = probe_samples(taken(samples, np.repeat(np.arange(12), weight))).to_dict()
    for name in NUMBERS:
        np.testing.assert_allclose(numbers_of(weighted[name]), numbers_of(repeated[name]), atol=1e-9, err_msg=name)


def numbers_of(value) -> np.ndarray:
    """All numbers of a record's part in order, without its intervals."""
    if isinstance(value, dict):
        parts = [numbers_of(part) for key, part in value.items() if key not in ("low", "high", "warning")]
        return np.concatenate(parts)
    if value is None:
        return np.array([])
    return np.array(value, dtype=float).ravel()


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_intervals_hold_the_values_and_the_record_is_json(task):
    samples = drawn(0, task, n=200)
    record = probe_samples(samples)
    plain = json.loads(json.dumps(record.to_dict(), allow_nan=False))
    assert plain["samples"] == 200
    for name in ("score", "own_domain", "routing_accuracy", "oracle"):
        measure = plain[name]
        assert measure["low"] <= measure["value"] <= measure["high"]
        assert measure["low"] < measure["high"]
    assert record.to_dict() == probe_samples(samples).to_dict()
    if task == "regression":
        assert record.score == pytest.approx(r2_score(samples.y, samples.outputs.mixture))


def test_a_single_expert_has_no_similarity_and_no_index():
    y = np.array([0, 1, 1])
    outputs = ExpertOutputs(np.eye(2)[y][:, None], np.ones((3, 1)), np.eye(2)[y])
    plain = probe_samples(
        ProbedSamples(outputs, y, "classification", class_subsets(y, range(2)), np.ones((3, 1)))
    ).to_dict()
    assert plain["own_domain"]["value"] == 1
    assert plain["similarity"]["mean_cka"] is None
    assert plain["narrow_vision"]["task"]["index"] is None


@pytest.mark.parametrize(
    ("weight", "message"),
    [([1, 2], "shape"), ([1, -1, 1], "not negative"), ([0, 0, 0], "above zero"), ([1, np.nan, 1], "finite")],
)
def test_weights_that_are_none(weight, message):
    samples = drawn(0, "classification", n=3)
    with pytest.raises(DataError, match=f"sample_weight: .*{message}"):
        probe_samples(samples, weight)


def test_models_of_which_nothing_is_known():
    with pytest.raises(InvalidParameterError, match=r"model: .*int.* allowed: an estimator of this package"):
        probe(3, None, Y)
    with pytest.raises(InvalidParameterError, match=r"model: .*list"):
        probe([], None, Y)


def test_no_samples():
    with pytest.raises(DataError, match="no samples"):
        probe(OneClassEach([0, 1, 2]), None, Y[:0])


def test_names_are_escaped_nowhere_but_where_html_is_made():
    y = np.array([0, 1])
    outputs = ExpertOutputs(np.ones((2, 2, 2)), np.eye(2), np.eye(2))
    record = probe_samples(ProbedSamples(outputs, y, "classification", class_subsets(y, ["<script>", "b"])))
    assert record.to_dict()["subsets"][0] == "<script>"
    assert "<script>" not in record._repr_html_()


def test_the_limit_of_right_lies_between_the_two_middle_losses():
    y, mixture = np.zeros((2, 1)), np.array([[0.0], [1.0]])
    experts = np.full((2, 1, 1), 0.8)  # a loss of 0.64, above the median of 0 and 1
    for weight in (None, np.ones(2), np.array([2.0, 2.0])):
        right, mixture_right = sample_right(experts, mixture, y, "regression", weight)
        assert not right.any()
        assert mixture_right.tolist() == [True, False]
    assert sample_right(experts, mixture, y, "regression", np.array([1.0, 2.0]))[0].all()
