from __future__ import annotations

import datetime
import decimal
import json
import pickle
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from distilled_experts.errors import DataError, InvalidParameterError, ModelFolderError
from distilled_experts.tabular.preprocessing import TablePreprocessor

# Without I, so that no column of words spells an infinite number.
_LETTERS = st.characters(exclude_characters="iI", codec="utf-8")
# Cells of one column each; None is a missing value.
_CELLS: dict[str, st.SearchStrategy[Any]] = {
    "number": st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
    "whole": st.one_of(st.none(), st.integers(-(2**40), 2**40)),
    "written": st.sampled_from(["1", "2.5", "-3e2", "?", "", "NA", " 7 "]),
    "word": st.one_of(st.none(), st.text(_LETTERS, max_size=3)),
    "truth": st.sampled_from([True, False, None]),
    "day": st.one_of(st.none(), st.dates().map(str)),
    "mixed": st.sampled_from([1, "1", 1.0, True, "a", None, 2.5, b"z"]),
}


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    n = draw(st.integers(1, 12))
    kinds = draw(st.lists(st.sampled_from(sorted(_CELLS)), min_size=1, max_size=4))
    cells = {f"{kind}{i}": draw(st.lists(_CELLS[kind], min_size=n, max_size=n)) for i, kind in enumerate(kinds)}
    dtype = {name: object if name.startswith(("mixed", "truth")) else None for name in cells}
    return pd.DataFrame({name: pd.Series(values, dtype=dtype[name]) for name, values in cells.items()})


def _state_text(preprocessor: TablePreprocessor) -> tuple[str, bytes]:
    state, arrays = preprocessor.to_state()
    return json.dumps(state, allow_nan=False), arrays["statistics"].tobytes()


@given(tables(), st.sampled_from(["standard", "robust"]), st.sampled_from([None, 3.0]))
def test_features_are_finite_and_survive_a_round_trip(table: pd.DataFrame, scaling: str, clip: float | None) -> None:
    preprocessor = TablePreprocessor(scaling=scaling, smooth_clip=clip, max_categories=3)
    features = preprocessor.fit_transform(table)
    assert features.dtype == np.float32
    assert features.shape == (len(table), preprocessor.n_features_out)
    assert np.isfinite(features).all()
    state, arrays = preprocessor.to_state()
    restored = TablePreprocessor.from_state(json.loads(json.dumps(state, allow_nan=False)), arrays)
    assert restored.transform(table).tobytes() == features.tobytes()
    assert restored.feature_names_out == preprocessor.feature_names_out
    assert len(preprocessor.feature_sources) == len(preprocessor.numeric_features) == features.shape[1]


@given(tables(), st.data())
def test_other_rows_give_finite_features_too(table: pd.DataFrame, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(table) - 1), min_size=1))
    preprocessor = TablePreprocessor(smooth_clip=None)
    try:
        features = preprocessor.fit(table.iloc[rows]).transform(table)
    except DataError:
        # A column that showed only numbers, dates or truths in training may hold words later.
        return
    assert np.isfinite(features).all()


@given(tables(), st.data())
def test_order_and_duplicates_do_not_matter(table: pd.DataFrame, data: st.DataObject) -> None:
    n = len(table)
    weight = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n).filter(any)))
    order = np.array(data.draw(st.permutations(range(n))))
    weighted = TablePreprocessor(dtype="float64", max_categories=2).fit(table.iloc[order], weight[order])
    repeated = TablePreprocessor(dtype="float64", max_categories=2).fit(table.iloc[np.repeat(np.arange(n), weight)])
    assert _state_text(weighted) == _state_text(repeated)


def test_numbers_agree_with_scikit_learn() -> None:
    X = np.random.default_rng(0).normal(3, 5, size=(200, 4))
    preprocessor = TablePreprocessor(smooth_clip=None, dtype="float64")
    np.testing.assert_allclose(preprocessor.fit_transform(X), StandardScaler().fit_transform(X), atol=1e-12)
    assert preprocessor.numeric_features.all()
    clipped = TablePreprocessor(dtype="float64").fit_transform(X * 1e200)
    assert np.abs(clipped).max() < 3
    assert (np.argsort(clipped, axis=0) == np.argsort(X, axis=0)).all()


