"""What probing needs of a mixture with given samples, and the record that it makes of it.

Shape suffixes: N samples · E experts · C classes or targets; any leading axes for several models over the same samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distilled_experts.probing.domains import domain_shares, dominating_experts
from distilled_experts.probing.experts import expert_scores, own_domain_score
from distilled_experts.probing.routing import error_types, oracle_score, routing_accuracy, sample_right

__all__ = ["ExpertOutputs", "probe_outputs"]

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class ExpertOutputs:
    """Outputs of a mixture and of each expert alone, for the same samples.

    Parameters
    ----------
    experts : array, shape (*, N, E, C)
        Output of the model when routing is forced to one expert: class scores or predicted targets.
    weights : array, shape (*, N, E)
        Gate weights.
    mixture : array, shape (*, N, C)
        Output of the model as it is.
    """

    experts: Floats
    weights: Floats
    mixture: Floats

    def model(self, *index: int | slice) -> ExpertOutputs:
        """One model, or some of them, by positions in the leading axes."""
        return ExpertOutputs(self.experts[index], self.weights[index], self.mixture[index])


def probe_outputs(outputs: ExpertOutputs, y: NDArray[np.generic], task: str) -> dict[str, NDArray[np.float64]]:
    """Every measure of expert probing that needs outputs alone.

    Parameters
    ----------
    outputs : ExpertOutputs
    y : array, shape (N,) of class codes, or (N, C) of targets
    task : {"classification", "regression"}

    Returns
    -------
    dict
        ``shares`` (*, E) · ``matrix`` (*, E, E), score of expert i (row) on domain j (column), NaN for an empty
        domain · ``own_domain`` · ``routing_accuracy`` · ``oracle`` · ``gate_error``, ``expert_error``,
        ``combination_error`` (shares of the samples): all (*).

    Examples
    --------
    >>> experts = np.array([[[2.0, 0.0], [0.0, 2.0]], [[2.0, 0.0], [0.0, 2.0]]])
    >>> weights = np.array([[0.9, 0.1], [0.8, 0.2]])
    >>> mixture = (experts * weights[..., None]).sum(1)
    >>> record = probe_outputs(ExpertOutputs(experts, weights, mixture), np.array([0, 1]), "classification")
    >>> float(record["own_domain"]), float(record["oracle"]), float(record["gate_error"])
    (0.5, 1.0, 0.5)
    """
    domains = dominating_experts(outputs.weights)
    right_experts, right_mixture = sample_right(outputs.experts, outputs.mixture, y, task)
    return {
        "shares": domain_shares(domains, outputs.weights.shape[-1]),
        "matrix": expert_scores(outputs.experts, domains, y, task),
        "own_domain": own_domain_score(outputs.experts, domains, y, task),
        "routing_accuracy": routing_accuracy(right_experts, domains),
        "oracle": oracle_score(right_experts),
        **error_types(right_experts, right_mixture, domains),
    }
