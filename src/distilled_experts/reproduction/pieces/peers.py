"""The estimators beside what else a practitioner would take: outside marks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from distilled_experts.report.formats import MISSING, fixed, probability
from distilled_experts.report.values import Record
from distilled_experts.reproduction.peer_records import ESTIMATORS, PeerRecords
from distilled_experts.reproduction.piece import Claim, Finding, Piece
from distilled_experts.reproduction.studies import PEERS
from distilled_experts.reproduction.text import table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PIECES"]

_OURS = "mode"

_FAILED = "failed"
_OTHER_HEADS = ("average rank, log loss", "spread", "fit time", "prediction time", "failed fits")


def _title(peer: str) -> str:
    return ESTIMATORS[peer].title


def _peers(records: Sequence[Record]) -> Finding:
    places = list(ESTIMATORS)
    found = PeerRecords(sorted(records, key=lambda record: places.index(record["peer"])))
    parts = [_summary(found), _explanation(found, records), "Accuracy in percent, or R² × 100 (†):"]
    parts += [_scores(found, found.data, "score"), "Log loss, no probability below 1e-7:"]
    parts += [_scores(found, [data for data in found.data if found.has(data, "log_loss")], "log_loss")]
    parts += [f"- {r['data']}, seed {r['seed']}, {_title(r['peer'])}: {r['failed']}" for r in records if _FAILED in r]
    return Finding("\n\n".join(parts), [*_rank_claims(found), *_time_claims(found)], {"ranks": partial(_draw, found)})


def _summary(found: PeerRecords) -> str:
    """A row for every estimator, the best rank first."""
    groups = found.groups()
    ranks, by_loss = [found.ranks(peers) for peers in groups], found.ranks(found.peers, "log_loss")
    heads = ["estimator", *(f"average rank, {_splits(found, peers)}" for peers in groups)]
    rows = []
    for i in np.argsort(list(ranks[0].values()), kind="stable"):
        peer = found.peers[i]
        times = [fixed(found.time_ratio(peer, _OURS, what), 2) for what in ("fit", "predict")]
        spread = found.spread(peer)
        measured = [*(fixed(of_group.get(peer), 2) for of_group in ranks), fixed(by_loss[peer], 2)]
        measured.append(MISSING if spread is None else fixed(100 * spread, 2))
        rows.append([_title(peer), *measured, *times, str(found.failed(peer))])
    return table([*heads, *_OTHER_HEADS], rows)


def _splits(found: PeerRecords, peers: Sequence[str]) -> str:
    tables = found.comparable(peers)
    return f"{sum(len(found.seeds(data, peers)) for data in tables)} splits of {len(tables)} tables"


def _explanation(found: PeerRecords, records: Sequence[Record]) -> str:
    ranking = found.ranking(found.peers)
    threads = " or ".join(str(n) for n in sorted({record["threads"] for record in records}))
    versions = sorted({f"{ESTIMATORS[record['peer']].package} {record['version']}" for record in records})
    difference = fixed(ranking.critical_difference, 2)
    return (
        f"Defaults of each, nothing tuned; {len(records)} fits, {threads} thread(s) each. Ranks are over the splits "
        f"that all of a column have tried; who failed there is last. Over those of all estimators Friedman's test has "
        f"{probability(ranking.p)}, and average ranks differ when they are more than {difference} apart (Nemenyi). "
        f"The spread is the standard deviation of the score over the splits of a table, the median over the tables. "
        f"Times are the processor's seconds as a multiple of {_title(_OURS)}'s, the median over the tables; prediction "
        f"is of 10,000 rows at once. {', '.join(versions)}."
    )


def _scores(found: PeerRecords, tables: Sequence[str], key: str) -> str:
    """A row for every table, with means over the splits that all of the row have tried, the best in bold type."""
    rows = []
    for data in tables:
        present = found.peers_of(data)
        seeds = found.seeds(data, present)
        means = {peer: found.mean(data, peer, seeds, key) for peer in present} if seeds else {}
        best = (min if key == "log_loss" else max)((mean for mean in means.values() if mean is not None), default=None)
        cells = [_cell(means[peer], best, key) if peer in means else MISSING for peer in found.peers]
        rows.append([data if found.has(data, "log_loss") else f"{data} †", str(len(seeds)), *cells])
    return table(["data", "splits", *(_title(peer) for peer in found.peers)], rows)


def _cell(mean: float | None, best: float | None, key: str) -> str:
    if mean is None:
        return _FAILED
    text = fixed(mean, 3) if key == "log_loss" else fixed(100 * mean, 2)
    return f"**{text}**" if mean == best else text


def _rank_claims(found: PeerRecords) -> list[Claim]:
    best = "The average rank of MoDE is the best of all in every column"
    level = "No other estimator is significantly better over the tables (Nemenyi, average ranks)"
    if _OURS not in found.peers or len(found.peers) < 2 or len(found.comparable(found.peers)) < 2:
        return [Claim(text, None, "too few tables or estimators") for text in (best, level)]
    ranks, difference = found.ranks(found.peers), found.ranking(found.peers).critical_difference
    assert difference is not None
    ahead = [_title(peer) for peer, rank in ranks.items() if ranks[_OURS] - rank > difference]
    columns = [_beside_nearest(found, peers) for peers in found.groups() if _OURS in peers and len(peers) > 1]
    return [
        Claim(best, all(own < other for own, other, _ in columns), "; ".join(text for *_, text in columns)),
        Claim(level, not ahead, f"ahead: {', '.join(ahead) or 'none'}"),
    ]


def _beside_nearest(found: PeerRecords, peers: Sequence[str]) -> tuple[float, float, str]:
    """Our average rank among these, the best of the others, and both in words."""
    ranks = found.ranks(peers)
    own = ranks.pop(_OURS)
    nearest = min(ranks, key=ranks.__getitem__)
    return own, ranks[nearest], f"{fixed(own, 2)}, {_title(nearest)} {fixed(ranks[nearest], 2)}"


def _time_claims(found: PeerRecords) -> list[Claim]:
    asked = (
        ("fit", "realmlp", 1, "A fit takes at most the time of one of RealMLP (median over the tables)"),
        ("fit", "tabm", 1, "A fit takes at most the time of one of TabM (median over the tables)"),
        ("predict", "tabm", 2, "Prediction is at least twice as fast as TabM's (median over the tables)"),
    )
    claims = []
    for what, peer, least, text in asked:
        ratio = found.time_ratio(peer, _OURS, what)
        holds, shown = (None, "not tried") if ratio is None else (ratio >= least, f"{_title(peer)} × {ratio:.3g}")
        claims.append(Claim(text, holds, shown))
    return claims


def _draw(found: PeerRecords) -> Figure:
    from distilled_experts.report import figures

    ranks = {_title(peer): rank for peer, rank in found.ranks(found.peers).items()}
    own = [e.title for e in ESTIMATORS.values() if e.package == ESTIMATORS[_OURS].package]
    difference = found.ranking(found.peers).critical_difference
    return figures.average_ranks(ranks, difference, len(found.comparable(found.peers)), ours=own)


PIECES = (
    Piece(
        "tabular-peers",
        "Other estimators on tables",
        "Outside marks that the paper's tables are not known to have: ensembles, gradient boosting, TabM.",
        (PEERS,),
        _peers,
    ),
)
