"""The reasons for the result of a comparison: exchange, flow of errors, one frozen gate, narrow vision, attention."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from distilled_experts.report.data.rows import Data
from distilled_experts.report.records import MIXTURES
from distilled_experts.report.values import Record, finite, mean, standard_error
from distilled_experts.report.why import along_alpha, attention_of, flow_of, over_training, why_of

VISION = ("vision_whole", "vision_task")
SIMILARITY = ("cka", "agreement")


def exchange(record: Record) -> Data:
    """Return the contributions of gate and experts, one row per seed."""
    found = why_of(record, "exchange")
    columns = [map(finite, (found.get(key) or {}).get("scores") or ()) for key in ("experts", "gate", "gain")]
    rows: list[tuple[object, ...]] = [(seed, *values) for seed, values in enumerate(zip_longest(*columns))]
    return Data(("seed", "experts", "gate", "gain"), rows)


def flow(record: Record) -> Data:
    """Return the share of the rows that goes from one type of answer to another."""
    types, shares = flow_of(record)
    rows: list[tuple[object, ...]] = [
        (before, after, share)
        for before, row in zip(types, shares, strict=True)
        for after, share in zip(types, row, strict=True)
        if (before, after) != ("right", "right")
    ]
    return Data(("moe", "mode", "share"), rows if any(share for *_, share in rows) else [])


def parallel_study(record: Record) -> Data:
    """Return share and difference of each expert under the frozen gate, and of all together."""
    study = why_of(record, "parallel")
    parts = [("all", {"share": 1.0, **study})] if study else []
    parts += [(str(rank), expert) for rank, expert in enumerate(study.get("by_expert") or (), start=1)]
    rows: list[tuple[object, ...]] = [
        (
            name,
            part.get("share"),
            *(finite((part.get("difference") or {}).get(key)) for key in ("mean", "low", "high", "p")),
        )
        for name, part in parts
    ]
    return Data(("expert_rank", "share", "mean", "low", "high", "p"), rows)


def narrow_vision_over_training(record: Record) -> Data:
    """Return the narrow-vision index per arm, loss and epoch."""
    return _over_training(record, VISION)


def similarity_over_training(record: Record) -> Data:
    """Return CKA and agreement per arm and epoch."""
    return _over_training(record, SIMILARITY)


def narrow_vision_against_alpha(record: Record) -> Data:
    """Return mean and standard error of the narrow-vision index for each loss and α."""
    return _against_alpha(record, VISION)


def similarity_against_alpha(record: Record) -> Data:
    """Return mean and standard error of CKA and agreement for each α."""
    return _against_alpha(record, SIMILARITY)


def _over_training(record: Record, quantities: Sequence[str]) -> Data:
    rows: list[tuple[object, ...]] = [
        (quantity, arm, epoch, value)
        for quantity in quantities
        for arm, points in over_training(record, quantity).items()
        for epoch, value in points
    ]
    return Data(("quantity", "arm", "epoch", "mean"), rows)


def _against_alpha(record: Record, quantities: Sequence[str]) -> Data:
    rows: list[tuple[object, ...]] = [
        (quantity, alpha, mean(values), standard_error(values))
        for quantity in quantities
        for alpha, values in along_alpha(record, quantity)
        if mean(values) is not None
    ]
    return Data(("quantity", "alpha", "mean", "standard_error"), rows if len({row[1] for row in rows}) > 1 else [])


def attention(record: Record) -> Data:
    """Return the attention of each ranked expert to each column, mean over the seeds."""
    names, arms = attention_of(record)
    rows: list[tuple[object, ...]] = [
        (arm, rank, name, value)
        for arm in MIXTURES
        for rank, expert in enumerate(arms.get(arm) or (), start=1)
        for name, value in zip(names, expert, strict=True)
    ]
    return Data(("arm", "expert_rank", "column", "attention"), rows)
