from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilled_experts.errors import DataError, InvalidParameterError
from distilled_experts.experiments.splits import Split, make_splits

# Class codes in which every class has at least two rows.
classes = st.lists(st.integers(2, 9), min_size=2, max_size=6).flatmap(
    lambda counts: st.permutations([code for code, count in enumerate(counts) for _ in range(count)])
)
shares = st.sampled_from([0.1, 0.3, 0.5, 0.8])


def _check(split: Split, n_rows: int, *, whole: bool = True) -> None:
    parts = [split.train, split.validation, split.test]
    together = np.concatenate(parts)
    assert all(len(part) for part in parts)
    assert all((np.diff(part) > 0).all() for part in parts)
    assert np.unique(together).size == together.size
    if whole:
        assert sorted(together) == list(range(n_rows))


def _same(one: Split, other: Split) -> bool:
    return all(np.array_equal(getattr(one, part), getattr(other, part)) for part in ("train", "validation", "test"))


@given(classes, shares, shares)
def test_classes_are_all_trained(y: list[int], test_size: float, validation_size: float) -> None:
    options = {"test_size": test_size, "validation_size": validation_size}
    splits = make_splits(y, "classification", seeds=3, **options)
    for split in splits:
        _check(split, len(y))
        assert set(np.array(y)[split.train]) == set(y)
    # What a seed gives does not depend on how many there are, nor on where counting begins.
    assert _same(make_splits(y, "classification", seeds=1, first_seed=2, **options)[0], splits[2])


@given(st.integers(3, 40), shares, shares)
def test_numbers_are_split_at_random(n_rows: int, test_size: float, validation_size: float) -> None:
    for split in make_splits(
        np.arange(n_rows), "regression", seeds=2, test_size=test_size, validation_size=validation_size
    ):
        _check(split, n_rows)


def test_large_classes_are_stratified() -> None:
    y = np.repeat(["a", "b", "c"], [700, 200, 100])
    for split in make_splits(y, "classification", seeds=3):
        for part, size in ((split.train, 560), (split.validation, 140), (split.test, 300)):
            assert len(part) == size
            counts = np.unique(y[part], return_counts=True)[1]
            np.testing.assert_allclose(counts / size, [0.7, 0.2, 0.1], atol=0.01)
    assert not _same(*make_splits(y, "classification", seeds=2))


def test_fixed_test_rows() -> None:
    y = [0, 1] * 10
    for options in ({}, {"groups": np.repeat(range(5), 4)}, {"time": range(20)}):
        split = make_splits(y, "classification", seeds=2, n_test_rows=7, **options)[0]
        assert split.test.tolist() == list(range(7))
        if "time" not in options:
            assert sorted([*split.train, *split.validation]) == list(range(20))


@given(classes, st.sampled_from(["classification", "regression"]), st.data())
def test_groups_stay_together(y: list[int], task: str, data: st.DataObject) -> None:
    groups = np.array(data.draw(st.lists(st.integers(0, 8), min_size=len(y), max_size=len(y))))
    try:
        splits = make_splits(y, task, seeds=2, groups=groups)
    except DataError:
        splits = []
    assert bool(splits) == _can_be_split(np.array(y), groups, task)
    if not splits:
        return
    for split in splits:
        _check(split, len(y))
        owners = [set(groups[part]) for part in (split.train, split.validation, split.test)]
        assert sum(map(len, owners)) == np.unique(groups).size
        if task == "classification":
            assert set(np.array(y)[split.train]) == set(y)
    assert _same(make_splits(y, task, seeds=1, groups=groups)[0], splits[0])


def _can_be_split(y: np.ndarray, groups: np.ndarray, task: str) -> bool:
    """Search all pairs of groups that could be held out."""
    names = np.unique(groups)
    for first in names:
        for second in names[names != first]:
            kept = (groups != first) & (groups != second)
            if kept.any() and (task == "regression" or set(y[kept]) == set(y)):
                return True
    return False


def test_groups_are_stratified_and_of_the_size_asked_for() -> None:
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(100), 10)
    y = np.repeat(generator.integers(0, 2, 100), 10)
    for split in make_splits(y, "classification", seeds=3, groups=groups):
        assert 0.25 <= len(split.test) / 1000 <= 0.35
        assert abs(y[split.test].mean() - y.mean()) < 0.05
    many = np.arange(4000) // 2
    assert len(make_splits(many % 3, "classification", seeds=1, groups=many)[0].test) == 1200


@given(
    st.lists(st.integers(0, 30), min_size=3, max_size=60).filter(lambda time: len(set(time)) >= 3),
    shares,
    shares,
)
def test_time_runs_from_training_to_test(time: list[int], test_size: float, validation_size: float) -> None:
    options = {"time": time, "test_size": test_size, "validation_size": validation_size}
    splits = make_splits(np.zeros(len(time)), "regression", seeds=4, **options)
    order = np.array(time)
    for split in splits:
        _check(split, len(time), whole=False)
        assert order[split.train].max() < order[split.validation].min()
        assert order[split.validation].max() < order[split.test].min()
        inside = (order >= order[split.train].min()) & (order <= order[split.test].max())
        assert inside.sum() == sum(map(len, (split.train, split.validation, split.test)))
    assert order[splits[0].test].max() == order.max()
    assert _same(make_splits(np.zeros(len(time)), "regression", seeds=1, first_seed=3, **options)[0], splits[3])


def test_windows_of_time_differ_and_have_the_sizes_asked_for() -> None:
    time = np.random.default_rng(0).permutation(1000)
    splits = make_splits(np.zeros(1000), "regression", seeds=5, time=time)
    assert [len(splits[0].train), len(splits[0].validation), len(splits[0].test)] == [448, 112, 240]
    assert len({int(time[split.train].min()) for split in splits}) == 5


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        ([0, 1], {}, "data: 2 rows are too few"),
        ([0, 0, 1, 1], {"groups": [0, 0, 1, 1]}, "groups: 2 distinct values"),
        ([0, 0, 1, 1, 2, 2], {"groups": [0, 0, 1, 1, 2, 2]}, "without losing a class"),
        ([0, 0, 1, 1], {"time": [1, 1, 2, 2]}, "time: 2 distinct times"),
        ([0, 0, 1, 1], {"groups": [0, 0, 1, None]}, "groups: holds missing values"),
        ([0, 0, 1, 1], {"time": [0, 0, 1]}, "time: shape"),
    ],
)
def test_data_that_cannot_be_split(y: list[int], options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_splits(y, "classification", seeds=1, **options)


@pytest.mark.parametrize(
    "wrong",
    [
        {"seeds": 0},
        {"seeds": True},
        {"seeds": 1.5},
        {"test_size": 0.0},
        {"validation_size": 1},
        {"first_seed": -1},
        {"n_test_rows": 0},
        {"task": "ranking"},
        {"time": range(20), "groups": range(20)},
    ],
)
def test_parameters_are_checked(wrong: dict[str, Any]) -> None:
    options = {"task": "regression", "seeds": 1, **wrong}
    with pytest.raises(InvalidParameterError, match=f"^{next(iter(wrong))}: "):
        make_splits(np.zeros(20), **options)
