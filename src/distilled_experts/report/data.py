"""The numbers behind each figure, as rows of a table. No rows means that there is nothing to draw."""

from __future__ import annotations

from itertools import zip_longest
from typing import NamedTuple

from distilled_experts.report.records import ARMS, alpha_counts, probing_of
from distilled_experts.report.values import (
    Record,
    columns,
    finite,
    known,
    mean,
    ranked_matrix,
    ranked_shares,
    standard_error,
)


class Data(NamedTuple):
    """Names of the columns, and one row of values for each thing that is drawn."""

    header: tuple[str, ...]
    rows: list[tuple[object, ...]]


def differences(record: Record) -> Data:
    """Return the paired differences, one row per seed."""
    mode = map(finite, (record.get("difference") or {}).get("scores") or ())
    mixture = map(finite, (record.get("mixture_difference") or {}).get("scores") or ())
    rows: list[tuple[object, ...]] = [(seed, *pair) for seed, pair in enumerate(zip_longest(mode, mixture))]
    return Data(("seed", "mode_minus_moe", "moe_minus_dense"), rows)


def score_against_alpha(record: Record) -> Data:
    """Return mean and standard error of the test score for each α, with the seeds that chose it.

    A single α gives no rows: there is no curve.
    """
    return _along_alpha(record, "test_scores")


def own_domain_against_alpha(record: Record) -> Data:
    """Return mean and standard error of the own-domain score for each α, with the seeds that chose it."""
    return _along_alpha({} if record.get("experts") == 1 else record, "own_domain")


def _along_alpha(record: Record, quantity: str) -> Data:
    path, chosen = record.get("alpha_path") or {}, dict(alpha_counts(record))
    rows: list[tuple[object, ...]] = []
    for alpha, scores in zip(known(path.get("alpha")), columns(path.get(quantity)), strict=False):
        if known(scores):
            rows.append((alpha, mean(scores), standard_error(scores), chosen.get(alpha, 0)))
    header = ("alpha", "mean", "standard_error", "seeds_that_chose_it")
    return Data(header, rows if len(rows) > 1 else [])


def expert_domain_matrix(record: Record) -> Data:
    """Return the mean score of each expert on each domain, experts ranked by domain size."""
    rows: list[tuple[object, ...]] = []
    for arm, probing in probing_of(record).items():
        for expert, scores in enumerate(ranked_matrix(probing), start=1):
            rows += [(arm, expert, domain, score) for domain, score in enumerate(scores, start=1)]
    return Data(("arm", "expert_rank", "domain_rank", "mean_score"), rows)


def domain_shares(record: Record) -> Data:
    """Return the share of each ranked expert in each seed."""
    rows: list[tuple[object, ...]] = []
    for arm, probing in probing_of(record).items():
        for rank, shares in enumerate(ranked_shares(probing), start=1):
            rows += [(arm, rank, seed, share) for seed, share in enumerate(shares)]
    return Data(("arm", "expert_rank", "seed", "share"), rows)


def learning_curves(record: Record) -> Data:
    """Return training and validation loss per arm and epoch."""
    curves = record.get("curves") or {}
    rows: list[tuple[object, ...]] = []
    for arm in (arm for arm in ARMS if curves.get(arm)):
        curve = curves[arm]
        losses = zip_longest(curve.get("train_loss") or (), curve.get("validation_loss") or ())
        rows += [
            (arm, epoch, finite(train), finite(validation))
            for epoch, (train, validation) in zip(curve.get("epoch") or (), losses, strict=False)
        ]
    return Data(("arm", "epoch", "train_loss", "validation_loss"), rows)


def sweep_scores(record: Record) -> Data:
    """Return mean and standard error of the test score for each number of experts and α."""
    return _cells(record, "scores", "mean")


def sweep_own_domain(record: Record) -> Data:
    """Return mean and standard error of the own-domain score for each number of experts and α."""
    return _cells(record, "own_domain", "own_domain_mean")


def _cells(record: Record, scores: str, centre: str) -> Data:
    rows: list[tuple[object, ...]] = [
        (cell.get("experts"), cell.get("alpha"), finite(cell.get(centre)), standard_error(cell.get(scores)))
        for cell in record.get("cells") or ()
        if finite(cell.get(centre)) is not None
    ]
    return Data(("experts", "alpha", "mean", "standard_error"), rows)
