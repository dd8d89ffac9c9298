"""``mode fit`` and ``mode predict``: an estimator trained on a whole table, and its predictions for a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from distilled_experts.errors import DataError, ModelFolderError
from distilled_experts.experiments.data import Table, load_table
from distilled_experts.experiments.reading import is_parquet, read_frame
from distilled_experts.experiments.specification import parse_alpha
from distilled_experts.experiments.streaming import ParquetTable, TrainingRows, open_parquet
from distilled_experts.tabular.estimators import MoDEClassifier, MoDERegressor
from distilled_experts.tabular.frames import check_names
from distilled_experts.tabular.model_folder import check_place, read_model

__all__ = ["fit_model", "load_model", "load_rows", "predict_file", "select_features"]

_BATCH_ROWS = 65_536

_ESTIMATORS = {"MoDEClassifier": MoDEClassifier, "MoDERegressor": MoDERegressor}
_PARAMETERS = {
    "experts": "n_experts",
    "epochs": "max_iter",
    "patience": "n_iter_no_change",
    "lr": "learning_rate",
    "seed": "random_state",
}


def load_rows(data: str, *, target: str | None, data_dir: str | None, task: str | None) -> Table | TrainingRows:
    """What `fit_model` trains on: a Parquet file is opened, any other data are read."""
    if is_parquet(data):
        return open_parquet(data, target=target, task=task)
    return load_table(data, target=target, data_dir=data_dir, task=task)


def fit_model(table: Table | TrainingRows, out: str | Path, *, force: bool = False, **options: Any) -> Path:
    """Fit the estimator that the table's task asks for, and save it.

    Parameters
    ----------
    table : Table or TrainingRows
    out : path
        Folder for the model.
    force : bool
        Replace a model that is there.
    **options
        Options of the command; those that are None take the estimator's default.

    Raises
    ------
    ModelFolderError
        When `out` holds something; nothing is trained then.
    """
    check_place(Path(out), overwrite=force)
    given = {_PARAMETERS.get(name, name): value for name, value in options.items() if value is not None}
    if given.get("alpha", "auto") != "auto":
        given["alpha"] = list(parse_alpha(given["alpha"]))
    estimator = (MoDEClassifier if table.task == "classification" else MoDERegressor)(**given)
    estimator.fit(table.X, table.y)
    estimator.save(out, overwrite=force)
    return Path(out)


def load_model(path: str | Path) -> MoDEClassifier | MoDERegressor:
    """The estimator that a model folder holds."""
    name = str(read_model(path)[0].get("class"))
    if name not in _ESTIMATORS:
        raise ModelFolderError(f"model: {str(path)!r} holds a {name!r}; known: {', '.join(_ESTIMATORS)}")
    return _ESTIMATORS[name].load(path)


def select_features(estimator: MoDEClassifier | MoDERegressor, frame: pd.DataFrame) -> pd.DataFrame:
    """The columns that the model was trained on, in their order; others, such as the target, are passed over.

    A model that was trained on an array knows no names: it takes all columns.

    Raises
    ------
    DataError
        When columns are missing, or without names too many.
    """
    names = list(getattr(estimator, "feature_names_in_", ()))
    if not names and frame.shape[1] != estimator.n_features_in_:
        raise DataError(f"X: {frame.shape[1]} columns are not allowed; allowed: {estimator.n_features_in_}, as in fit")
    if not names:
        return frame.set_axis(range(frame.shape[1]), axis="columns")
    check_names(tuple(names), tuple(name for name in names if name in frame.columns))
    return frame[names]


def predict_file(model: str | Path, data: str | Path) -> Iterator[pd.DataFrame]:
    """Predictions for the rows of a file, some rows at a time: ``prediction``, for classes ``probability_CLASS`` too.

    Columns that the model was not trained on, such as the target, are passed over. A Parquet file may be larger than
    memory.
    """
    estimator = load_model(model)
    for frame in _batches(data):
        features = select_features(estimator, frame)
        result = pd.DataFrame({"prediction": estimator.predict(features)})
        if isinstance(estimator, MoDEClassifier):
            probabilities = estimator.predict_proba(features)
            for label, column in zip(estimator.classes_, probabilities.T, strict=True):
                result[f"probability_{label}"] = column
        yield result


def _batches(data: str | Path) -> Iterator[pd.DataFrame]:
    if is_parquet(str(data)):
        yield from ParquetTable(data).batches()
        return
    frame = read_frame(data)
    yield from (frame[start : start + _BATCH_ROWS] for start in range(0, len(frame), _BATCH_ROWS))
