"""Scores of a comparison: between the arms, along α, over the epochs."""

from __future__ import annotations

from itertools import zip_longest

from distilled_experts.report.data.rows import Data
from distilled_experts.report.records import ARMS, alpha_counts
from distilled_experts.report.values import Record, columns, finite, known, mean, standard_error


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
