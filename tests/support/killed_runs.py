"""Runs killed by SIGKILL at every moment at which a file takes its name, and then continued.

As a program it writes what came of them into a folder: ``python killed_runs.py FOLDER``. Every run has a process of its
own, forked from this one, which has a single thread.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch

import distilled_experts.report
from distilled_experts.errors import DistilledExpertsError
from distilled_experts.experiments import checkpoints, keeping, runner
from distilled_experts.experiments.cells import Cell, run_cells
from distilled_experts.experiments.compare import Run, resolve, run_comparison
from distilled_experts.experiments.data import load_table
from distilled_experts.experiments.models import load_model
from distilled_experts.experiments.records import RunFolder
from distilled_experts.tabular.estimators import MoDERegressor

TABLE = load_table("wine")
SPECIFICATION = resolve(TABLE, seeds=2, epochs=2, hidden=4, alpha="0,0.1")
REPLACE, WRITE_TEXT, SAVE, RENDER = (
    Path.replace,
    Path.write_text,
    checkpoints.save_file,
    distilled_experts.report.report_html,
)


def dies(*arguments: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed(work: Callable[[], object]) -> None:
    """Do some work in a process that must not come to its end."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001  (it must not go on as a second parent)
            traceback.print_exc()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL, "nothing was killed"


def renames(work: Callable[[], object]) -> list[str]:
    """Names that files take during some work, in order."""
    seen: list[str] = []

    def replace(path: Path, target: Path) -> Path:
        seen.append(Path(target).name)
        return REPLACE(path, target)

    with mock.patch.object(Path, "replace", replace):
        work()
    return seen


def dying_at(number: int, *, after: bool) -> Any:
    """Kill this process before or after the rename of this number."""
    count = iter(range(number + 1))

    def replace(path: Path, target: Path) -> Path:
        due = next(count) == number
        if due and not after:
            dies()
        try:
            return REPLACE(path, target)
        finally:
            if due:
                dies()

    return mock.patch.object(Path, "replace", replace)


def dying_in_text(name: str) -> Any:
    """Kill this process when a file is half written."""

    def write_text(path: Path, text: str, **options: Any) -> int:
        if f".{name}." not in path.name:
            return WRITE_TEXT(path, text, **options)
        WRITE_TEXT(path, text[: len(text) // 2], **options)
        dies()
        raise AssertionError

    return mock.patch.object(Path, "write_text", write_text)


def dying_in_checkpoint() -> Any:
    def save(tensors: Any, path: Path, **options: Any) -> None:
        SAVE(tensors, path, **options)
        os.truncate(path, path.stat().st_size // 2)
        dies()

    return mock.patch.object(checkpoints, "save_file", save)


def moments(folder: Path) -> Iterator[tuple[str, Any]]:
    """Every moment of a run at which it is killed, by name."""
    names = renames(lambda: compared(folder / "counted", resume=False))
    for number, name in enumerate(names):
        for after in (False, True):
            yield f"{'after' if after else 'before'} {number} {name}", dying_at(number, after=after)
    for name in sorted(set(names) - {"checkpoint.safetensors", "checkpoint.previous.safetensors", "DONE"}):
        yield f"half of {name}", dying_in_text(name)
    yield "half of checkpoint.safetensors", dying_in_checkpoint()
    yield "rendering", mock.patch.object(distilled_experts.report, "report_html", dies)
    yield "training", mock.patch.object(runner.StackedTraining, "validation_loss", dies)


def compared(folder: Path, *, resume: bool) -> None:
    run_comparison(Run(TABLE, None, SPECIFICATION, RunFolder(folder), resume=resume))


def found(folder: Path) -> dict[str, Any]:
    """What a run has written, but for times and its own name."""
    result = json.loads((folder / "result.json").read_text())
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    # The lock of a process that died at the very end lies there, and holds nobody off.
    names = sorted(path.name for path in folder.iterdir() if path.name != ".lock")
    return {"result": timeless(result), "metrics": timeless(metrics), "names": names}


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in ("seconds", "run")}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def killed_comparisons(folder: Path) -> dict[str, str]:
    """For each moment "same", or what differs after continuing."""
    compared(folder / "whole", resume=False)
    whole, ends = found(folder / "whole"), {}
    for number, (name, dying) in enumerate(moments(folder)):
        place = folder / str(number)
        with dying:
            killed(lambda place=place: compared(place, resume=False))
        compared(place, resume=True)
        continued = found(place)
        ends[name] = ", ".join(part for part in whole if whole[part] != continued[part]) or "same"
        shutil.rmtree(place)
    return ends


def killed_cells(folder: Path) -> dict[str, str]:
    """The same for models that are trained one by one."""
    cells = [Cell(seed, "dense") for seed in range(3)]

    def train(cell: Cell) -> dict[str, float]:
        return {"score": cell.seed / 7}

    whole, ends = run_cells(cells, train), {}
    for number in range(len(cells)):
        for after in (False, True):
            place = RunFolder(folder / f"cells {number} {after}")
            place.path.mkdir()
            with dying_at(number, after=after):
                killed(lambda place=place: run_cells(cells, train, place))
            ends[f"cell {number} {after}"] = "same" if run_cells(cells, train, place) == whole else "differs"
    return ends


def killed_saves(folder: Path) -> dict[str, str]:
    """A model that takes the place of another one: there is always one of the two."""
    X, y = TABLE.X, TABLE.X.iloc[:, 0]
    models = [MoDERegressor(hidden=4, max_iter=2, n_estimators=1, random_state=seed).fit(X, y) for seed in (0, 1)]
    predictions = [model.predict(X).tolist() for model in models]
    ends = {}
    for number in range(3):
        for after in (False, True):
            place = folder / f"model {number} {after}"
            models[0].save(place)
            with dying_at(number, after=after):
                killed(lambda place=place: models[1].save(place, overwrite=True))
            try:
                ends[f"model {number} {after}"] = "01"[predictions.index(load_model(place).predict(X).tolist())]
                models[1].save(place, overwrite=True)
                if {path.name for path in place.iterdir()} - {"model.json", "weights.safetensors"}:
                    ends[f"model {number} {after}"] += " and rubbish"
            except DistilledExpertsError as error:
                ends[f"model {number} {after}"] = str(error)
    return ends


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    # Every epoch and every model is saved, and pages are drawn in the test of the moment at which they are.
    runner._CHECKPOINT_SECONDS, keeping._WAIT = -1.0, 0.0
    distilled_experts.report.report_html = lambda record: "a page"
    ends = {part.__name__: part(folder) for part in (killed_comparisons, killed_cells, killed_saves)}
    (folder / "ends.json").write_text(json.dumps(ends))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
