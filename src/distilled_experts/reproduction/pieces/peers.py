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

Scores = Mapping[str, Mapping[str, float]]
"""Mean scores by set and peer, over the seeds that all peers of a set have tried; minus infinity for a failed fit."""


def _scores(records: Sequence[Record]) -> Scores:
    found: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for record in records:
        score = -math.inf if "failed" in record else record["score"]
        found[record["data"]][record["peer"]][record["seed"]] = score
    means = {}
    for data, of_set in found.items():
        # Other seeds are other splits.
        if seeds := sorted(set.intersection(*map(set, of_set.values()))):
            means[data] = {peer: fmean(by_seed[seed] for seed in seeds) for peer, by_seed in of_set.items()}
    return means


def _ranked(scores: Scores) -> tuple[list[str], list[str], Ranking]:
    """Sets that all peers have tried, the peers, and their ranks."""
    peers = list(dict.fromkeys(peer for of_set in scores.values() for peer in of_set))
    common = [data for data, of_set in scores.items() if len(of_set) == len(peers)]
    return common, peers, rank_methods([[-scores[data][peer] for peer in peers] for data in common], len(peers))


def _peers(records: Sequence[Record]) -> Finding:
    scores = _scores(records)
    common, peers, ranking = _ranked(scores)
    rows = [[data, *(_shown(of_set.get(peer)) for peer in peers)] for data, of_set in scores.items()]
    rows.append(["average rank", *(fixed(rank, 2) for rank in ranking.averages)])
    note = (
        f"Accuracy in percent, or R² × 100, means over the seeds that all estimators of a row have tried; defaults of "
        f"each, nothing tuned. Ranks over the {len(common)} sets that all have tried; critical difference "
        f"{fixed(ranking.critical_difference, 2)}."
    )
    return Finding(
        f"{table(['data', *peers], rows)}\n\n{note}", _claims(common, peers, ranking), {"ranks": partial(_draw, scores)}
    )


def _shown(score: float | None) -> str:
    if score is None:
        return MISSING
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
