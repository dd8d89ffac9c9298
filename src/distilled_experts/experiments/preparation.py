"""From a table to the arrays of a stack: splits, preprocessing and targets, each fitted on training rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from distilled_experts.errors import DataError
from distilled_experts.experiments.data import Table
from distilled_experts.experiments.specification import Specification
from distilled_experts.experiments.splits import Split, make_splits
from distilled_experts.tabular.preprocessing import TablePreprocessor
from distilled_experts.tabular.targets import ClassTarget, RegressionTarget
from distilled_experts.tabular.training import Rows

__all__ = ["Group", "Stack", "prepare", "splits_for"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Group:
    """One seed's rows: features and encoded targets of its three parts, ``x`` (n, D) and ``y`` (n,) or (n, C).

    `columns` are the table's; `sources` (D,) says which of them each feature comes from.
    """

    seed: int
    x: dict[str, Array]
    y: dict[str, Array]
    target: ClassTarget | RegressionTarget
    columns: list[str]
    sources: Array


@dataclass(frozen=True)
class Stack:
    """All seeds' rows, padded to one width where their categories differ."""

    groups: list[Group]
    n_features: int
    n_outputs: int

    @property
    def seeds(self) -> list[int]:
        """One a group."""
        return [group.seed for group in self.groups]

    @property
    def fan_in(self) -> list[int]:
        """Features that each group really has."""
        return [group.x["train"].shape[1] for group in self.groups]

    def rows(self, part: str, device: str) -> Rows:
        """One part of all groups as tensors."""
        counts = [len(group.x[part]) for group in self.groups]
        x = np.zeros((len(self.groups), max(counts), self.n_features), dtype=np.float32)
        first = self.groups[0].y[part]
        y = np.zeros(
            (len(self.groups), max(counts), *first.shape[1:]),
            dtype=np.int64 if first.ndim == 1 else np.float32,
        )
        for s, group in enumerate(self.groups):
            x[s, : counts[s], : group.x[part].shape[1]] = group.x[part]
            y[s, : counts[s]] = group.y[part]
        return Rows(torch.from_numpy(x).to(device), torch.from_numpy(y).to(device), counts)

    def padded(self, s: int, part: str) -> Array:
        """Features of one group in the stack's width."""
        x = self.groups[s].x[part]
        return np.pad(x, ((0, 0), (0, self.n_features - x.shape[1])))


def splits_for(table: Table, specification: Specification, seeds: Sequence[int], test: Table | None) -> list[Split]:
    """The splits of these consecutive seeds; with a test table, test positions count in that one."""
    return make_splits(
        table.y,
        specification.task,
        seeds=len(seeds),
        first_seed=seeds[0],
        test_size=specification.test_size,
        validation_size=specification.validation_size,
        groups=table.groups,
        time=table.time,
        n_test_rows=None if test is None else len(test.y),
    )


def prepare(table: Table, specification: Specification, seeds: Sequence[int], test: Table | None = None) -> Stack:
    """Split, preprocess and encode the rows of every seed.

    Raises
    ------
    DataError
        When the test table has other columns or unknown classes, or no usable feature is left.
    """
    splits = splits_for(table, specification, seeds, test)
    groups = [_group(table, specification, *pair, test) for pair in zip(seeds, splits, strict=True)]
    n_features = max(group.x["train"].shape[1] for group in groups)
    if n_features == 0:
        raise DataError(f"{table.name}: no feature varies in the training rows; nothing can be learned")
    first = groups[0].target
    n_outputs = len(first.classes) if isinstance(first, ClassTarget) else groups[0].y["train"].shape[1]
    return Stack(groups, n_features, n_outputs)


def _group(table: Table, specification: Specification, seed: int, split: Split, test: Table | None) -> Group:
    preprocessor = TablePreprocessor().fit(table.X.iloc[split.train])
    target: ClassTarget | RegressionTarget
    if specification.task == "classification":
        # Classes of the whole table: a rare one may be absent from a seed's training rows.
        target = ClassTarget().fit(table.y)
    else:
        target = RegressionTarget().fit(table.y.iloc[split.train])
    parts = {
        "train": (table, split.train),
        "validation": (table, split.validation),
        "test": (test or table, split.test),
    }
    x = {part: preprocessor.transform(source.X.iloc[rows]) for part, (source, rows) in parts.items()}
    y = {part: target.encode(source.y.iloc[rows]) for part, (source, rows) in parts.items()}
    columns = [str(name) for name in preprocessor.feature_names_in]
    return Group(seed, x, y, target, columns, preprocessor.feature_sources)
