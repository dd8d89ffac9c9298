"""Run folders: what a run writes, each file under a temporary name first, and ``DONE`` last.

specification.json   every choice, and a fingerprint of the data
environment.json     versions and threads
metrics.jsonl        one line per trained model, written as stacks end
checkpoint.safetensors, checkpoint.previous.safetensors   a stack in training; gone when it ends
result.json, report.html, DONE

While a process works in a folder, it holds a lock on ``.lock`` there, which its death releases.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch

from distilled_experts.errors import RunFolderError
from distilled_experts.experiments.checkpoints import read_checkpoint, write_checkpoint
from distilled_experts.experiments.comparison import Comparison
from distilled_experts.experiments.locks import LOCK, locked
from distilled_experts.files import clear_parts, is_part, replacing

__all__ = ["Record", "RunFolder", "choose_folder", "environment"]

_CHECKPOINT, _PREVIOUS = "checkpoint.safetensors", "checkpoint.previous.safetensors"
# In the order in which a run is undone.
_FILES = (
    *("DONE", "result.json", "report.html", "metrics.jsonl", _CHECKPOINT, _PREVIOUS),
    *("environment.json", "specification.json"),
)
_LONGEST_NAME = 50


class Record(dict[str, Any]):
    """A result as plain values; shows itself as a table in notebooks."""

    def _repr_html_(self) -> str:
        from distilled_experts.report import repr_html

        return repr_html(self)


class RunFolder:
    """One run's folder.

    Parameters
    ----------
    path : path
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @property
    def done(self) -> bool:
        """True when the run has ended and everything is written."""
        return (self.path / "DONE").exists() and (self.path / "result.json").exists()

    @contextmanager
    def opened(
        self, specification: Mapping[str, object], *, resume: bool = False, force: bool = False
    ) -> Iterator[dict[str, Any] | None]:
        """Hold the folder for a run of `specification`; gives its result where the run has ended already.

        Parameters
        ----------
        specification : mapping
            Every choice, as plain values.
        resume : bool
            Take up a run of the same specification.
        force : bool
            Replace whatever run is there.

        Raises
        ------
        RunFolderError
            When something else is there and neither `resume` nor `force` allows to go on, or another process is at
            work there.
        WriteError
            When nothing can be written there.
        """
        # A finished run is only read, which a read-only folder allows.
        with nullcontext() if self.done and not force else locked(self.path):
            self._check(specification, resume=resume, force=force)
            if self.done and not force:
                yield self.read("result.json")
                return
            if force:
                self._clear()
            clear_parts(self.path, _FILES)
            self.write("specification.json", specification)
            self.write("environment.json", environment())
            yield None

    def _check(self, specification: Mapping[str, object], *, resume: bool, force: bool) -> None:
        if force and (self.path / "specification.json").exists():
            return
        known, wanted = self.read("specification.json"), _plain(specification)
        if known is None and any(not _is_passing(path) for path in self.path.iterdir()):
            raise RunFolderError(f"out: {str(self.path)!r} holds something else than a run; name a new or empty folder")
        if known is None:
            return
        if known != wanted:
            differing = sorted(k for k in {*known, *wanted} if known.get(k) != wanted.get(k))
            raise RunFolderError(
                f"out: {str(self.path)!r} holds another run (different: {', '.join(differing)}); "
                "name another folder, or --force to replace it"
            )
        if not resume:
            state = "a finished" if self.done else "an unfinished"
            raise RunFolderError(
                f"out: {str(self.path)!r} holds {state} run; --continue takes it up, --force replaces it"
            )

    def _clear(self) -> None:
        """Remove what a run writes, ``DONE`` first; a user's own files stay."""
        for name in _FILES:
            (self.path / name).unlink(missing_ok=True)

    def read(self, name: str) -> dict[str, Any] | None:
        """A JSON object of the run, or None where there is none."""
        try:
            return dict(json.loads((self.path / name).read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError, OSError, RecursionError) as error:
            raise RunFolderError(f"{name} in {str(self.path)!r} cannot be read: {error}") from error

    def write(self, name: str, value: object) -> None:
        """Write a value as JSON."""
        with self._replacing(name) as temporary:
            temporary.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")

    def metrics(self) -> list[dict[str, Any]]:
        """The models that earlier stacks of this run have trained; those that failed are to be tried again."""
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        try:
            models = [dict(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
            return [model for model in models if "failed" not in model]
        except (ValueError, TypeError, RecursionError) as error:
            raise RunFolderError(f"metrics.jsonl in {str(self.path)!r} is damaged: {error}") from error

    def write_metrics(self, models: list[dict[str, Any]]) -> None:
        """Write all models trained so far, and let go of the checkpoints."""
        with self._replacing("metrics.jsonl") as temporary:
            lines = (json.dumps(model, allow_nan=False) for model in models)
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._drop_checkpoints()

    def _drop_checkpoints(self) -> None:
        for name in (_PREVIOUS, _CHECKPOINT):
            (self.path / name).unlink(missing_ok=True)

    def save_checkpoint(self, stack: str, state: Mapping[str, torch.Tensor]) -> None:
        """Write the state of a stack in training, and keep the one before."""
        with self._replacing(_CHECKPOINT) as temporary:
            write_checkpoint(temporary, stack, state)
            with suppress(FileNotFoundError):
                (self.path / _CHECKPOINT).replace(self.path / _PREVIOUS)

    def load_checkpoint(self, stack: str) -> dict[str, torch.Tensor] | None:
        """The last state of this stack that was saved and is not damaged; None where there is none.

        Warns where a file is damaged.
        """
        for name in (_CHECKPOINT, _PREVIOUS):
            try:
                state = read_checkpoint(self.path / name, stack)
            except RunFolderError as error:
                warnings.warn(f"{error}; training goes on from what was saved before it, or anew", stacklevel=2)
            else:
                if state is not None:
                    return state
        return None

    def finish(self, result: Mapping[str, object]) -> None:
        """Write the result, its page, and last the mark that all is there, unless some models have failed."""
        from distilled_experts.report import report_html

        # A process may have died just after it had written the last metrics.
        self._drop_checkpoints()
        self.write("result.json", result)
        with self._replacing("report.html") as temporary:
            temporary.write_text(report_html(dict(result)), encoding="utf-8", newline="\n")
        if not result.get("failed"):
            with self._replacing("DONE") as temporary:
                temporary.touch()

    def _replacing(self, name: str) -> AbstractContextManager[Path]:
        return replacing(self.path / name, "; --continue goes on from what was saved before")


def _is_passing(path: Path) -> bool:
    """Whether a file is the lock, or what a process that died has left."""
    return path.name == LOCK or is_part(path, _FILES)


def environment() -> dict[str, object]:
    """Versions and threads that a result was made with."""
    import numpy
    import pandas
    import sklearn

    from distilled_experts import __version__

    return {
        "distilled_experts": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "pandas": pandas.__version__,
        "scikit-learn": sklearn.__version__,
        "platform": platform.machine(),
        "threads": torch.get_num_threads(),
    }


def _plain(value: Mapping[str, object]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(value)))


def choose_folder(out: str | os.PathLike[str] | None, specification: Comparison, resume: bool) -> RunFolder:
    """The folder named, or to continue the newest one with this specification, or else a new one under ``runs``."""
    if out is not None:
        return RunFolder(out)
    runs = Path("runs")
    if resume:
        wanted = _plain(specification.to_dict())
        for path in sorted(runs.glob("*/specification.json"), key=lambda p: p.stat().st_mtime, reverse=True):
            with suppress(RunFolderError):
                if RunFolder(path.parent).read(path.name) == wanted:
                    return RunFolder(path.parent)
    stem = f"{_safe(specification.data)}-{time.strftime('%Y%m%d-%H%M%S')}"
    candidates = (runs / (stem if i == 0 else f"{stem}-{i}") for i in itertools.count())
    return RunFolder(next(path for path in candidates if not path.exists()))


def _safe(name: str) -> str:
    """A name as a folder may have it."""
    return re.sub(r"[^\w.-]+", "_", name)[:_LONGEST_NAME].strip("._") or "table"
