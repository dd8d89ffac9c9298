"""What makes a record of each kind: the command's comparisons and sweeps, and studies of functions."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from distilled_experts.errors import MissingDependencyError
from distilled_experts.experiments import compare
from distilled_experts.experiments.data import load_table
from distilled_experts.experiments.multi_view_study import multi_view_study
from distilled_experts.experiments.records import RunFolder, environment
from distilled_experts.experiments.studies import compare_trained
from distilled_experts.files import replacing
from distilled_experts.report.values import Record
from distilled_experts.reproduction.making.losses import loss_variants, opposites
from distilled_experts.reproduction.making.reduction import REDUCTIONS
from distilled_experts.reproduction.study import Run, Study

__all__ = ["Place", "make_missing"]


class Place(NamedTuple):
    """Where data are read and runs are written: `data_dir` as in the command, `runs` a folder that resumes them."""

    runs: Path
    data_dir: str | None = None


def make_missing(study: Study, results: Path, place: Place, tell: Callable[[str], object]) -> None:
    """Make every record of a study that is not there; an interrupted run is taken up.

    Parameters
    ----------
    study : Study
    results : Path
        Folder of all results.
    place : Place
    tell : callable
        Called with one line for each record.
    """
    for run in study.missing(results):
        start = time.perf_counter()
        record = REDUCTIONS[run.keep](_MAKERS[run.maker](run, place._replace(runs=place.runs / study.name)))
        _write(study.path(results, run), record)
        tell(f"{study.name}/{run.name}: {time.perf_counter() - start:.0f} s")


def _write(path: Path, record: Record) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _prepared(run: Run, place: Place, **options: Any) -> compare.Run:
    """A run of the command on a table, which goes on where an earlier try stopped."""
    options = {**run.options, **options}
    table = load_table(options.pop("data"), data_dir=place.data_dir)
    folder = RunFolder(place.runs / run.name)
    return compare.Run(table, None, compare.resolve(table, **options), folder, resume=True)


def _compare(run: Run, place: Place) -> Record:
    return compare.run_comparison(_prepared(run, place))


def _sweep(run: Run, place: Place) -> Record:
    counts = run.options["experts"]
    return compare.run_sweep(_prepared(run, place, experts=counts[0]), counts)


def _images(run: Run, place: Place) -> Record:
    options = {name: value for name, value in run.options.items() if name != "data"} | {"data_dir": place.data_dir}
    folder = str(place.runs / run.name)
    return compare_trained(task="vision", data=run.options["data"], options=options, out=folder, resume=True)


def _multi_view(run: Run, place: Place) -> Record:
    return _timed(lambda: {"gate": run.name, "studies": multi_view_study(**run.options)})


def _language(run: Run, place: Place) -> Record:
    try:
        from distilled_experts.reproduction.making.language import language_model
    except ImportError as error:
        raise MissingDependencyError(
            f'language: {error.name} is not installed; pip install "distilled-experts[translation]"'
        ) from error
    return language_model(data_dir=place.data_dir, **run.options)


def _losses(study: Callable[..., dict[str, Any]]) -> Callable[[Run, Place], Record]:
    def make(run: Run, place: Place) -> Record:
        options = dict(run.options)
        table = load_table(options.pop("data"), data_dir=place.data_dir)
        return _timed(lambda: study(table, **options))

    return make


def _timed(make: Callable[[], dict[str, Any]]) -> Record:
    start = time.perf_counter()
    found = make()
    return {**found, "seconds": time.perf_counter() - start, "environment": environment()}


_MAKERS: Mapping[str, Callable[[Run, Place], Record]] = {
    "compare": _compare,
    "sweep": _sweep,
    "images": _images,
    "multi_view": _multi_view,
    "language": _language,
    "loss_variants": _losses(loss_variants),
    "opposites": _losses(opposites),
}
