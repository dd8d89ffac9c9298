"""The record of a probed mixture.

Shape suffixes: N samples · E experts · S subsets (classes, or others of the samples).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilled_experts.probing.bootstrap import Interval, Statistic, bootstrap_intervals
from distilled_experts.probing.html_table import html_table
from distilled_experts.probing.losses import LOG_LOSSES
from distilled_experts.probing.narrow_vision import NarrowVision, narrow_vision
from distilled_experts.probing.plain import plain_numbers
from distilled_experts.probing.routing import ERRORS
from distilled_experts.probing.similarity import ExpertSimilarity
from distilled_experts.probing.subsets import Subsets

__all__ = ["ProbeRecord", "Vision", "measured_fields", "vision_indices"]

Norms = NDArray[np.float64]

PERPLEXITIES = {loss.replace("log_loss", "perplexity"): loss for loss in LOG_LOSSES}


@dataclass(frozen=True)
class Vision:
    """Narrow vision of a mixture under its losses, on the samples that were probed.

    Parameters
    ----------
    task : NarrowVision
        Of the task loss alone.
    whole : NarrowVision or None
        Of task loss plus `alpha` times the distillation loss; None where α is not known.
    alpha : float or None
    """

    task: NarrowVision
    whole: NarrowVision | None = None
    alpha: float | None = None

    @classmethod
    def of(
        cls,
        task_norms: Norms | None,
        whole_norms: Norms | None,
        subsets: Subsets,
        alpha: float | None = None,
        sample_weight: Norms | None = None,
    ) -> Vision | None:
        """Narrow vision from norms (N, E) of each sample's gradients; None where there are none."""
        if task_norms is None:
            return None
        task, whole = (
            None if norms is None else narrow_vision(norms, subsets.codes, len(subsets.names), sample_weight)
            for norms in (task_norms, whole_norms)
        )
        assert task is not None
        return cls(task, whole, alpha)