def test_huge_values_stay_finite() -> None:
    X = np.array([[-1.7e308, 5e-324], [1.7e308, 0.0], [0.0, 0.0]])
    assert np.isfinite(TablePreprocessor(smooth_clip=None).fit_transform(X)).all()
    small = TablePreprocessor(smooth_clip=None).fit(np.array([[0.0], [1e-300]]))
    assert np.isfinite(small.transform(np.array([[1.7e308]]))).all()


_COLUMNS = {
    "float": pd.Series([1.0, None, 3.0]),
    "Int64": pd.Series([1, None, 3], dtype="Int64"),
    "Float64": pd.Series([1.5, None, 3.0], dtype="Float64"),
    "arrow": pd.Series([1, None, 3], dtype="int64[pyarrow]"),
    "decimal": pd.Series([decimal.Decimal("1.5"), pd.NA, decimal.Decimal(2)], dtype=object),
    "duration": pd.Series([pd.Timedelta(1, "D"), None, pd.Timedelta(2, "D")]),
    "written": pd.Series(["1", "?", " 3"]),
}


@pytest.mark.parametrize("name", _COLUMNS)
def test_numbers_in_any_dtype(name: str) -> None:
    preprocessor = TablePreprocessor(smooth_clip=None)
    features = preprocessor.fit_transform(_COLUMNS[name].to_frame("x"))
    assert preprocessor.feature_names_out == ["x", "x=missing"]
    np.testing.assert_array_equal(features, np.array([[-1, 0], [0, 1], [1, 0]], dtype=np.float32))


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(["a", None, "b"]),
        pd.Series(["a", None, "b"], dtype="category"),
        pd.Series(["a", pd.NA, "b"], dtype="string"),
        pd.Series(["a ", "?", " b"], dtype=object),
        pd.Series([b"a", None, b"b"], dtype=object),
    ],
)
def test_categories_in_any_dtype(column: pd.Series[Any]) -> None:
    preprocessor = TablePreprocessor()
    features = preprocessor.fit_transform(column.to_frame("x"))
    assert preprocessor.feature_names_out == ["x=a", "x=b", "x=missing"]
    assert features.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    # A label that was never seen is all zeros, whichever dtype brings it.
    assert preprocessor.transform(pd.DataFrame({"x": ["new", "a"]})).tolist() == [[0, 0, 0], [1, 0, 0]]
    assert preprocessor.transform(pd.DataFrame({"x": [1, 2]})).tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("dtype", ["boolean", object, "bool[pyarrow]"])
def test_truth_in_any_dtype(dtype: Any) -> None:
    column = pd.Series([True, None, False], dtype=dtype)
    preprocessor = TablePreprocessor()
    assert preprocessor.fit_transform(column.to_frame("x")).tolist() == [[1, 0], [0.5, 1], [0, 0]]
    assert preprocessor.transform(pd.DataFrame({"x": ["true", "False", "?"]})).tolist() == [
        [1, 0],
        [0, 0],
        [0.5, 1],
    ]
    assert preprocessor.transform(pd.DataFrame({"x": [1, 0]})).tolist() == [[1, 0], [0, 0]]
    with pytest.raises(DataError, match="column 'x'"):
        preprocessor.transform(pd.DataFrame({"x": ["maybe"]}))


def test_numbers_and_their_texts_are_one_category() -> None:
    preprocessor = TablePreprocessor().fit(pd.DataFrame({"x": pd.Series([1, 2, None], dtype="category")}))
    for cells in ([1, 2], [1.0, 2.0], ["1", "2"], [" 1", "2"]):
        assert preprocessor.transform(pd.DataFrame({"x": cells})).tolist() == [[1, 0, 0], [0, 1, 0]]


def test_rare_categories_share_a_feature_with_unseen_ones() -> None:
    preprocessor = TablePreprocessor(max_categories=2).fit(pd.DataFrame({"x": list("aaabbbcd")}))
    assert preprocessor.feature_names_out == ["x=a", "x=b", "x=infrequent"]
    assert preprocessor.transform(pd.DataFrame({"x": ["c", "zzz", "b", None]})).argmax(axis=1).tolist() == [
        2,
        2,
        1,
        2,
    ]


