from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from distilled_experts.errors import DataError
from distilled_experts.tabular.statistics import check_weight, distinct_values, mean_and_deviation, quantile

finite = st.floats(allow_nan=False, allow_infinity=False)
columns = hnp.arrays(np.float64, st.integers(1, 30), elements=st.one_of(finite, st.sampled_from([0.0, -0.0, 1.0, 2.5])))


@given(columns)
def test_statistics_of_any_finite_numbers_are_finite(x: np.ndarray) -> None:
    distinct = distinct_values(x)
    assert np.isfinite([*mean_and_deviation(distinct), quantile(distinct, 0.5), quantile(distinct, 0.25)]).all()
    assert distinct.values.size == np.unique(x).size
    assert distinct.weights.sum() == x.size


@given(columns, st.data())
def test_weights_equal_duplicates_and_order_does_not_matter(x: np.ndarray, data: st.DataObject) -> None:
    weight = data.draw(hnp.arrays(np.int64, x.size, elements=st.integers(1, 4)))
    order = np.array(data.draw(st.permutations(range(x.size))))
    weighted = distinct_values(x[order], weight[order].astype(float))
    repeated = distinct_values(np.repeat(x, weight))
    assert weighted.values.tobytes() == repeated.values.tobytes()
    assert weighted.weights.tobytes() == repeated.weights.tobytes()
    assert mean_and_deviation(weighted) == mean_and_deviation(repeated)


@given(columns, st.data())
def test_fractional_weights_do_not_depend_on_order(x: np.ndarray, data: st.DataObject) -> None:
    weight = data.draw(hnp.arrays(np.float64, x.size, elements=st.floats(0.1, 10)))
    order = np.array(data.draw(st.permutations(range(x.size))))
    assert mean_and_deviation(distinct_values(x, weight)) == mean_and_deviation(
        distinct_values(x[order], weight[order])
    )


def test_agree_with_numpy() -> None:
    x = np.random.default_rng(0).normal(5, 3, size=1001)
    distinct = distinct_values(x)
    assert mean_and_deviation(distinct) == pytest.approx((x.mean(), x.std()), rel=1e-12)
    for q in (0.25, 0.5, 0.75):
        assert quantile(distinct, q) == np.quantile(x, q, method="averaged_inverted_cdf")


@pytest.mark.parametrize("weight", [[1.0, -1.0], [np.nan, 1.0], [0.0, 0.0], [1.0], [1e308, 1e308]])
def test_unusable_weights_are_named(weight: list[float]) -> None:
    with pytest.raises(DataError, match=r"^sample_weight: .*allowed"), np.errstate(over="ignore"):
        check_weight(weight, 2)