@dataclass(frozen=True)
class ProbeRecord:
    """What each expert of a mixture does, alone and together, on given samples.

    Parameters
    ----------
    task : {"classification", "regression", "language"}
        Scores are accuracy, or R². With "language" samples are predicted tokens.
    domains : array, shape (N,)
        Dominating expert of every sample.
    shares : array, shape (E,)
        Share of the samples in each domain.
    matrix : array, shape (E, E)
        Score of expert i (row) alone on domain j (column); NaN where the domain is empty.
    own_domain, routing_accuracy, oracle, score : float
        Own-domain score, routing accuracy, share of the samples that some expert gets right, score of the mixture.
    errors : dict of str to float
        ``gate_error``, ``expert_error``, ``combination_error``: shares of the samples; together the error rate.
    similarity : ExpertSimilarity
        CKA, agreement, and the alarm.
    subsets : tuple of str, length S
        Names of the classes, or of other subsets.
    subset_kind : str
        What a subset is: "class", "cluster of the inputs", "range of the target" or "subset".
    composition : array, shape (E, S)
        Samples of each subset in each domain, counted by their weights.
    narrow_vision : Vision or None
        None where the model has no gradients.
    intervals : dict of str to Interval
        95 % bootstrap intervals over samples, by the names of the measures and errors above.
    layer : str or None
        The mixture that was probed, where the model has several.
    layers : tuple of str
        All mixtures of the model.
    log_loss, own_domain_log_loss : float or None
        Of the mixture, and of each sample's dominating expert alone, in nats; probabilities of zero count as in
        `log_losses`. None in regression; NaN where a member names a class and gives no probability.
    log_loss_matrix : array, shape (E, E), or None
        Log loss of expert i (row) alone on domain j (column); NaN where the domain is empty.
    answers : array, shape (N,), or None
        Type of every predicted token's answer, as a position in `ANSWER_TYPES`. None where samples are no tokens.

    Notes
    -----
    `to_dict` gives plain values. A *measure* is ``{"value", "low", "high"}``, each a number, or nested lists in the
    measure's shape; undefined numbers are None::

        {"format": 1, "kind": "probe", "task": "classification" | "regression" | "language",
         "metric": "accuracy" | "r2",
         "samples": N, "experts": E, "layer": str | None, "layers": [str],
         "score": measure, "own_domain": measure, "routing_accuracy": measure, "oracle": measure,
         "log_loss": None | measure, "own_domain_log_loss": None | measure, "log_loss_matrix": None | measure [E][E],
         "perplexity": None | measure, "own_domain_perplexity": None | measure,
         "perplexity_matrix": None | measure [E][E],
         "errors": {"gate_error": measure, "expert_error": measure, "combination_error": measure},
         "shares": measure [E], "matrix": measure [E][E],
         "subsets": [S] of str, "subset_kind": str, "composition": [E][S],
         "similarity": {"cka": [E][E], "agreement": [E][E], "mean_cka": x, "mean_agreement": x, "threshold": 0.95,
                        "homogenised": bool, "warning": str | None},
         "narrow_vision": None | {"alpha": x | None, "sizes": [S], "task": {"index": x, "shares": [S][E]},
                                  "whole": None | {"index": x, "shares": [S][E]}}}

    With one expert ``mean_cka``, ``mean_agreement`` and ``index`` are None.
    """

    task: str
    domains: NDArray[np.int64]
    shares: NDArray[np.float64]
    matrix: NDArray[np.float64]
    own_domain: float
    routing_accuracy: float
    oracle: float
    score: float
    errors: dict[str, float]
    similarity: ExpertSimilarity
    subsets: tuple[str, ...]
    composition: NDArray[np.float64]
    narrow_vision: Vision | None
    intervals: dict[str, Interval]
    layer: str | None = None
    layers: tuple[str, ...] = ()
    log_loss: float | None = None
    own_domain_log_loss: float | None = None
    log_loss_matrix: NDArray[np.float64] | None = None
    subset_kind: str = "class"
    answers: NDArray[np.int64] | None = None

    @property
    def perplexity(self) -> float | None:
        """Of the mixture, for tokens: the exponential of the log loss. None where samples are no tokens."""
        return float(_exp(self.log_loss)) if self.task == "language" else None

    @property
    def own_domain_perplexity(self) -> float | None:
        """Of each token's dominating expert alone."""
        return float(_exp(self.own_domain_log_loss)) if self.task == "language" else None

    @property
    def perplexity_matrix(self) -> NDArray[np.float64] | None:
        """Of expert i (row) alone on domain j (column), ``(E, E)``."""
        return _exp(self.log_loss_matrix) if self.task == "language" else None

    @property
    def own_domain_by_expert(self) -> NDArray[np.float64]:
        """Score of every expert alone on its own domain, ``(E,)``; NaN where the domain is empty."""
        return np.diagonal(self.matrix)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON takes them; the notes above name them."""
        return {
            "format": 1,
            "kind": "probe",
            "task": self.task,
            "metric": "r2" if self.task == "regression" else "accuracy",
            "samples": len(self.domains),
            "experts": len(self.shares),
            "layer": self.layer,
            "layers": list(self.layers),
            **{name: self._measure(name) for name in ("score", "own_domain", "routing_accuracy", "oracle")},
            **{name: self._measure(name) for name in LOG_LOSSES},
            **{name: self._perplexity(loss) for name, loss in PERPLEXITIES.items()},
            "errors": {name: self._measure(name) for name in ERRORS},
            **{name: self._measure(name) for name in ("shares", "matrix")},
            "subsets": list(self.subsets),
            "subset_kind": self.subset_kind,
            "composition": plain_numbers(self.composition),
            "similarity": _similarity(self.similarity),
            "narrow_vision": None if self.narrow_vision is None else _vision(self.narrow_vision),
        }

    def _measure(self, name: str) -> dict[str, Any] | None:
        value = self.errors[name] if name in ERRORS else getattr(self, name)
        if value is None:
            return None
        interval = self.intervals[name]
        numbers = {"value": value, "low": interval.low, "high": interval.high}
        return {end: plain_numbers(number) for end, number in numbers.items()}

    def _perplexity(self, loss: str) -> dict[str, Any] | None:
        measure = self._measure(loss) if self.task == "language" else None
        return None if measure is None else {end: plain_numbers(_exp(number)) for end, number in measure.items()}

    def _repr_html_(self) -> str:
        """A table for notebooks: a row an expert, a column a domain."""
        return html_table(self.to_dict())


def measured_fields(statistic: Statistic, n_samples: int) -> dict[str, Any]:
    """The fields of a record that measures of the samples fill, and the intervals of these measures.

    Parameters
    ----------
    statistic : callable
        From counts (R, N), how often each sample was drawn, to the measures by their names, each (R, …).
    n_samples : int
        N.
    """
    measures = {name: value[0] for name, value in statistic(np.ones((1, n_samples))).items()}
    return {
        **{name: measures[name] for name in ("shares", "matrix")},
        **{name: float(measures[name]) for name in ("own_domain", "routing_accuracy", "oracle", "score")},
        **{name: measures.get(name) for name in LOG_LOSSES},
        "errors": {name: float(measures[name]) for name in ERRORS},
        # The same samples give the same intervals: nothing of the record is left to chance.
        "intervals": bootstrap_intervals(statistic, n_samples, np.random.default_rng(0)),
    }


def vision_indices(vision: Vision | None) -> dict[str, Any]:
    """``vision_task`` and ``vision_whole``, the indices under both losses, which are one without distillation."""
    if vision is None:
        return {"vision_task": None, "vision_whole": None}
    return {"vision_task": vision.task.index, "vision_whole": (vision.whole or vision.task).index}


def _exp(values: Any) -> NDArray[np.float64]:
    """Exponential; NaN for None, and infinite where it is larger than numbers can be."""
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(np.asarray(values, dtype=np.float64)))


def _similarity(similarity: ExpertSimilarity) -> dict[str, Any]:
    names = ("cka", "agreement", "mean_cka", "mean_agreement", "threshold")
    return {
        **{name: plain_numbers(getattr(similarity, name)) for name in names},
        "homogenised": bool(similarity.homogenised),
        "warning": similarity.warning(),
    }


def _vision(vision: Vision) -> dict[str, Any]:
    losses = {"task": vision.task, "whole": vision.whole}
    return {
        "alpha": vision.alpha,
        "sizes": plain_numbers(vision.task.sizes),
        **{
            loss: None if found is None else {name: plain_numbers(getattr(found, name)) for name in ("index", "shares")}
            for loss, found in losses.items()
        },
    }