_DATES = [
    pd.Series(pd.to_datetime(["2024-01-31", None, "2024-03-01"])),
    pd.Series(pd.to_datetime(["2024-01-31", None, "2024-03-01"], utc=True)),
    pd.Series([datetime.date(2024, 1, 31), None, datetime.date(2024, 3, 1)], dtype=object),
    pd.Series(["2024-01-31", "", "2024-03-01"]),
    pd.Series(["31.01.2024", "", "01.03.2024"]),
    pd.Series(["01/31/2024", "", "03/01/2024"]),
    pd.Series(["31/01/2024 00:00", "?", "01/03/2024 00:00"]),
]


@pytest.mark.parametrize("column", _DATES)
def test_dates_in_any_form(column: pd.Series[Any]) -> None:
    preprocessor = TablePreprocessor(smooth_clip=None)
    features = preprocessor.fit_transform(column.to_frame("x"))
    circles = [f"x.{part}.{wave}" for part in ("month", "weekday") for wave in ("sin", "cos")]
    assert preprocessor.feature_names_out == [*circles, "x", "x=missing"]
    assert preprocessor.numeric_features.tolist() == [False] * 4 + [True, False]
    np.testing.assert_allclose(features[:, 4:], [[-1, 0], [0, 1], [1, 0]], atol=1e-6)
    # January is the beginning of the circle, Wednesday (2024-01-31) the third day of seven.
    np.testing.assert_allclose(features[0, :4], [0, 1, np.sin(4 * np.pi / 7), np.cos(4 * np.pi / 7)], atol=1e-6)
    assert not features[1, :4].any()


def test_dates_are_read_from_text_after_a_fit_on_dates() -> None:
    preprocessor = TablePreprocessor().fit(_DATES[0].to_frame("x"))
    assert (preprocessor.transform(_DATES[3].to_frame("x")) == preprocessor.transform(_DATES[0].to_frame("x"))).all()
    assert np.isfinite(preprocessor.transform(pd.DataFrame({"x": ["not a date", None]}))).all()
    with pytest.raises(DataError, match="dates"):
        preprocessor.transform(pd.DataFrame({"x": [1.5]}))


def test_time_of_day_and_codes_that_look_like_dates() -> None:
    hours = pd.DataFrame({"x": pd.date_range("2024-01-01", periods=24, freq="h")})
    assert "x.time.sin" in TablePreprocessor().fit(hours).feature_names_out
    codes = pd.DataFrame({"x": ["12-7-a", "3-1-b", "9-9-c", "12-7-a"]})
    assert TablePreprocessor().fit(codes).columns[0].kind == "category"


def test_frames_and_arrays_of_every_library_agree() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 4.0], "b": ["x", "y", "x"], "c": [True, False, True]})
    preprocessor = TablePreprocessor().fit(frame)
    expected = preprocessor.transform(frame)
    cells = frame.to_numpy(dtype=object)
    for other in (pl.from_pandas(frame), cells, cells.tolist()):
        np.testing.assert_array_equal(preprocessor.transform(other), expected)
        np.testing.assert_array_equal(TablePreprocessor().fit_transform(other), expected)
    numbers = np.array([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]])
    expected = TablePreprocessor().fit_transform(numbers)
    for sparse in (scipy.sparse.csr_matrix(numbers), scipy.sparse.coo_array(numbers), pd.DataFrame(numbers)):
        np.testing.assert_array_equal(TablePreprocessor().fit_transform(sparse), expected)


def test_polars_dtypes() -> None:
    frame = pl.DataFrame(
        {
            "category": pl.Series(["p", None, "q"], dtype=pl.Categorical),
            "date": [datetime.date(2024, 1, 1), None, datetime.date(2024, 2, 1)],
            "whole": [1, None, 2],
            "truth": [True, None, False],
            "word": ["x", None, "y"],
        }
    )
    preprocessor = TablePreprocessor()
    assert np.isfinite(preprocessor.fit_transform(frame)).all()
    assert [column.kind for column in preprocessor.columns] == [
        "category",
        "date",
        "numeric",
        "boolean",
        "category",
    ]


