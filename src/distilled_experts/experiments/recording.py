"""From a specification to the record of its run: made once, taken up where an earlier try stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

from distilled_experts.experiments.records import Record, RunFolder, environment

__all__ = ["recorded"]


def recorded(
    specification: Mapping[str, object],
    make: Callable[[], dict[str, Any]],
    folder: RunFolder | None = None,
    *,
    resume: bool = False,
    force: bool = False,
) -> Record:
    """Return the record that a folder holds of a finished run, or else make it, and write it there.

    Parameters
    ----------
    specification : mapping
        Every choice, as plain values.
    make : callable
        Runs what is specified, and returns what it found.
    folder : RunFolder, optional
        Default: nothing is written.
    resume, force : bool
        As in `RunFolder.opened`.

    Raises
    ------
    RunFolderError
        When the folder holds something else, or another process is at work there.
    """
    start = time.perf_counter()
    with nullcontext() if folder is None else folder.opened(specification, resume=resume, force=force) as result:
        if result is not None:
            return Record(result)
        record = Record(make())
        record["run"] = None if folder is None else str(folder.path)
        record["seconds"] = time.perf_counter() - start
        record["specification"] = dict(specification)
        record["environment"] = environment()
        if folder is not None:
            folder.finish(record)
        return record
