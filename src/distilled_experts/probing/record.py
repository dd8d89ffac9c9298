"""The record of a probed mixture.

Shape suffixes: N samples · E experts · S subsets (classes, or ranges of the target).
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilled_experts.probing.bootstrap import Interval
from distilled_experts.probing.narrow_vision import NarrowVision, narrow_vision
from distilled_experts.probing.plain import plain_numbers
from distilled_experts.probing.similarity import ExpertSimilarity
from distilled_experts.probing.subsets import Subsets

__all__ = ["ProbeRecord", "Vision"]

Norms = NDArray[np.float64]

ERRORS = ("gate_error", "expert_error", "combination_error")
PERPLEXITIES = ("perplexity", "own_domain_perplexity", "perplexity_matrix")


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
        Names of the classes, or of ranges of the target.
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
    perplexity, own_domain_perplexity : float or None
        Of the mixture, and of each token's dominating expert alone: the exponential of the mean loss. None where
        samples are no tokens.
    perplexity_matrix : array, shape (E, E), or None
        Perplexity of expert i (row) alone on domain j (column).

    Notes
    -----
    `to_dict` gives plain values. A *measure* is ``{"value", "low", "high"}``, each a number, or nested lists in the
    measure's shape; undefined numbers are None::

        {"format": 1, "kind": "probe", "task": "classification" | "regression" | "language",
         "metric": "accuracy" | "r2",
         "samples": N, "experts": E, "layer": str | None, "layers": [str],
         "score": measure, "own_domain": measure, "routing_accuracy": measure, "oracle": measure,
         "perplexity": None | measure, "own_domain_perplexity": None | measure,
         "perplexity_matrix": None | measure [E][E],
         "errors": {"gate_error": measure, "expert_error": measure, "combination_error": measure},
         "shares": measure [E], "matrix": measure [E][E],
         "subsets": [S] of str, "composition": [E][S],
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
    perplexity: float | None = None
    own_domain_perplexity: float | None = None
    perplexity_matrix: NDArray[np.float64] | None = None

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
            **{name: None if self.perplexity is None else self._measure(name) for name in PERPLEXITIES},
            "errors": {name: self._measure(name) for name in ERRORS},
            **{name: self._measure(name) for name in ("shares", "matrix")},
            "subsets": list(self.subsets),
            "composition": plain_numbers(self.composition),
            "similarity": _similarity(self.similarity),
            "narrow_vision": None if self.narrow_vision is None else _vision(self.narrow_vision),
        }

    def _measure(self, name: str) -> dict[str, Any]:
        value = self.errors[name] if name in ERRORS else getattr(self, name)
        interval = self.intervals[name]
        numbers = {"value": value, "low": interval.low, "high": interval.high}
        return {end: plain_numbers(number) for end, number in numbers.items()}

    def _repr_html_(self) -> str:
        """A table for notebooks: a row an expert, a column a domain."""
        metric = "R²" if self.task == "regression" else "accuracy"
        perplexity = "" if self.perplexity is None else f"; perplexity {_shown(self.perplexity)}"
        if self.own_domain_perplexity is not None:
            perplexity += f", on the own domain {_shown(self.own_domain_perplexity)}"
        experts = range(len(self.shares))
        head = _row("th", ["", *(f"domain {j}" for j in experts)])
        rows = [_row("td", ["share of samples", *(f"{share:.1%}" for share in self.shares)])]
        rows += [_row("td", [f"expert {i} alone, {metric}", *map(_shown, self.matrix[i])]) for i in experts]
        caption = (
            f"{metric} {_shown(self.score)}; on the own domain {_shown(self.own_domain)}; "
            f"routing accuracy {_shown(self.routing_accuracy)}; oracle {_shown(self.oracle)}{perplexity}"
        )
        warning = self.similarity.warning()
        note = f"<p>{html.escape(warning)}</p>" if warning else ""
        return f"<table><caption>{caption}</caption>{head}{''.join(rows)}</table>{note}"


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


def _row(cell: str, texts: list[str]) -> str:
    return f"<tr>{''.join(f'<{cell}>{text}</{cell}>' for text in texts)}</tr>"


def _shown(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"
