from __future__ import annotations

import datetime
import json
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilled_experts.errors import DataError, ModelFolderError
from distilled_experts.tabular.targets import ClassTarget, RegressionTarget


@pytest.mark.parametrize(
    "y",
    [
        ["b", "a", "b"],
        [2, 0, 2],
        [True, False, True],
        [1.5, 0.5, 1.5],
        pd.Series(["b", "a", "b"], dtype="category"),
        pd.Series([5, 3, 5], dtype="Int64"),
        pl.Series(["b", "a", "b"]),
        np.array([b"b", b"a", b"b"]),
        np.array(["x", 3, "x"], dtype=object),
    ],
)
def test_classes_round_trip(y: Any) -> None:
    target = ClassTarget().fit(y)
    codes = target.encode(y)
    assert codes.dtype == np.int64
    assert codes.tolist() == [1, 0, 1]
    state, arrays = target.to_state()
    restored = ClassTarget.from_state(json.loads(json.dumps(state)), arrays)
    assert restored.classes.dtype == target.classes.dtype
    assert restored.decode(codes).tolist() == target.decode(codes).tolist()
    assert restored.decode(codes.reshape(1, 3)).shape == (1, 3)


def test_class_errors() -> None:
    target = ClassTarget().fit(["a", "b"])
    with pytest.raises(DataError, match="'c' was not seen in fit; allowed: 'a', 'b'"):
        target.encode(["c"])
    gaps = np.array(["a", None], dtype=object)
    dates = np.array(["2020-01-01"], "datetime64[D]")
    for wrong in (gaps, [1.0, np.nan], np.zeros((2, 2)), dates, [datetime.date(2024, 1, 1)], []):
        with pytest.raises(DataError, match=r"^y: "):
            ClassTarget().fit(wrong)
    assert ClassTarget().fit([0, 1, 2], [1, 0, 1]).classes.tolist() == [0, 2]
    for state in ({}, {"kind": "numbers", "classes": []}, {"kind": "classes", "classes": "ab", "dtype": "O"}):
        with pytest.raises(ModelFolderError):
            ClassTarget.from_state(state, {})


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20).flatmap(
        lambda y: st.tuples(
            st.just(np.array(y)),
            st.lists(st.integers(0, 3), min_size=len(y), max_size=len(y)).filter(any).map(np.array),
            st.permutations(range(len(y))).map(np.array),
        )
    )
)
def test_regression_weights_equal_duplicates(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    y, weight, order = case
    weighted = RegressionTarget().fit(y[order], weight[order])
    repeated = RegressionTarget().fit(np.repeat(y, weight))
    assert (weighted.center, weighted.scale) == (repeated.center, repeated.scale)
    np.testing.assert_allclose(weighted.decode(weighted.encode(y)), y, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("shape", [(50,), (50, 1), (50, 3)])
def test_regression_round_trip(shape: tuple[int, ...]) -> None:
    y = np.random.default_rng(0).normal(7, 3, size=shape)
    target = RegressionTarget().fit(y)
    encoded = target.encode(y)
    assert encoded.shape == (50, y.reshape(50, -1).shape[1])
    np.testing.assert_allclose(
        [encoded.mean(axis=0), encoded.std(axis=0)], np.array([[0], [1]]) + 0 * encoded[:1], atol=1e-12
    )
    state, arrays = target.to_state()
    restored = RegressionTarget.from_state(json.loads(json.dumps(state)), arrays)
    np.testing.assert_allclose(restored.decode(encoded), y)
    assert restored.decode(np.stack([encoded, encoded])).shape == (2, *shape)


def test_regression_errors_and_constant_targets() -> None:
    assert RegressionTarget().fit([3.0, 3.0]).encode([4.0]).tolist() == [[1.0]]
    for wrong in (
        [1.0, np.inf],
        [1.0, np.nan],
        ["a", "b"],
        np.zeros((2, 2, 2)),
        [],
        pd.Series([1, None], dtype="Int64"),
    ):
        with pytest.raises(DataError, match=r"^y: "):
            RegressionTarget().fit(wrong)
    with pytest.raises(DataError, match="does not fit"):
        RegressionTarget().fit(np.zeros((3, 2))).encode([1.0])
    for state, arrays in (
        ({}, {}),
        ({"kind": "numbers", "flat": True}, {"center": np.zeros(1), "scale": np.ones(2)}),
    ):
        with pytest.raises(ModelFolderError):
            RegressionTarget.from_state(state, arrays)
