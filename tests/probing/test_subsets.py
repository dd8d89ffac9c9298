"""Subsets of samples: clusters and ranges with known answers, and those that a user asks for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from torch import nn

from distilled_experts import MoDERegressor
from distilled_experts.errors import DataError, InvalidParameterError
from distilled_experts.probing import cluster_subsets, named_subsets, probe, target_subsets

IRIS, SPECIES = load_iris(return_X_y=True)
NUMBERS, TARGET = load_diabetes(return_X_y=True)
KNOWN = np.repeat(np.arange(5), [30, 25, 20, 15, 10])


def blobs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Five far clusters in a mixed order, and the place of each sample's cluster by size."""
    rng = np.random.default_rng(seed)
    codes = rng.permutation(KNOWN)
    corners = np.array([[0, 0], [9, 0], [0, 9], [9, 9], [30, 30]])
    return corners[codes] + rng.uniform(-0.1, 0.1, size=(len(codes), 2)), codes


@given(st.integers(0, 1000), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_far_clusters_are_found_and_ranked_by_size_whatever_the_scale(seed, scale, shift):
    x, codes = blobs(seed)
    found = cluster_subsets(x * [scale, 1] + [0, shift])
    np.testing.assert_array_equal(found.codes, codes)
    assert found.names == tuple(f"cluster {i}" for i in range(1, 6))


def test_missing_values_are_the_mean_and_fewer_samples_make_fewer_clusters():
    x = np.array([[0.0, np.nan], [2.0, 5.0], [1.0, np.nan], [np.nan, 5.0]])
    assert cluster_subsets(x).codes[2] == cluster_subsets(x).codes[3]
    assert cluster_subsets(np.ones((7, 2))).names == ("cluster 1",)
    assert len(cluster_subsets(np.arange(3.0)[:, None]).names) == 3


class Quarters:
    """Expert i dominates one cluster of the inputs, and learns from it alone."""

    def members_on(self, X, y, *, layer=None):
        from distilled_experts.probing import ExpertOutputs, ProbedSamples, dominated_by, regression_subsets

        weights = dominated_by(KNOWN, 5)
        outputs = ExpertOutputs(np.repeat(y[:, None, None], 5, 1), weights, y[:, None])
        return ProbedSamples(outputs, y[:, None], "regression", regression_subsets(X, y), weights, inputs=X)


def test_an_expert_for_each_cluster_has_the_narrowest_vision_of_clusters_not_of_targets():
    x, codes = blobs(0)
    x = x[np.argsort(codes, kind="stable")]
    y = np.random.default_rng(0).normal(size=len(x))
    usual, by_target = probe(Quarters(), x, y), probe(Quarters(), x, y, subsets="target")
    np.testing.assert_array_equal(usual.composition, np.diag([30, 25, 20, 15, 10]))
    assert usual.narrow_vision.task.index == 1
    assert (usual.subset_kind, by_target.subset_kind) == ("cluster of the inputs", "range of the target")
    assert by_target.narrow_vision.task.index < 0.2
    assert probe(Quarters(), x, y, subsets="clusters").subsets == usual.subsets
    named = probe(Quarters(), x, y, subsets=pd.Series(codes[np.argsort(codes, kind="stable")] > 1))
    assert (named.subsets, named.subset_kind) == (("False", "True"), "subset")
    assert named.composition.sum(0).tolist() == [55, 45]


@pytest.mark.parametrize(
    "model",
    [
        MoDERegressor(max_iter=3, hidden=4, n_experts=2, random_state=0),
        RandomForestRegressor(3, max_depth=2, random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_in_regression_the_subsets_are_clusters_of_the_inputs(model):
    record = probe(model.fit(NUMBERS, TARGET), NUMBERS, TARGET)
    assert record.to_dict()["subset_kind"] == "cluster of the inputs"
    counts = record.composition.sum(0)
    assert (np.diff(counts) <= 0).all()
    assert counts.sum() == len(TARGET)
    assert probe(model, NUMBERS, TARGET, subsets="target").subsets == target_subsets(TARGET).names


class Lookup(nn.Module):
    """A number for each of ten words."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.table(x)


def test_inputs_that_are_no_numbers_leave_ranges_of_the_target():
    words, y = np.arange(10), np.linspace(0, 1, 10)
    networks = [Lookup(), Lookup()]
    assert probe(networks, words, y).subset_kind == "range of the target"
    with pytest.raises(InvalidParameterError, match="subsets: 'clusters' is not allowed; allowed: target, an array"):
        probe(networks, words, y, subsets="clusters")


def test_subsets_that_do_not_fit():
    forest = RandomForestClassifier(2, max_depth=1, random_state=0).fit(IRIS, SPECIES)
    assert probe(forest, IRIS, SPECIES, subsets="clusters").subset_kind == "cluster of the inputs"
    with pytest.raises(InvalidParameterError, match="subsets: 'target' is not allowed; allowed: clusters, an array"):
        probe(forest, IRIS, SPECIES, subsets="target")
    with pytest.raises(DataError, match="subsets: 149 labels for 150 samples"):
        probe(forest, IRIS, SPECIES, subsets=SPECIES[1:])
    with pytest.raises(DataError, match="subsets: 1 samples without a label"):
        named_subsets(["a", None])


def test_an_edge_belongs_to_the_range_above_it():
    subsets = target_subsets([0.0] * 5 + [1.0] * 5)
    assert subsets.names == ("below 1", "from 1")
    assert subsets.codes.tolist() == [0] * 5 + [1] * 5
    assert target_subsets([3.0, 3.0]).names == ("all",)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_ranges_of_a_target_cover_it_in_order(y):
    subsets = target_subsets(y)
    assert set(subsets.codes) <= set(range(len(subsets.names)))
    assert (np.diff(subsets.codes[np.argsort(y, kind="stable")]) >= 0).all()
    assert len(subsets.names) <= 5
