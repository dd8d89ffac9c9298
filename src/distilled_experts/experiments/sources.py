"""Where a data set known by name comes from: a folder, scikit-learn's bundled sets, or OpenML."""

from __future__ import annotations

import http.client
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import sklearn.datasets

from distilled_experts.errors import DataError, InvalidParameterError, UnknownDataError
from distilled_experts.experiments.reading import SUFFIXES, has_table_suffix, read_file
from distilled_experts.experiments.registry import BUNDLED, DEFAULT_TARGET, REGISTRY, Entry, suggest

__all__ = ["DATA_VARIABLE", "Source", "find_source"]

DATA_VARIABLE = "DISTILLED_EXPERTS_DATA"
_CONNECT_SECONDS = 5.0


class Source(NamedTuple):
    """A data set as it was found.

    Attributes
    ----------
    name : str
        Short name.
    frame : DataFrame
        All columns.
    target : str or None
        Target column, where the source knows it.
    notes : tuple of str
        Where it came from, and what was done in reading.
    """

    name: str
    frame: pd.DataFrame
    target: str | None
    notes: tuple[str, ...]


def find_source(data: str, data_dir: str | Path | None = None) -> Source:
    """Find a table: an existing file, or a name in the data folder, among the bundled sets, at OpenML.

    The network is asked for nothing but sets of the registry that are not at hand.

    Raises
    ------
    UnknownDataError
        Where nothing has this name; near names are listed.
    DataError
        Where the file or the download failed.
    """
    if has_table_suffix(data):
        frame, notes = read_file(data)
        return Source(_stem(Path(data).name), frame, None, notes)
    folder = _data_folder(data_dir)
    files = _files_by_stem(folder) if folder else {}
    entry = REGISTRY.get(data, Entry(data))
    if entry.file in files:
        frame, notes = read_file(files[entry.file])
        return Source(data, frame, entry.target if data in REGISTRY else None, notes)
    if data in BUNDLED:
        return Source(data, _bundled(data), DEFAULT_TARGET, ())
    if data in REGISTRY:
        return _from_openml(data, entry)
    if Path(data).is_file():
        # Its type is not known, which reading says better.
        read_file(data)
    raise UnknownDataError(_unknown(data, [*BUNDLED, *REGISTRY, *files]))


def _unknown(data: str, known: list[str]) -> str:
    if os.sep in data or Path(data).is_dir():
        return f"data: '{data}' is not a file; allowed: a CSV, CSV.gz or Parquet file, or the name of a data set"
    return f"data: '{data}' is no file and no known data set; known names: {suggest(data, known)}"


def _data_folder(data_dir: str | Path | None) -> Path | None:
    given, parameter = data_dir, "data_dir"
    if given is None:
        given, parameter = os.environ.get(DATA_VARIABLE) or None, DATA_VARIABLE
    if given is None:
        return None
    if not Path(given).is_dir():
        raise InvalidParameterError(parameter, str(given), "an existing folder")
    return Path(given)


def _stem(name: str) -> str:
    suffix = next((suffix for suffix in SUFFIXES[::-1] if name.lower().endswith(suffix)), Path(name).suffix)
    return name[: len(name) - len(suffix)]


def _files_by_stem(folder: Path) -> dict[str, Path]:
    """Map stems to files below the folder: the least deep first, then by suffix, then by path."""
    found = [Path(root) / name for root, _, names in os.walk(folder) for name in names if name.endswith(SUFFIXES)]
    order = {suffix: rank for rank, suffix in enumerate(SUFFIXES)}

    def rank(path: Path) -> tuple[int, int, str]:
        return len(path.parts), order[path.name.removeprefix(_stem(path.name))], str(path)

    return {_stem(path.name): path for path in sorted(found, key=rank, reverse=True)}


def _bundled(name: str) -> pd.DataFrame:
    bunch = getattr(sklearn.datasets, f"load_{name}")(as_frame=True)
    frame: pd.DataFrame = bunch.frame
    if name in ("wine", "breast_cancer", "iris"):
        labels = [str(label) for label in bunch.target_names]
        return frame.assign(**{DEFAULT_TARGET: frame[DEFAULT_TARGET].map(dict(enumerate(labels)))})
    return frame


def _from_openml(name: str, entry: Entry) -> Source:
    files = " or ".join(f"{entry.file}{suffix}" for suffix in SUFFIXES)
    remedy = f"put {files} into a folder and name it with --data-dir or {DATA_VARIABLE}"
    if entry.openml is None:
        raise DataError(f"data: '{name}' is not to be had online; {remedy}")
    try:
        with _impatient(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            bunch = sklearn.datasets.fetch_openml(data_id=entry.openml, as_frame=True, n_retries=1, delay=0.2)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"data: '{name}' could not be fetched from OpenML ({reason}); go online, or {remedy}"
        ) from error
    target = bunch.target_names[0] if len(bunch.target_names) == 1 else None
    return Source(name, bunch.frame.reset_index(drop=True), target, (f"from OpenML, id {entry.openml}",))


@contextmanager
def _impatient() -> Iterator[None]:
    """Let connections give up after seconds; scikit-learn offers no such option."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_CONNECT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
