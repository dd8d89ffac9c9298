"""Studies: runs under names, and the records that they leave in a folder.

Records of a study lie in ``RESULTS/STUDY/RUN.json``, RESULTS being ``reproduction/results`` in the repository.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from distilled_experts.errors import DataError
from distilled_experts.files import read_small_text
from distilled_experts.report.values import Record

__all__ = ["Run", "Study", "seconds_of"]


@dataclass(frozen=True)
class Run:
    """What makes one record.

    Attributes
    ----------
    name : str
        Stem of the record's file.
    maker : str
        Name of a function in `making.makers`.
    options : mapping
        Its options; those of ``compare`` and ``sweep`` are the options of the command.
    keep : str
        Which part of the result is kept, a name in `making.reduction`.
    """

    name: str
    maker: str
    options: Mapping[str, Any] = field(default_factory=dict)
    keep: str = "scores"

    @property
    def command(self) -> str:
        """The command that makes the same run, empty where there is none.

        Examples
        --------
        >>> Run("digits-sparse", "compare", {"data": "digits", "gate": "sparse", "alpha": [0, 0.1]}).command
        'mode compare digits --gate sparse --alpha 0,0.1'
        """
        if self.maker not in ("compare", "sweep"):
            return ""
        others = {name: value for name, value in self.options.items() if name != "data"}
        return " ".join(["mode", self.maker, self.options["data"], *map(_option, others, others.values())])


def _option(name: str, value: object) -> str:
    if value is True:
        return f"--{name}"
    return f"--{name} {','.join(map(str, value)) if isinstance(value, (list, tuple)) else value}"


@dataclass(frozen=True)
class Study:
    """Runs that belong together.

    Attributes
    ----------
    name : str
    runs : tuple of Run
    quick : tuple of Run
        What stands for them in a quick try, on data that scikit-learn ships.
    folder : str
        Of the records, from the folder of all results; default: the name.
    command : str
        What makes the records where no runs are named here; any file of the folder is then a record.
    """

    name: str
    runs: tuple[Run, ...] = ()
    quick: tuple[Run, ...] = ()
    folder: str = ""
    command: str = ""

    def with_gate(self, gate: str) -> Study:
        """The runs with this gate alone; their records lie where they did."""
        runs, quick = (
            tuple(run for run in of_study if run.options["gate"] == gate) for of_study in (self.runs, self.quick)
        )
        return replace(self, runs=runs, quick=quick)

    def path(self, results: Path, run: Run) -> Path:
        """Where the record of a run lies."""
        return results / (self.folder or self.name) / f"{run.name}.json"

    def missing(self, results: Path) -> list[Run]:
        """Runs without a record."""
        return [run for run in self.runs if not self.path(results, run).exists()]

    def read(self, results: Path) -> list[Record]:
        """All records that are there, in the order of the runs.

        Raises
        ------
        DataError
            When a file is no record.
        """
        return [_read(path) for path in self._paths(results) if path.exists()]

    def _paths(self, results: Path) -> Iterator[Path]:
        if self.command:
            yield from sorted((results / self.folder).rglob("*.json"))
        yield from (self.path(results, run) for run in self.runs)


def _read(path: Path) -> Record:
    try:
        record = json.loads(read_small_text(path))
    except (OSError, ValueError) as error:
        raise DataError(f"record '{path}' cannot be read: {error}") from error
    if not isinstance(record, dict):
        raise DataError(f"record '{path}': {type(record).__name__} is not allowed; allowed: a JSON object")
    return record


def seconds_of(record: Record) -> float:
    """Seconds that a record took, all parts together; 0 where it does not say.

    Examples
    --------
    >>> seconds_of({"seconds": {"training": 2.0, "probing": 0.5}}), seconds_of({"process_seconds": 4.0}), seconds_of({})
    (2.5, 4.0, 0.0)
    """
    seconds = record.get("seconds", record.get("process_seconds", 0.0))
    return float(sum(seconds.values()) if isinstance(seconds, Mapping) else seconds)
