"""Which tasks are studied with models that are trained one by one, and which options of the command each takes."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from distilled_experts.errors import InvalidParameterError, MissingDependencyError
from distilled_experts.experiments.records import Record, choose_folder
from distilled_experts.experiments.runner import Progress
from distilled_experts.experiments.scheduling import Workers
from distilled_experts.experiments.trained import Study, run_study

__all__ = ["STUDIED", "compare_trained", "make_study", "refuse_options"]

# Module, which holds OPTIONS, and the function in it that makes the study.
_HOME = {
    "vision": ("image_study", "image_study"),
    "translation": ("translation_study", "translation_study"),
}
STUDIED = tuple(_HOME)
"""The tasks by their names."""


def compare_trained(
    *,
    task: str,
    data: str,
    options: Mapping[str, Any],
    out: str | None = None,
    resume: bool = False,
    force: bool = False,
    jobs: int = 1,
    cluster: str | None = None,
    progress: Progress | None = None,
) -> Record:
    """Run the comparison of a task, or what an earlier try left of it.

    `options` are those that were given for it; `jobs` and `cluster` as in `Workers`.

    Raises
    ------
    InvalidParameterError
        When an option is of no use for the task, or has a value that is not allowed.
    MissingDependencyError
        When the task's extra is not installed.
    """
    workers = Workers(jobs, cluster)
    study = make_study(task, data, options)
    folder = choose_folder(out, study.specification, resume)
    return run_study(study, folder, resume=resume, force=force, workers=workers, progress=progress)


def make_study(task: str, data: str, options: Mapping[str, Any]) -> Study:
    """The study of a task; options and errors as in `compare_trained`."""
    module_name, name = _HOME[task]
    try:
        module = importlib.import_module(f"distilled_experts.experiments.{module_name}")
    except ImportError as error:
        raise MissingDependencyError(
            f"task: '{task}' needs {error.name}, which is not installed; pip install \"distilled-experts[{task}]\""
        ) from error
    others = {option: value for option, value in options.items() if option not in module.OPTIONS}
    refuse_options(others, f"with other tasks than {task}")
    study: Study = getattr(module, name)(data, **options)
    return study


def refuse_options(refused: Mapping[str, Any], where: str) -> None:
    """Raise an error that says where the first of these options is allowed, if there is one.

    Examples
    --------
    >>> refuse_options({"target": "y"}, "with tables")
    Traceback (most recent call last):
    distilled_experts.errors.InvalidParameterError: target: 'y' is not allowed; allowed: with tables
    """
    for name, value in refused.items():
        raise InvalidParameterError(name, value, where)
