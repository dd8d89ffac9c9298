"""Tables, ranks and picture from the records of `tabular.py`."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tabular_peers import OURS, PEERS

from distilled_experts.experiments.ranks import LEVEL, Ranking, rank_methods
from distilled_experts.report import figures
from distilled_experts.reproduction.text import table as markdown

MISSING, FAILED = "–", "failed"

Records = dict[tuple[str, str], dict[int, dict]]
"""The records of a set and a peer, by seed."""


class Ranks(NamedTuple):
    """Ranks of all peers, 1 the best, over the sets where they can be compared."""

    sets: list[str]
    found: Ranking

    @property
    def averages(self) -> list[float]:
        return self.found.averages


def report(found: Sequence[dict], sets: Sequence[str], peers: Sequence[str], clock: str, picture: Path) -> str:
    """Markdown, in which sets and peers without any record are left out; the picture of the ranks is written."""
    if not found:
        return "No records."
    records: Records = defaultdict(dict)
    for record in found:
        records[record["data"], record["peer"]][record["seed"]] = record
    sets = [data for data in sets if any((data, peer) in records for peer in peers)]
    peers = [peer for peer in peers if any((data, peer) in records for data in sets)]
    check_rows(found)
    records = paired(records, sets, peers)
    ranks = rank(records, sets, peers, "score")
    parts = [
        scores(records, sets, peers, "score"),
        "Accuracy in percent, or R² × 100 (†): mean over the seeds that all of a row have, the best in bold type.",
        scores(records, [data for data in sets if not is_regression(records, data)], peers, "log_loss"),
        "Log loss, with no probability below 1e-7.",
        summary(records, sets, peers, ranks, clock),
        explanation(found, peers, clock),
        verdict(ranks, peers),
        *failures(found),
    ]
    if len(ranks.sets) > 1 and len(peers) > 1:
        picture.parent.mkdir(parents=True, exist_ok=True)
        averages = {PEERS[peer].title: average for peer, average in zip(peers, ranks.averages, strict=True)}
        own = [peer.title for peer in PEERS.values() if peer.package == PEERS[OURS].package]
        figure = figures.average_ranks(averages, ranks.found.critical_difference, len(ranks.sets), own)
        picture.write_text(figures.to_svg(figure), encoding="utf-8")
    return "\n\n".join(parts)


def check_rows(found: Sequence[dict]) -> None:
    """All peers must have seen the same rows of a set and a seed."""
    digests = defaultdict(set)
    for record in found:
        if "failed" not in record:
            digests[record["data"], record["seed"]].add(record["rows"]["digest"])
    differing = [f"{data}, seed {seed}" for (data, seed), seen in digests.items() if len(seen) > 1]
    if differing:
        raise SystemExit(f"records of different rows: {'; '.join(differing)}; remove the old ones and run again")


def paired(records: Records, sets: Sequence[str], peers: Sequence[str]) -> Records:
    """The records of a set with the seeds that all of its peers have, so that a row shows the same splits."""
    kept: Records = {}
    for data in sets:
        cells = {peer: records[data, peer] for peer in peers if (data, peer) in records}
        seeds = set.intersection(*map(set, cells.values())) if cells else set()
        for peer, cell in cells.items():
            kept[data, peer] = {seed: cell[seed] for seed in sorted(seeds)}
    return kept


def is_regression(records: Records, data: str) -> bool:
    """Whether a set is one; where every peer has failed, nobody knows."""
    of_set = (record for (name, _), by_seed in records.items() if name == data for record in by_seed.values())
    return any(record.get("task") == "regression" for record in of_set)


def scores(records: Records, sets: Sequence[str], peers: Sequence[str], key: str) -> str:
    """A row for every set, a column for every peer."""
    rows = []
    for data in sets:
        cells = [records.get((data, peer), {}) for peer in peers]
        means = [mean_of([record for record in cell.values() if "failed" not in record], key) for cell in cells]
        known = [mean for mean in means if not math.isnan(mean)]
        best = (min if key == "log_loss" else max)(known, default=None)
        shown = [shown_cell(cell, mean, key, mean == best) for cell, mean in zip(cells, means, strict=True)]
        rows.append([f"{data} †" if is_regression(records, data) else data, *shown])
    return markdown(["data", *(PEERS[peer].title for peer in peers)], rows)


def mean_of(records: Sequence[dict], key: str) -> float:
    return statistics.fmean(record[key] for record in records) if records else math.nan


def shown_cell(cell: dict[int, dict], mean: float, key: str, is_best: bool) -> str:
    if not cell:
        return MISSING
    if math.isnan(mean):
        return FAILED
    text = f"{mean:.3f}" if key == "log_loss" else f"{100 * mean:.2f}"
    n_failed = sum("failed" in record for record in cell.values())
    return (f"**{text}**" if is_best else text) + (f" ({n_failed} {FAILED})" if n_failed else "")


def rank(records: Records, sets: Sequence[str], peers: Sequence[str], key: str) -> Ranks:
    """Rank the peers by their means over the seeds that all of them have; who failed on one of these is last.

    Sets without such a seed are left out.
    """
    ranked, rows = [], []
    for data in sets:
        cells = [records.get((data, peer), {}) for peer in peers]
        seeds = set.intersection(*(set(cell) for cell in cells))
        if not seeds or (key == "log_loss" and is_regression(records, data)):
            continue
        losses = [
            math.inf if any("failed" in r for r in mine) else mean_of(mine, key) * (1 if key == "log_loss" else -1)
            for mine in ([cell[seed] for seed in seeds] for cell in cells)
        ]
        ranked.append(data)
        rows.append(losses)
    return Ranks(ranked, rank_methods(rows, len(peers)))


def summary(records: Records, sets: Sequence[str], peers: Sequence[str], ranks: Ranks, clock: str) -> str:
    """Ranks and times, a row for every peer, the best rank first."""
    by_loss = rank(records, sets, peers, "log_loss").averages
    rows = []
    for i in np.argsort(ranks.averages, kind="stable"):
        peer = peers[i]
        times = [shown_ratio(records, sets, peer, f"{what}_seconds", clock) for what in ("fit", "predict")]
        n_failed = sum("failed" in r for data in sets for r in records.get((data, peer), {}).values())
        rows.append([PEERS[peer].title, shown(ranks.averages[i]), shown(by_loss[i]), *times, str(n_failed)])
    heads = ["peer", "average rank", "average rank, log loss", "fit time", "predict time", "failed fits"]
    return markdown(heads, rows)


def shown(number: float, digits: int = 2) -> str:
    return MISSING if math.isnan(number) else f"{number:.{digits}f}"


def shown_ratio(records: Records, sets: Sequence[str], peer: str, key: str, clock: str) -> str:
    """Median over the sets of a peer's time against ours, each time a median over common seeds."""
    ratios = []
    for data in sets:
        theirs, ours = (
            {seed: r[key][clock] for seed, r in records.get((data, name), {}).items() if "failed" not in r}
            for name in (peer, OURS)
        )
        if seeds := theirs.keys() & ours.keys():
            above, below = (statistics.median(times[seed] for seed in seeds) for times in (theirs, ours))
            ratios.append(above / below)
    return f"{statistics.median(ratios):.3g}" if ratios else MISSING


