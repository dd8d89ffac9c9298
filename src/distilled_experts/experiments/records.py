"""Run folders: what a run writes, each file under a temporary name first, and ``DONE`` last.

specification.json   every choice, and a fingerprint of the data
environment.json     versions and threads
metrics.jsonl        one line per trained model, written as stacks end
checkpoint.safetensors   a stack in training; gone when it ends
result.json, report.html, DONE
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from distilled_experts.errors import RunFolderError
from distilled_experts.experiments.comparison import Comparison

__all__ = ["Record", "RunFolder", "choose_folder", "environment"]


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
    digest : str
        Of the specification; a folder of another one is refused.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @property
    def done(self) -> bool:
        """True when the run has ended and everything is written."""
        return (self.path / "DONE").exists()

    def open(self, specification: Mapping[str, object], *, resume: bool, force: bool) -> None:
        """Make the folder ready for a run of `specification`.

        Raises
        ------
        RunFolderError
            When something else is there and neither `resume` nor `force` allows to go on.
        """
        known = self.read("specification.json")
        if self.path.exists() and not self.path.is_dir():
            raise RunFolderError(f"out: {str(self.path)!r} is a file; allowed: a new or empty folder")
        if known is None and self.path.exists() and any(self.path.iterdir()):
            raise RunFolderError(f"out: {str(self.path)!r} holds something else than a run; name a new or empty folder")
        if known is not None and force:
            self._clear()
        elif known is not None and known != json.loads(json.dumps(specification)):
            differing = sorted(k for k in {*known, *specification} if known.get(k) != _plain(specification).get(k))
            raise RunFolderError(
                f"out: {str(self.path)!r} holds another run (different: {', '.join(differing)}); "
                "name another folder, or --force to replace it"
            )
        elif known is not None and not resume:
            state = "a finished" if self.done else "an unfinished"
            raise RunFolderError(
                f"out: {str(self.path)!r} holds {state} run; --continue takes it up, --force replaces it"
            )
        self._write_start(specification)

    def _write_start(self, specification: Mapping[str, object]) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.write("specification.json", specification)
            self.write("environment.json", environment())
        except OSError as error:
            raise RunFolderError(f"out: cannot write to {str(self.path)!r}: {error.strerror or error}") from error

    def _clear(self) -> None:
        """Remove what a run writes, ``DONE`` first; a user's own files stay."""
        names = ("DONE", "result.json", "report.html", "metrics.jsonl", "checkpoint.safetensors")
        for name in (*names, "environment.json", "specification.json"):
            (self.path / name).unlink(missing_ok=True)

    def read(self, name: str) -> Any:
        """A JSON file of the run, or None where there is none."""
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, OSError) as error:
            raise RunFolderError(f"{name} in {str(self.path)!r} cannot be read: {error}") from error

    def write(self, name: str, value: object) -> None:
        """Write a value as JSON."""
        with self._replacing(name) as temporary:
            temporary.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")

    def metrics(self) -> list[dict[str, Any]]:
        """The models that earlier stacks of this run have trained."""
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        try:
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except ValueError as error:
            raise RunFolderError(f"metrics.jsonl in {str(self.path)!r} is damaged: {error}") from error

    def write_metrics(self, models: list[dict[str, Any]]) -> None:
        """Write all models trained so far, and let go of the checkpoint."""
        with self._replacing("metrics.jsonl") as temporary:
            lines = (json.dumps(model, allow_nan=False) for model in models)
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
        (self.path / "checkpoint.safetensors").unlink(missing_ok=True)

    def save_checkpoint(self, stack: str, state: Mapping[str, torch.Tensor]) -> None:
        """Write the state of a stack in training."""
        with self._replacing("checkpoint.safetensors") as temporary:
            save_file({k: v.contiguous() for k, v in state.items()}, temporary, metadata={"stack": stack})

    def load_checkpoint(self, stack: str) -> dict[str, torch.Tensor] | None:
        """The state of this stack, if one was saved; a damaged file counts as none."""
        try:
            with safe_open(self.path / "checkpoint.safetensors", framework="pt") as file:
                if (file.metadata() or {}).get("stack") != stack:
                    return None
                names = file.keys()
                return {name: file.get_tensor(name) for name in names}
        except (FileNotFoundError, SafetensorError, OSError):
            return None

    def finish(self, result: Mapping[str, object]) -> None:
        """Write the result, its page, and last the mark that all is there."""
        from distilled_experts.report import write_report

        self.write("result.json", result)
        write_report(dict(result), self.path / "report.html")
        with self._replacing("DONE") as temporary:
            temporary.write_text("", encoding="utf-8")

    @contextmanager
    def _replacing(self, name: str) -> Iterator[Path]:
        """A temporary path that takes its final name only when it has been written whole."""
        temporary = self.path / f".{name}.{os.getpid()}.part"
        try:
            yield temporary
            temporary.replace(self.path / name)
        finally:
            temporary.unlink(missing_ok=True)


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
            if RunFolder(path.parent).read(path.name) == wanted:
                return RunFolder(path.parent)
    stem = f"{_safe(specification.data)}-{time.strftime('%Y%m%d-%H%M%S')}"
    candidates = (runs / (stem if i == 0 else f"{stem}-{i}") for i in itertools.count())
    return RunFolder(next(path for path in candidates if not path.exists()))


def _safe(name: str) -> str:
    """A name as a folder may have it."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "table"
