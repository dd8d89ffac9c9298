"""Other losses: variants of mutual distillation, and ideas with the opposite aim, alone and combined with it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING

from distilled_experts.experiments.ranks import LEVEL, rank_methods
from distilled_experts.experiments.statistics import difference, holm
from distilled_experts.report.formats import MISSING, fixed, signed
from distilled_experts.report.values import Record
from distilled_experts.reproduction.changes import SPLIT, mostly
from distilled_experts.reproduction.piece import Claim, Finding, Piece
from distilled_experts.reproduction.studies import LOSS_VARIANTS, OPPOSITES
from distilled_experts.reproduction.text import strengths, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PIECES"]

_PLAIN, _OURS, _WITH = "MoE", "MoDE", "MoDE + "


def _names(records: Sequence[Record]) -> list[str]:
    """Every arm, in the order of the records."""
    return list(dict.fromkeys(name for record in records for name in record["arms"]))


def _mean(record: Record, name: str) -> float:
    return fmean(record["arms"][name]["scores"])


def _gain(record: Record, name: str, before: str = _PLAIN) -> float:
    return 100 * (_mean(record, name) - _mean(record, before))


def _gains(records: Sequence[Record], name: str, before: str = _PLAIN) -> list[float]:
    return [_gain(record, name, before) for record in records if name in record["arms"]]


def _table(records: Sequence[Record], choice: str) -> str:
    """A row an arm; `choice` says what its strength is chosen from."""
    rows = [_row(records, name) for name in _names(records)]
    sets = (f"{record['data']}, {record['gate']}" for record in records)
    heads = ["loss", *sets, "mean", "− MoDE", "own domain, %", "CKA", "strengths chosen"]
    seeds = records[0]["seeds"]
    note = (
        f"Points of test accuracy above MoE, means of {seeds} seeds; {choice}. With {seeds} seeds only large "
        "differences are significant: that none was found does not say that there is none."
    )
    return f"{table(heads, rows)}\n\n{note}"


def _row(records: Sequence[Record], name: str) -> list[str]:
    """Points above MoE on each set, means above MoE and MoDE there, own domain, similarity and strength."""
    having = [record["arms"][name] for record in records if name in record["arms"]]
    own, alike, chosen = ([value for arm in having for value in arm[key]] for key in ("own_domain", "cka", "strength"))
    cells = [signed(_gain(record, name), 2) if name in record["arms"] else MISSING for record in records]
    means = (signed(fmean(_gains(records, name, before)), 2) for before in (_PLAIN, _OURS))
    return [name, *cells, *means, fixed(100 * fmean(own), 2), fixed(fmean(alike), 2), strengths(chosen)]


def _ranked(records: Sequence[Record]) -> tuple[list[str], list[list[float]]]:
    """Arms that all records have, and their losses on every set, the mean over its gates."""
    names = [name for name in _names(records) if all(name in record["arms"] for record in records)]
    by_set: dict[str, list[Record]] = {}
    for record in records:
        by_set.setdefault(record["data"], []).append(record)
    return names, [[-fmean(_mean(record, name) for record in gates) for name in names] for gates in by_set.values()]


def _draw(records: Sequence[Record]) -> Figure:
    from distilled_experts.report import figures

    names, losses = _ranked(records)
    found = rank_methods(losses)
    ranks = dict(zip(names, found.averages, strict=True))
    return figures.average_ranks(ranks, found.critical_difference, len(losses), ours=(_OURS,))


def _told_apart(records: Sequence[Record], names: Sequence[str]) -> list[str]:
    """Arms of single records that differ from MoDE after Holm's correction over all of them."""
    pairs = [(record, name) for record in records for name in names if name in record["arms"]]
    arms = [(record["arms"][name]["scores"], record["arms"][_OURS]["scores"]) for record, name in pairs]
    p_values = [difference(*scores, SPLIT).p for scores in arms]
    adjusted = holm([1.0 if p is None else p for p in p_values])
    return [f"{name} ({record['data']})" for (record, name), p in zip(pairs, adjusted, strict=True) if p < LEVEL]


def _loss_variants(records: Sequence[Record]) -> Finding:
    others = [name for name in _names(records) if name not in (_PLAIN, _OURS)]
    above = [fmean(_gains(records, name)) > 0 for name in (_OURS, *others)]
    apart = _told_apart(records, others)
    # Some variants are there for one gate alone: only beside MoDE on the same arms can they be compared.
    beside = {name: fmean(_gains(records, name, _OURS)) for name in others}
    best, least = (pick(beside, key=lambda name: beside[name]) for pick in (max, min))
    claims = [
        mostly("Whatever the variant, it is above MoE in the mean", above, "variants"),
        Claim(
            f"No variant differs significantly from squared error with the mean as teacher (Holm, p < {LEVEL:g})",
            not apart,
            f"{len(apart)} do; best {best} ({signed(beside[best], 2)}), last {least} ({signed(beside[least], 2)})",
        ),
    ]
    choice = "each seed chooses on validation rows among the strengths 0 (plain MoE), 0.01, 0.1 and 1"
    return Finding(_table(records, choice), claims, {"ranks": partial(_draw, records)})


def _opposites(records: Sequence[Record]) -> Finding:
    names = _names(records)
    alone = [name for name in names if name not in (_PLAIN, _OURS) and not name.startswith(_WITH)]
    combined = [name for name in names if name.startswith(_WITH)]
    above = [gain <= 0 for name in alone for gain in _gains(records, name, _OURS)]
    gained = {name: fmean(_gains(records, name, _OURS)) for name in combined}
    best = max(gained, key=lambda name: gained[name])
    apart = _told_apart(records, combined)
    claims = [
        mostly("MoDE is at least as good as each opposite idea alone", above, "pairs"),
        Claim(
            f"No opposite idea on top of MoDE changes it significantly (Holm, p < {LEVEL:g})",
            not apart,
            f"{len(apart)} differ; best: {best}, {signed(gained[best], 2)} points",
        ),
    ]
    choice = (
        "each seed chooses on validation rows among the strengths 0 (plain MoE), 0.01, 0.1 and 1, of negative α a "
        "tenth of that; combinations have α = 0.1, and plain MoE and MoDE among their choices"
    )
    return Finding(_table(records, choice), claims, {"ranks": partial(_draw, records)})


PIECES = (
    Piece(
        "loss-variants",
        "Variants of the loss",
        "One loss: each expert is pulled towards the average of all. Its distance and its details are not known.",
        (LOSS_VARIANTS,),
        _loss_variants,
    ),
    Piece(
        "opposites",
        "Ideas with the opposite aim, and balance losses",
        "Nothing is known of such a comparison in the paper; others drive experts apart where it draws them together.",
        (OPPOSITES,),
        _opposites,
    ),
)
