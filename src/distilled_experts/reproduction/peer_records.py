"""Fits of several estimators to the same splits of the same tables: which splits they share, their ranks and times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median, stdev
from typing import NamedTuple

from distilled_experts.experiments.ranks import Ranking, rank_methods
from distilled_experts.report.values import Record, known

__all__ = ["ESTIMATORS", "Estimator", "PeerRecords"]


class Estimator(NamedTuple):
    """What stands in tables, and the package that it comes from."""

    title: str
    package: str


ESTIMATORS = {
    "mode": Estimator("MoDE", "distilled-experts"),
    "moe": Estimator("MoE (α = 0)", "distilled-experts"),
    "networks": Estimator("mean of networks (no gate)", "distilled-experts"),
    "hist_gradient_boosting": Estimator("HistGradientBoosting", "scikit-learn"),
    "random_forest": Estimator("random forest", "scikit-learn"),
    "mlp": Estimator("MLP", "scikit-learn"),
    "xgboost": Estimator("XGBoost", "xgboost"),
    "lightgbm": Estimator("LightGBM", "lightgbm"),
    "catboost": Estimator("CatBoost", "catboost"),
    "tabm": Estimator("TabM", "pytabkit"),
    "tabm_mini": Estimator("TabM-mini with embeddings", "pytabkit"),
    "realmlp": Estimator("RealMLP", "pytabkit"),
}
"""Those that are compared, by the name that stands in their records, in the order of tables."""


class PeerRecords:
    """Records by table, estimator and seed; a seed is a split.

    Parameters
    ----------
    records : sequence of Record
        With ``data``, ``peer``, ``seed``, and either ``failed`` or ``score``, ``log_loss`` (None for a regression) and
        the seconds of fit and prediction.

    Attributes
    ----------
    data, peers : list of str
        Tables in alphabetical order, and estimators in their order of appearance, with any record.

    Examples
    --------
    >>> scores = {("wine", "a"): 0.9, ("wine", "b"): 0.8, ("iris", "a"): 0.7, ("iris", "b"): 0.9, ("digits", "a"): 0.5}
    >>> fits = [{"data": data, "peer": peer, "seed": 0, "score": score} for (data, peer), score in scores.items()]
    >>> found = PeerRecords(fits)
    >>> found.comparable(["a", "b"]), found.ranks(["a", "b"])
    (['iris', 'wine'], {'a': 1.5, 'b': 1.5})
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self._fits = {(record["data"], record["peer"], record["seed"]): record for record in records}
        self._seeds: dict[tuple[str, str], set[int]] = {}
        for data, peer, seed in self._fits:
            self._seeds.setdefault((data, peer), set()).add(seed)
        self.data = sorted({record["data"] for record in records})
        self.peers = list(dict.fromkeys(record["peer"] for record in records))

    def peers_of(self, data: str) -> list[str]:
        """Estimators that have tried a table."""
        return [peer for peer in self.peers if (data, peer) in self._seeds]

    def seeds(self, data: str, peers: Sequence[str]) -> list[int]:
        """The splits of a table that all of these have tried."""
        return sorted(set.intersection(*(self._seeds.get((data, peer), set()) for peer in peers))) if peers else []

    def comparable(self, peers: Sequence[str], key: str = "score") -> list[str]:
        """Tables with a split that all of these have tried, and for which there is such a measure."""
        return [data for data in self.data if self.seeds(data, peers) and (key == "score" or self.has(data, key))]

    def has(self, data: str, key: str) -> bool:
        """Whether there is such a measure for a table."""
        return any(fit.get(key) is not None for (name, _, _), fit in self._fits.items() if name == data)

    def mean(self, data: str, peer: str, seeds: Sequence[int], key: str) -> float | None:
        """Mean of a measure over splits; None where one of the fits failed."""
        fits = [self._fits[data, peer, seed] for seed in seeds]
        return None if any("failed" in fit for fit in fits) else fmean(fit[key] for fit in fits)

    def spread(self, peer: str) -> float | None:
        """Standard deviation of the score over the splits of a table, median over the tables with two or more."""
        by_table = [
            [self._fits[data, peer, seed].get("score") for seed in self.seeds(data, [peer])] for data in self.data
        ]
        deviations = [stdev(scores) for scores in map(known, by_table) if len(scores) > 1]
        return median(deviations) if deviations else None

    def ranks(self, peers: Sequence[str], key: str = "score") -> dict[str, float]:
        """Average ranks by `ranking`."""
        return dict(zip(peers, self.ranking(peers, key).averages, strict=True))

    def ranking(self, peers: Sequence[str], key: str = "score") -> Ranking:
        """Ranks by their means over the splits that all of these have tried; who failed on one is last."""
        losses = []
        for data in self.comparable(peers, key):
            seeds = self.seeds(data, peers)
            means = [self.mean(data, peer, seeds, key) for peer in peers]
            sign = 1 if key == "log_loss" else -1
            losses.append([math.inf if mean is None else sign * mean for mean in means])
        return rank_methods(losses, len(peers))

    def groups(self) -> list[list[str]]:
        """All estimators, then those that have tried more splits of every table than others have, step by step."""
        common = self.comparable(self.peers)
        least = {peer: min((len(self._seeds[data, peer]) for data in common), default=0) for peer in self.peers}
        return [[peer for peer in self.peers if least[peer] >= n] for n in sorted(set(least.values()))]

    def time_ratio(self, peer: str, other: str, what: str) -> float | None:
        """Processor's seconds of one / of another, median over the tables of medians over their common splits.

        `what` is "fit" or "predict".
        """
        ratios = []
        for data in self.data:
            pairs = [[self._fits[data, p, seed] for p in (peer, other)] for seed in self.seeds(data, [peer, other])]
            ended = [fits for fits in pairs if not any("failed" in fit for fit in fits)]
            if ended:
                own, others = (
                    median(fit[f"{what}_seconds"]["cpu"] for fit in fits) for fits in zip(*ended, strict=True)
                )
                ratios.append(own / others)
        return median(ratios) if ratios else None

    def failed(self, peer: str) -> int:
        """How many fits failed."""
        return sum("failed" in fit for (_, name, _), fit in self._fits.items() if name == peer)
