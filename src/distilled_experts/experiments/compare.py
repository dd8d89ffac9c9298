"""The main job: an honest answer to whether mutual distillation helps on given data."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from distilled_experts.experiments.data import Table
from distilled_experts.experiments.failures import told_failures, whole_seeds
from distilled_experts.experiments.given import table_from, test_rows_from
from distilled_experts.experiments.large_tables import notes_on_tables
from distilled_experts.experiments.metrics import METRICS, default_metric, validate
from distilled_experts.experiments.preparation import splits_for
from distilled_experts.experiments.recording import recorded
from distilled_experts.experiments.records import Record, RunFolder
from distilled_experts.experiments.runner import Progress, StackTask, comparison_tasks, run_tasks, sweep_tasks
from distilled_experts.experiments.scheduling import HERE, Workers
from distilled_experts.experiments.sentences import comparison_sentence, notes_for, sweep_sentence
from distilled_experts.experiments.specification import Specification, parse_alpha
from distilled_experts.experiments.summary import summarise_comparison, summarise_sweep
from distilled_experts.probing.attribution import require_captum
from distilled_experts.tabular.training import TrainingSettings

__all__ = ["Run", "compare", "resolve", "run_comparison", "run_sweep"]

Summarise = Callable[[list[dict[str, Any]], float], dict[str, Any]]
"""From trained models, and test rows over training rows, to a record."""

_TRAINING = {"epochs": "epochs", "patience": "patience", "batch_size": "batch_size", "lr": "learning_rate"}
_TRAINING |= {"distance": "distance", "teacher": "teacher"}


def compare(
    X: Any,
    y: Any,
    *,
    task: str | None = None,
    metric: str | None = None,
    gate: str = "dense",
    experts: int = 4,
    top_k: int | None = None,
    hidden: int = 64,
    alpha: Any = "auto",
    distance: str = "mse",
    teacher: str = "mean",
    seeds: int = 10,
    explain: bool = False,
    test: tuple[Any, Any] | None = None,
    groups: Any = None,
    time: Any = None,
    out: str | os.PathLike[str] | None = None,
    name: str = "table",
    **training: Any,
) -> Record:
    """Compare a dense network, a mixture of experts, and the same mixture with mutual distillation.

    All arms see the same rows, initial weights and batches; a seed is a new split and a new initialisation. α is
    chosen per seed on that seed's validation rows.

    Parameters
    ----------
    X : data frame or array, shape (n, features)
        Numbers, categories, dates; missing values are fine.
    y : sequence, shape (n,)
        Classes or numbers.
    task : {"classification", "regression"}, optional
        Default: recognised from `y`.
    metric : str, optional
        accuracy (default for classes), balanced_accuracy, roc_auc, log_loss; r2 (default for numbers), mae, rmse.
    gate : {"dense", "sparse"}
    experts, hidden : int
        Experts, and hidden units of each.
    top_k : int, optional
        Experts that a sparse gate activates; default 2.
    alpha : "auto", float or sequence of float
        Strength of distillation: a value, or the grid that it is chosen from.
    distance, teacher : str
        As in `distilled_experts.functional.mutual_distillation`.
    seeds : int
        Repetitions; one gives no interval.
    explain : bool
        Also train the experts of both mixtures anew under one frozen gate, and record what each attends to
        (needs Captum).
    test : (X, y), optional
        Test rows of your own, the same for every seed.
    groups, time : sequence, shape (n,), optional
        Rows of a group stay on one side of a split; with `time`, test rows come after training rows.
    out : path, optional
        Folder for the record and its page; default: nothing is written.
    name : str
        What the data are called in the record.
    **training
        ``epochs``, ``patience``, ``batch_size``, ``lr``, ``test_size``, ``validation_size``, ``device``.

    Returns
    -------
    Record
        A dictionary of plain values, the object that ``mode compare --json`` prints.

    Raises
    ------
    InvalidParameterError, DataError
        One line that names the parameter or column, its value, and what is allowed.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> record = compare(X, y, seeds=2, epochs=5)
    >>> record["task"], len(record["arms"]["mode"]["scores"])
    ('classification', 2)
    """
    table = table_from(X, y, name=name, groups=groups, time=time, task=task)
    held_out = None if test is None else test_rows_from(*test, table)
    specification = resolve(
        table,
        held_out,
        metric=metric,
        gate=gate,
        experts=experts,
        top_k=top_k,
        hidden=hidden,
        alpha=alpha,
        distance=distance,
        teacher=teacher,
        seeds=seeds,
        explain=explain,
        **training,
    )
    folder = None if out is None else RunFolder(out)
    return run_comparison(Run(table, held_out, specification, folder))


def resolve(table: Table, test: Table | None = None, **options: Any) -> Specification:
    """The full specification for a table: what was not given is recognised, or takes its default."""
    metric = validate(options.pop("metric", None) or default_metric(table.task), table.task)
    if options.get("gate") == "sparse" and options.get("top_k") is None:
        options["top_k"] = min(2, options.get("experts", 4))
    training = {field: options.pop(name) for name, field in _TRAINING.items() if options.get(name) is not None}
    options = {key: value for key, value in options.items() if value is not None and key not in _TRAINING}
    return Specification(
        data=table.name,
        task=table.task,
        metric=metric,
        alpha=parse_alpha(options.pop("alpha", "auto")),
        fingerprint=_fingerprint(table, test),
        training=TrainingSettings(**training),
        **options,
    )


@dataclass(frozen=True)
class Run:
    """What is run, on which rows, where its record goes, and who computes it."""

    table: Table
    test: Table | None
    specification: Specification
    folder: RunFolder | None = None
    resume: bool = False
    force: bool = False
    workers: Workers = HERE


def run_comparison(run: Run, progress: Progress | None = None) -> Record:
    """Train the arms of a comparison, or take up where an earlier try stopped, and write its record."""
    if run.specification.explain:
        require_captum()

    def summarise(models: list[dict[str, Any]], test_share: float) -> dict[str, Any]:
        s = run.specification
        record = _heading(run) | {"kind": "compare", "experts": s.experts}
        record |= summarise_comparison(models, s, test_share)
        record["notes"] += notes_on_tables(record)
        return record | {"sentence": comparison_sentence(record)}

    return _run(run, comparison_tasks(run.specification, run.table), summarise, {}, progress)


def run_sweep(run: Run, experts: Sequence[int], progress: Progress | None = None) -> Record:
    """Train mixtures with each number of experts and every α, and write the record."""

    def summarise(models: list[dict[str, Any]], test_share: float) -> dict[str, Any]:
        record = _heading(run) | {"kind": "sweep", **summarise_sweep(models, run.specification, test_share)}
        return record | {"sentence": sweep_sentence(record)}

    tasks = sweep_tasks(run.specification, experts, run.table)
    return _run(run, tasks, summarise, {"experts": list(experts)}, progress)


def _run(
    run: Run, tasks: Sequence[StackTask], summarise: Summarise, extra: dict[str, object], progress: Progress | None
) -> Record:
    def make() -> dict[str, Any]:
        models = run_tasks(tasks, run.table, run.test, run.folder, progress, run.workers)
        whole, failed = whole_seeds(models)
        record = summarise(whole, _test_share(run))
        return record | {"notes": [*record["notes"], *told_failures(failed)], "failed": failed}

    specification = run.specification.to_dict() | extra
    return recorded(specification, make, run.folder, resume=run.resume, force=run.force)


def _heading(run: Run) -> dict[str, Any]:
    s, table = run.specification, run.table
    classes = sorted(str(label) for label in pd.unique(table.y)) if s.task == "classification" else None
    return {
        "format": 1,
        "data": s.data,
        "task": s.task,
        "metric": s.metric,
        "negated": METRICS[s.metric].negated,
        "seeds": s.seeds,
        "gate": s.gate,
        "top_k": s.top_k,
        "rows": len(table.y),
        "features": table.X.shape[1],
        "classes": classes,
        "split": _split_words(run),
        "notes": [*table.notes, *notes_for(s)],
    }


def _split_words(run: Run) -> str:
    share = run.specification.test_size
    parts = f"{round(100 * (1 - share))}/{round(100 * share)}"
    if run.test is not None:
        return f"{len(run.test.y)} test rows of your own, the same for every seed"
    if run.table.time is not None:
        return f"by time, {parts}"
    if run.table.groups is not None:
        return f"by group, {parts}"
    return f"{'stratified' if run.specification.task == 'classification' else 'random'}, {parts}"


def _test_share(run: Run) -> float:
    """Test rows over training rows; zero for test rows of the user's own, which no seed draws anew."""
    if run.test is not None:
        return 0.0
    split = splits_for(run.table, run.specification, [0], None)[0]
    return len(split.test) / (len(split.train) + len(split.validation))


def _fingerprint(*tables: Table | None) -> str:
    """Hash of all cells, so that a run is never continued on other data."""
    digest = hashlib.sha256()
    for table in tables:
        if table is None:
            continue
        columns = {**table.X, "target": table.y, "groups": table.groups, "time": table.time}
        for name, column in columns.items():
            if column is not None:
                digest.update(str(name).encode())
                digest.update(pd.util.hash_pandas_object(column, index=False).to_numpy().tobytes())
    return digest.hexdigest()[:16]
