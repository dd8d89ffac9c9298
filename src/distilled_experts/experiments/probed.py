"""``mode probe``: what the experts of a saved model know, on the rows of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from distilled_experts.errors import DataError, InvalidParameterError, RunFolderError, WriteError
from distilled_experts.experiments.data import target_name
from distilled_experts.experiments.models import load_model, select_features
from distilled_experts.experiments.records import Record, environment
from distilled_experts.experiments.sources import Source, find_source
from distilled_experts.experiments.task import missing_rows
from distilled_experts.tabular.estimators import MoDEClassifier, MoDERegressor

__all__ = ["probe_table", "write_probe"]


def probe_table(
    model: str | Path,
    data: str,
    *,
    target: str | None = None,
    data_dir: str | Path | None = None,
    subsets: str | None = None,
) -> Record:
    """Probe a saved model on the rows of a table that have a target.

    Parameters
    ----------
    model : path
        Folder that ``mode fit`` or an estimator's ``save`` wrote. No code is run from it.
    data : str
        A file or the name of a data set, as in `load_table`; rows that the model was not trained on. Columns that the
        model does not know are passed over.
    target, data_dir
        As in `load_table`.
    subsets : str, optional
        "clusters" or "target", as in `probing.probe`, or a column of the table that names the subset of every row.

    Returns
    -------
    Record
        ``ProbeRecord.to_dict()``, and beside it the names of model, data and target, the gate, notes, and the
        environment.

    Raises
    ------
    ModelFolderError
        When the folder is missing, damaged, or holds another kind of model.
    DataError
        When the data are not there, lack a column, or have a target that the model does not know.
    InvalidParameterError
        When there are no such subsets.
    """
    estimator = load_model(model)
    source = find_source(data, data_dir)
    name = target_name(source, target)
    X, y, notes = _rows(source, name)
    features, known_y = select_features(estimator, X), _known_target(estimator, y)
    found = estimator.probe(features, known_y, subsets=_subsets(subsets, X)).to_dict()
    about = {
        "model": str(model),
        "data": source.name,
        "target": name,
        "gate": estimator.gate,
        "top_k": estimator.top_k,
        "notes": notes,
        "environment": environment(),
    }
    return Record(found | about)


def _rows(source: Source, target: str) -> tuple[pd.DataFrame, pd.Series[Any], list[str]]:
    """Features and target of the rows that have one."""
    missing = missing_rows(source.frame[target])
    frame = source.frame[~missing].reset_index(drop=True)
    if frame.empty:
        raise DataError(f"target: column '{target}' has no values; allowed: a column with a value in some rows")
    notes = [f"{int(missing.sum())} rows without a target were left out"] if missing.any() else []
    return frame.drop(columns=target), frame[target], [*source.notes, *notes]


def _subsets(asked: str | None, X: pd.DataFrame) -> Any:
    """The cells of a column, or the name of a rule."""
    if asked in X.columns:
        return X[asked]
    if asked not in (None, "clusters", "target"):
        raise InvalidParameterError("subsets", asked, "clusters, target, or a column of the data")
    return asked


def _known_target(estimator: MoDEClassifier | MoDERegressor, y: pd.Series[Any]) -> Any:
    """The target as the model knows it; a class or a value that it cannot know is an error."""
    if isinstance(estimator, MoDERegressor):
        numbers = pd.to_numeric(y, errors="coerce")
        if not np.isfinite(numbers).all():
            raise DataError(f"target: column '{y.name}' holds values that are no numbers; the model predicts numbers")
        return numbers
    unknown = set(pd.unique(y)) - set(estimator.classes_)
    if unknown:
        known = ", ".join(str(label) for label in estimator.classes_[:5])
        found = min(map(str, unknown))
        raise DataError(f"target: column '{y.name}' holds {found!r}, no class of the model; known: {known}")
    return y


def write_probe(record: Record, path: str | Path) -> Path:
    """Write the page of a record: to a file that ends in .html, or with its figures as files into a folder.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    RunFolderError
        When there is no such place.
    WriteError
        When it cannot be written.
    """
    from distilled_experts.report import write_figures, write_report

    target = Path(path)
    try:
        if target.suffix == ".html":
            return write_report(record, target)
        write_figures(record, target / "figures")
        return write_report(record, target / "report.html")
    except (FileNotFoundError, FileExistsError, NotADirectoryError) as error:
        raise RunFolderError(f"report: {str(target)!r} is in no folder, or no folder: {error.strerror}") from error
    except OSError as error:
        raise WriteError(f"report: cannot write to {str(target)!r}: {error.strerror or error}") from error
