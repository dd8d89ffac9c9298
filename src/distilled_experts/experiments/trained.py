"""Comparisons of models that are trained one by one on the Trainer of Transformers: images, sentences.

A study says what is compared and trains one model; its record is made of the same parts as that of a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from distilled_experts.experiments.cells import Cell, Model, comparison_cells, run_cells
from distilled_experts.experiments.comparison import Comparison
from distilled_experts.experiments.evidence import compared_with_plain
from distilled_experts.experiments.failures import told_failures, whole_seeds
from distilled_experts.experiments.large_tables import notes_on_tables
from distilled_experts.experiments.recording import recorded
from distilled_experts.experiments.records import Record, RunFolder
from distilled_experts.experiments.runner import Progress
from distilled_experts.experiments.scheduling import HERE, Workers
from distilled_experts.experiments.sentences import comparison_sentence, notes_for
from distilled_experts.experiments.summary import models_by_arm, summarise_comparison

__all__ = ["Study", "run_study"]


class Study(Protocol):
    """What is compared, and how one of its models is trained; it is sent to other processes.

    Attributes
    ----------
    specification : Comparison
    test_share : float
        Test samples divided by training samples, for the corrected t; 0 where all seeds share their test samples.
    """

    @property
    def specification(self) -> Comparison:
        """Every choice that the result depends on."""
        ...

    @property
    def test_share(self) -> float:
        """Test samples over training samples."""
        ...

    def train(self, cell: Cell) -> Model:
        """Train one model.

        Returns
        -------
        dict of plain values
            Of every model: ``experts``, ``parameters``, ``seconds``, ``best_epoch``, ``validation_loss``,
            ``train_score``, ``test_score``, and ``curves`` with lists of ``train_loss`` and ``validation_loss``.
            Of a mixture with several experts also ``own_domain``, ``routing_accuracy``, ``oracle``, ``gate_error``,
            ``expert_error``, ``combination_error``, ``shares``, ``matrix``, ``cka``, ``agreement``, ``homogenised``,
            ``vision_task``, ``vision_whole``; where it is known, ``course``, and per test sample the dominating expert
            as ``domains`` and the place of the answer's type in ``probing.ANSWER_TYPES`` as ``answers``.
        """
        ...

    def heading(self) -> dict[str, Any]:
        """``rows``, ``features``, ``classes``, ``split``, ``notes``, and whether the score is ``negated``."""
        ...

    def details(self, arms: Mapping[str, Sequence[Model]], record: Record) -> dict[str, Any]:
        """What the record holds beside what all comparisons do; `arms` as from `summary.models_by_arm`."""
        ...


def run_study(
    study: Study,
    folder: RunFolder | None = None,
    *,
    resume: bool = False,
    force: bool = False,
    workers: Workers = HERE,
    progress: Progress | None = None,
) -> Record:
    """Train the models of a study, or those that an earlier try left, and write its record.

    Parameters
    ----------
    study : Study
    folder : RunFolder, optional
        Default: nothing is written.
    resume, force : bool
        As in `RunFolder.opened`.
    workers : Workers
        Who trains the models.
    progress : callable, optional
        Told how many models are there.

    Returns
    -------
    Record
    """
    specification = study.specification

    def make() -> dict[str, Any]:
        cells = comparison_cells(specification)
        models = run_cells(cells, study.train, folder, workers=workers, progress=progress)
        whole, failed = whole_seeds([{"experts": specification.experts} | model for model in models])
        return _record(study, compared_with_plain(whole), failed)

    return recorded(specification.to_dict(), make, folder, resume=resume, force=force)


def _record(study: Study, models: Sequence[Model], failed: Sequence[Model]) -> dict[str, Any]:
    s, heading = study.specification, study.heading()
    record = Record(
        {
            "format": 1,
            "kind": "compare",
            "data": s.data,
            "task": s.task,
            "metric": s.metric,
            "seeds": s.seeds,
            "gate": s.gate,
            "top_k": s.top_k,
            "experts": s.experts,
            **heading,
            "notes": [*heading["notes"], *notes_for(s), *told_failures(failed)],
            "failed": list(failed),
            **summarise_comparison(models, s, study.test_share),
        }
    )
    record["notes"] += notes_on_tables(record)
    record |= study.details(models_by_arm(models, s), record)
    record["sentence"] = comparison_sentence(record)
    return record
