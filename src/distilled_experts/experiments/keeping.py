"""The models of a grid, written into its run folder as they come."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from distilled_experts.experiments.records import RunFolder

__all__ = ["ModelKeeper"]

# Every write writes all models: with thousands of small ones it would take most of the time.
_WAIT = 20.0


class ModelKeeper:
    """Writes models soon after they have ended, and all of them at the end of a ``with`` block, however it ends.

    Writing takes a twentieth of the time at most. What has ended since the last time is lost with the process when it
    is killed, and is trained anew.

    Parameters
    ----------
    folder : RunFolder or None
        None: nothing is written.
    models : callable
        Gives those that have ended, in their order.

    Examples
    --------
    >>> models = []
    >>> with ModelKeeper(None, lambda: models) as keeper:
    ...     models.append({"score": 1.0})
    ...     keeper.note()
    """

    def __init__(self, folder: RunFolder | None, models: Callable[[], list[dict[str, Any]]]) -> None:
        self._folder = folder
        self._models = models
        self._due = 0.0
        self._behind = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._behind:
            self._write()

    def note(self) -> None:
        """A model has ended."""
        self._behind = True
        if time.perf_counter() >= self._due:
            self._write()

    def _write(self) -> None:
        start = time.perf_counter()
        if self._folder is not None:
            self._folder.write_metrics(self._models())
        end = time.perf_counter()
        self._due, self._behind = end + _WAIT * (end - start), False