def explanation(found: Sequence[dict], peers: Sequence[str], clock: str) -> str:
    """What the figures of the summary are."""
    hours = sum(record["process_seconds"] for record in found) / 3600
    threads = " or ".join(str(n) for n in sorted({record["threads"] for record in found}))
    seconds = "the processor's seconds" if clock == "cpu" else "seconds by the clock"
    versions = {PEERS[r["peer"]].package: r["version"] for r in found if r["peer"] in peers}
    return (
        f"Times are {seconds} as a multiple of {PEERS[OURS].title}'s, the median over the sets; prediction is of "
        f"batches of 10,000 rows. Ranks are over the seeds that all peers have; who failed there is last. "
        f"{len(found)} fits with {threads} thread(s) each took {hours:.1f} h, one after the other. "
        f"{', '.join(f'{name} {version}' for name, version in versions.items())}."
    )


def verdict(ranks: Ranks, peers: Sequence[str]) -> str:
    """Friedman's test, and who is not told apart from the best."""
    n, k = len(ranks.sets), len(peers)
    p, difference = ranks.found.p, ranks.found.critical_difference
    if p is None or difference is None:
        return f"Too little for a test of ranks: {n} set(s) with all peers, {k} peer(s)."
    order = np.argsort(ranks.averages, kind="stable")
    least = ranks.averages[order[0]]
    near = [PEERS[peers[i]].title for i in order[1:] if ranks.averages[i] - least <= difference]
    beaten = [PEERS[peers[i]].title for i in order[1:] if ranks.averages[i] - least > difference]
    return (
        f"Over {n} sets and {k} peers Friedman's test has p = {p:.2g}; average ranks differ at the level of "
        f"{LEVEL:.0%} when they are more than {difference:.2f} apart (Nemenyi). The best is "
        f"{PEERS[peers[order[0]]].title}; not told apart from it: {', '.join(near) or 'none'}; "
        f"behind: {', '.join(beaten) or 'none'}."
    )


def failures(found: Sequence[dict]) -> list[str]:
    """Every failed fit with its reason."""
    lines = [
        f"- {r['data']}, seed {r['seed']}, {PEERS[r['peer']].title}: {r['failed']}" for r in found if "failed" in r
    ]
    return ["Failed fits:\n\n" + "\n".join(lines)] if lines else []
