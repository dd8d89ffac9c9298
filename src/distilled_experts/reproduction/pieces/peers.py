"""The estimators beside what else a practitioner would take: outside marks."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING

from distilled_experts.experiments.ranks import Ranking, rank_methods
from distilled_experts.report.formats import MISSING, fixed
from distilled_experts.report.values import Record
from distilled_experts.reproduction.piece import Claim, Finding, Piece
from distilled_experts.reproduction.studies import PEERS
from distilled_experts.reproduction.text import table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PIECES"]

_OURS = "mode"

Scores = Mapping[tuple[str, str], Mapping[int, float]]
"""Scores by set and peer, and by seed; minus infinity for a fit that failed."""


def _scores(records: Sequence[Record]) -> Scores:
    found: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for record in records:
        score = -math.inf if "failed" in record else record["score"]
        found[record["data"], record["peer"]][record["seed"]] = score
    return found


def _ranked(scores: Scores) -> tuple[list[str], list[str], Ranking]:
    """Sets with seeds that all peers have tried, the peers, and their ranks over these seeds."""
    sets, peers = (list(dict.fromkeys(cell[part] for cell in scores)) for part in (0, 1))
    common, losses = [], []
    for data in sets:
        of_set = [scores.get((data, peer), {}) for peer in peers]
        seeds = sorted(set.intersection(*map(set, of_set)))
        if seeds:
            common.append(data)
            losses.append([-fmean(by_seed[seed] for seed in seeds) for by_seed in of_set])
    return common, peers, rank_methods(losses, len(peers))


def _peers(records: Sequence[Record]) -> Finding:
    scores = _scores(records)
    common, peers, ranking = _ranked(scores)
    sets = dict.fromkeys(data for data, _ in scores)
    rows = [[data, *(_shown(scores.get((data, peer))) for peer in peers)] for data in sets]
    rows.append(["average rank", *(fixed(rank, 2) for rank in ranking.averages)])
    note = (
        f"Accuracy in percent, or R² × 100, means over the seeds; defaults of each, nothing tuned. Ranks over "
        f"{len(common)} sets and the seeds that all have tried; critical difference "
        f"{fixed(ranking.critical_difference, 2)}."
    )
    return Finding(
        f"{table(['data', *peers], rows)}\n\n{note}", _claims(common, peers, ranking), {"ranks": partial(_draw, scores)}
    )


def _shown(by_seed: Mapping[int, float] | None) -> str:
    if by_seed is None:
        return MISSING
    score = fmean(by_seed.values())
    return fixed(100 * score, 2) if math.isfinite(score) else "failed"


def _claims(common: Sequence[str], peers: Sequence[str], ranking: Ranking) -> list[Claim]:
    text = "No other estimator is significantly better over the sets (Nemenyi, average ranks)"
    if _OURS not in peers or ranking.critical_difference is None or len(common) < 2:
        return [Claim(text, None, "too few sets or peers")]
    own = ranking.averages[peers.index(_OURS)]
    ahead = [
        peer for peer, rank in zip(peers, ranking.averages, strict=True) if own - rank > ranking.critical_difference
    ]
    return [Claim(text, not ahead, f"average rank {own:.2f}; ahead: {', '.join(ahead) or 'none'}")]


def _draw(scores: Scores) -> Figure:
    from distilled_experts.report import figures

    common, peers, ranking = _ranked(scores)
    ranks = dict(zip(peers, ranking.averages, strict=True))
    return figures.average_ranks(ranks, ranking.critical_difference, len(common), ours=(_OURS,))


PIECES = (
    Piece(
        "tabular-peers",
        "Other estimators on tables",
        "Outside marks that the paper's tables are not known to have: ensembles, gradient boosting, TabM.",
        (PEERS,),
        _peers,
    ),
)
