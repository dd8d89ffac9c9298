from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from distilled_experts.errors import DataError, InvalidParameterError
from distilled_experts.experiments.task import check_target, infer_task, missing_rows


@pytest.mark.parametrize(
    ("y", "task"),
    [
        (["a", "b"], "classification"),
        ([True, False], "classification"),
        (pd.Series([True, None], dtype="boolean"), "classification"),
        (pd.Series([0.5, 1.5], dtype="category"), "classification"),
        (range(50), "classification"),
        (range(51), "regression"),
        ([1.0, 2.0, None], "classification"),
        (pd.Series([1, None, 2], dtype="Int64"), "classification"),
        ([0.5, 1.0], "regression"),
        (["0.5", "1.0"], "regression"),
        (["1", "2"], "classification"),
        (np.zeros((3, 2)), "regression"),
        (pd.DataFrame({"y": ["a", "b"]}), "classification"),
        (np.array([[1.5], [2.0]]), "regression"),
    ],
)
def test_task_is_told_from_the_target(y: Any, task: str) -> None:
    assert infer_task(y) == task
    assert infer_task(y, "regression") == "regression"


def test_tasks_that_are_refused() -> None:
    with pytest.raises(InvalidParameterError, match="task: 'cluster' is not allowed; allowed: classification"):
        infer_task([1, 2], "cluster")
    with pytest.raises(DataError, match="dates"):
        infer_task(pd.Series(pd.to_datetime(["2024-01-01", "2024-01-02"])))


@pytest.mark.parametrize(
    ("y", "task", "message"),
    [
        (["a", "a"], "classification", "has one class only \\('a'\\)"),
        (["a", "a", "b"], "classification", "class 'b' of column 'y' has 1 row; allowed: at least 2"),
        (["a", "b", "c", "c"], "classification", "class 'a' .*1 other class.* has 1 row"),
        ([1.0, np.inf], "regression", "infinite"),
        (["a", "b"], "regression", "not a number"),
        ([2.0, 2.0], "regression", "one value only"),
    ],
)
def test_targets_that_teach_nothing(y: list[Any], task: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_target(pd.Series(y, name="y"), task)


def test_targets_come_in_plain_types() -> None:
    for y, dtype in (
        (pd.Series([1.0, 0.0, 1.0, 0.0]), "int64"),
        (pd.Series([1, 0, 1, 0], dtype="Int64"), "int64"),
        (pd.Series([True, False] * 2, dtype="boolean"), "bool"),
        (pd.Series([0.5, 1.5] * 2), "float64"),
    ):
        assert check_target(y, "classification").dtype == dtype
    words = check_target(pd.Series(["a", "b"] * 2, dtype="category"), "classification")
    assert not isinstance(words.dtype, pd.CategoricalDtype)
    assert check_target(pd.Series(["1", "2.5"]), "regression").tolist() == [1.0, 2.5]


def test_missing_rows_know_missing_words() -> None:
    assert missing_rows(pd.Series(["a", "?", " ", None, "None"])).tolist() == [False, True, True, True, False]
    assert missing_rows(pd.Series([1.0, None])).tolist() == [False, True]
