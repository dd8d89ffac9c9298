"""The experts of each arm as they are shown: how the samples are shared out, and who is right where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from distilled_experts.errors import InvalidParameterError
from distilled_experts.report import words
from distilled_experts.report.records import MIXTURES, probing_of
from distilled_experts.report.values import Number, Record, change, finite, known, mean, ranked_matrix, ranked_shares
from distilled_experts.report.why import why_of

PROBED = "model"
# Of more experts, figures of every single one show the first, a page the part of the record that it can hold.
MOST_DRAWN = 16
MATRICES = ("matrix", "log_loss_matrix", "perplexity_matrix")


class Experts(NamedTuple):
    """The experts of one arm; in a comparison ranked by the size of their domains within each seed.

    Attributes
    ----------
    shares : list, (E, S)
        Share of the samples that each expert dominates, in every seed.
    matrix : list, (E, E)
        Score of every expert (row) alone on every domain (column), mean over the seeds.
    """

    shares: list[list[Number]]
    matrix: list[list[Number]]


def stepped_alphas(record: Record, measure: str = "shares") -> list[float]:
    """Return every α at which the record knows the experts, 0 first; none where there is nothing to step through.

    What must be known is the ``measure``, "shares" or "matrix": of many experts a record lacks the matrix.

    Examples
    --------
    >>> stepped_alphas({"why": {"by_alpha": {"alpha": [0, 0.1], "shares": [[[1.0], [1.0]]]}}})
    [0.0, 0.1]
    """
    path = why_of(record, "by_alpha")
    alphas = known(path.get("alpha")) if path.get(measure) else []
    return alphas if len(alphas) > 1 else []


def experts_of(record: Record, alpha: Number = None) -> dict[str, Experts]:
    """Return the experts of MoE and of MoDE, or those of a single probed model.

    Parameters
    ----------
    record : mapping
        Of a comparison or a probing.
    alpha : float, optional
        The strength of MoDE, the same in all seeds; default: the one that each seed chose.

    Raises
    ------
    InvalidParameterError
        If the record does not know the experts at ``alpha``.
    """
    if record["kind"] == "probe":
        return {PROBED: _single(record)}
    if alpha is None:
        return {arm: _experts(probing) for arm, probing in probing_of(record).items()}
    places = {step: place for place, step in enumerate(stepped_alphas(record))}
    if alpha not in places:
        raise InvalidParameterError("alpha", alpha, sorted(places))
    path = why_of(record, "by_alpha")
    return {
        arm: _experts({name: [seed[place] for seed in path.get(name) or ()] for name in ("shares", "matrix")})
        for arm, place in zip(MIXTURES, (places.get(0.0, 0), places[alpha]), strict=True)
    }


def contrasted_alphas(record: Record) -> list[float]:
    """Return a small and a large α to show beside MoE, 0.01 and 100 where they were trained; none without a choice.

    Source: the values are those of Xie et al., AAAI 2024, figure 3.

    Examples
    --------
    >>> contrasted_alphas({"why": {"by_alpha": {"alpha": [0, 0.01, 0.1, 1], "shares": [[]]}}})
    [0.01, 1.0]
    """
    grid = [alpha for alpha in stepped_alphas(record) if alpha > 0]
    if len(grid) < 2:
        return []
    return [0.01 if 0.01 in grid[:-1] else grid[0], 100.0 if 100.0 in grid else grid[-1]]


def shown_steps(alphas: Sequence[float], kept: Number, most: int) -> list[float]:
    """Return at most ``most`` of the α, spread evenly, with the first, the last and ``kept`` among them.

    Examples
    --------
    >>> shown_steps([0, 1, 2, 3, 4, 5, 6], 1, 4)
    [0, 1, 3, 6]
    """
    if len(alphas) <= most:
        return list(alphas)
    places = {round(step * (len(alphas) - 1) / (most - 2)) for step in range(most - 1)}
    return [alpha for place, alpha in enumerate(alphas) if place in places or alpha == kept]


def arm_measures(record: Record) -> list[tuple[str, Number, Number, Number]]:
    """Return name, MoE, MoDE and change of what was measured on the experts; nothing where they were not probed."""
    probing, own = probing_of(record), record.get("own_domain") or {}
    if not probing:
        return []
    pairs = {words.own_domain_name(record): [finite(own.get(arm)) for arm in MIXTURES]}
    for key, name in (("routing_accuracy", "routing accuracy"), ("oracle", "oracle: some expert right")):
        pairs[name] = [mean(probing.get(arm, {}).get(key)) for arm in MIXTURES]
    return [(name, before, after, change(before, after)) for name, (before, after) in pairs.items()]


def embedded(record: Record) -> Record:
    """Return the record as a page holds it: of very many experts without the scores (E, E) in every seed.

    Examples
    --------
    >>> embedded({"experts": 64, "probing": {"moe": {"shares": [], "matrix": []}}})
    {'experts': 64, 'probing': {'moe': {'shares': []}}}
    """
    experts = record.get("experts")
    return _without_matrices(record) if isinstance(experts, int) and experts > MOST_DRAWN else record


def _without_matrices(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {key: _without_matrices(item) for key, item in value.items() if key not in MATRICES}


def _single(record: Record) -> Experts:
    """One model as one seed; its experts keep their own order."""
    shares, matrix = ((record.get(name) or {}).get("value") or () for name in ("shares", "matrix"))
    return Experts([[finite(share)] for share in shares], [[finite(score) for score in row] for row in matrix])


def _experts(probing: Record) -> Experts:
    return Experts(ranked_shares(probing), ranked_matrix(probing))
