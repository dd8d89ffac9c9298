"""The experts of a comparison: shares of the samples, and scores on every domain."""

from __future__ import annotations

from collections.abc import Iterator

from distilled_experts.report.data.rows import Data
from distilled_experts.report.experts import MOST_DRAWN, Experts, contrasted_alphas, experts_of, stepped_alphas
from distilled_experts.report.values import Number, Record


def expert_domain_matrix(record: Record) -> Data:
    """Return the mean score on each domain of each expert that is drawn, ranked by domain size."""
    rows: list[tuple[object, ...]] = []
    for arm, alpha, (_, matrix) in _arms(record, "matrix"):
        for expert, scores in enumerate(matrix[:MOST_DRAWN], start=1):
            rows += [(arm, alpha, expert, domain, score) for domain, score in enumerate(scores[:MOST_DRAWN], start=1)]
    return Data(("arm", "alpha", "expert_rank", "domain_rank", "mean_score"), rows)


def domains(record: Record) -> Data:
    """Return the share of each ranked expert in each seed."""
    rows: list[tuple[object, ...]] = []
    for arm, alpha, (shares, _) in _arms(record, "shares"):
        for rank, seeds in enumerate(shares, start=1):
            rows += [(arm, alpha, rank, seed, share) for seed, share in enumerate(seeds)]
    return Data(("arm", "alpha", "expert_rank", "seed", "share"), rows)


def contrasted_domains(record: Record) -> Data:
    """Return the shares at every α, where there are a small and a large one to show side by side."""
    drawn = domains(record)
    return drawn if contrasted_alphas(record) else Data(drawn.header, [])


def _arms(record: Record, measure: str) -> Iterator[tuple[str, Number, Experts]]:
    """Name, α and experts: of every α at which the measure is known, or else of the arms (no α: each seed's own)."""
    alphas = stepped_alphas(record, measure)
    for alpha in alphas:
        arm = "moe" if alpha == 0 else "mode"
        yield arm, alpha, experts_of(record, alpha)["mode"]
    if not alphas:
        for arm, experts in experts_of(record).items():
            yield arm, 0.0 if arm == "moe" else None, experts