def test_column_names_are_compared() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 3.0]})
    preprocessor = TablePreprocessor().fit(frame)
    cases = {
        "missing columns 'b'": frame[["a"]],
        "unexpected columns 'c'": frame.assign(c=1),
        "the order differs": frame[["b", "a"]],
        "3 columns are not allowed": np.zeros((1, 3)),
    }
    for message, table in cases.items():
        with pytest.raises(DataError, match=message):
            preprocessor.transform(table)
    integers = TablePreprocessor().fit(pd.DataFrame({5: [1.0, 2.0], 7: [1.0, 3.0]}))
    assert integers.feature_names_in == [5, 7]
    with pytest.raises(DataError, match="missing columns 7"):
        integers.transform(pd.DataFrame({5: [1.0], 8: [1.0]}))


def test_constant_and_empty_columns_are_dropped() -> None:
    frame = pd.DataFrame({"one": [1, 1], "none": [None, None], "word": ["a", "a"], "truth": [True, True], "x": [1, 2]})
    preprocessor = TablePreprocessor().fit(frame)
    assert preprocessor.feature_names_out == ["x"]
    assert preprocessor.feature_sources.tolist() == [4]
    assert preprocessor.transform(frame.assign(none=3.0, word="b")).shape == (2, 1)
    assert TablePreprocessor().fit_transform(frame[["one"]]).shape == (2, 0)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (np.array([[1.0], [np.inf]]), "column 0 holds 1 infinite"),
        (pd.DataFrame({"x": ["1", "inf"]}), "column 'x' holds 1 infinite"),
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), "names repeat: 'x'"),
        (np.zeros(3), "1 dimensions"),
        (np.zeros((2, 2), dtype=complex), "Complex data not supported"),
        (pd.DataFrame({"x": pd.Series([1j], dtype=object)}), "column 'x'"),
        (np.zeros((0, 2)), "0 rows"),
        (pd.DataFrame({"x": [{"a": 1}, "b"]}), "column 'x' holds a dict"),
        (pd.DataFrame({"x": [[1], [2]]}), "column 'x' holds a list"),
    ],
)
def test_unusable_tables_are_explained(table: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        TablePreprocessor().fit(table)


def test_words_among_numbers_are_reported_at_prediction() -> None:
    preprocessor = TablePreprocessor().fit(pd.DataFrame({"x": [1.0, 2.0]}))
    with pytest.raises(DataError, match="column 'x' holds 'abc'; allowed: numbers"):
        preprocessor.transform(pd.DataFrame({"x": ["1", "abc"]}))
    assert np.isfinite(preprocessor.transform(pd.DataFrame({"x": [None, None]}))).all()


@pytest.mark.parametrize(
    "wrong",
    [{"max_categories": 0}, {"smooth_clip": -1.0}, {"scaling": "minmax"}, {"dtype": "int8"}, {"dtype": "no"}],
)
def test_parameters_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match=f"^{next(iter(wrong))}: "):
        TablePreprocessor(**wrong)


def test_damaged_states_are_refused() -> None:
    state, arrays = TablePreprocessor().fit(pd.DataFrame({"x": [1.0, 2.0], "y": ["a", "b"]})).to_state()
    damaged = [
        ({}, arrays),
        ({**state, "format": 99}, arrays),
        ({**state, "columns": state["columns"][:1]}, arrays),
        ({**state, "columns": [{"kind": "code", "name": "x"}, state["columns"][1]]}, arrays),
        ({**state, "scaling": "os.system"}, arrays),
        (state, {}),
        (state, {"statistics": arrays["statistics"] * np.nan}),
        (state, {"statistics": arrays["statistics"][:, :2]}),
    ]
    for wrong_state, wrong_arrays in damaged:
        with pytest.raises(ModelFolderError):
            TablePreprocessor.from_state(wrong_state, wrong_arrays)


def test_before_fit_and_pickle() -> None:
    with pytest.raises(DataError, match="not fitted"):
        TablePreprocessor().transform(np.zeros((1, 1)))
    X = np.random.default_rng(0).normal(size=(5, 2))
    fitted = TablePreprocessor().fit(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).transform(X), fitted.transform(X))
