"""What probing asks of a model: its members on given samples, and which of them dominates each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from distilled_experts.errors import InvalidParameterError
from distilled_experts.probing.losses import ExpertLosses
from distilled_experts.probing.outputs import ExpertOutputs
from distilled_experts.probing.subsets import Subsets

__all__ = ["Probeable", "ProbedSamples", "choose_layer", "dominated_by"]


@dataclass(frozen=True)
class ProbedSamples:
    """The members of a model on given samples. Shape suffixes: N samples · E members.

    Parameters
    ----------
    outputs : ExpertOutputs
        Without leading axes. A model that knows only who dominates takes its weights from `dominated_by`.
    y : array, shape (N,) of class codes, or (N, C) of targets
        In the units of the outputs.
    task : {"classification", "regression"}
    subsets : Subsets
        Classes, or where there are none `regression_subsets`.
    task_norms, whole_norms : array, shape (N, E), optional
        Norms of each sample's gradient by the parameters of each member, of the task loss alone and of the whole
        training loss.
    alpha : float, optional
        Strength of distillation in the whole loss.
    layer : str, optional
        The mixture that was probed, where a model has several.
    layers : tuple of str
        All mixtures of the model.
    losses : ExpertLosses, optional
        Log losses, of classes.
    inputs : array, shape (N, D), optional
        The samples as the model sees them, where they are numbers.
    """

    outputs: ExpertOutputs
    y: NDArray[np.generic]
    task: str
    subsets: Subsets
    task_norms: NDArray[np.float64] | None = None
    whole_norms: NDArray[np.float64] | None = None
    alpha: float | None = None
    layer: str | None = None
    layers: tuple[str, ...] = ()
    losses: ExpertLosses | None = None
    inputs: NDArray[np.floating] | None = None


@runtime_checkable
class Probeable(Protocol):
    """A model with members, one of which dominates each sample.

    Examples
    --------
    >>> from distilled_experts.probing import ExpertOutputs, class_subsets, probe
    >>> class Ends:  # one member for negative numbers, one for the others; each always says its own class
    ...     def members_on(self, X, y, *, layer=None):
    ...         experts = np.broadcast_to(np.eye(2), (len(X), 2, 2))
    ...         weights = dominated_by(np.where(X < 0, 0, 1), 2)
    ...         outputs = ExpertOutputs(experts, weights, weights)
    ...         return ProbedSamples(outputs, y, "classification", class_subsets(y, ["below", "above"]))
    >>> probe(Ends(), np.array([-2.0, -1.0, 3.0]), np.array([0, 0, 1])).own_domain
    1.0
    """

    def members_on(self, X: Any, y: Any, *, layer: str | int | None = None) -> ProbedSamples:
        """The members on samples with known targets; `layer` names one mixture where there are several."""
        ...


def dominated_by(domains: NDArray[np.integer], n_members: int) -> NDArray[np.float64]:
    """Weights (N, E) of a model that has none: one for the dominating member (N,), zero for the others.

    Examples
    --------
    >>> dominated_by(np.array([1, 0]), 3)
    array([[0., 1., 0.],
           [1., 0., 0.]])
    """
    return np.asarray(np.eye(n_members)[domains])


def choose_layer(layer: str | int | None, names: Sequence[str]) -> int:
    """Position of the mixture that is meant by a name or a position (−1 is the last); the first where none is given.

    Raises
    ------
    InvalidParameterError
        The model has no such mixture.

    Examples
    --------
    >>> [choose_layer(layer, ["bottom", "top"]) for layer in ("top", -1, None)]
    [1, 1, 0]
    """
    if layer is None:
        return 0
    if layer in names:
        return list(names).index(str(layer))
    if isinstance(layer, int) and -len(names) <= layer < len(names):
        return layer % len(names)
    raise InvalidParameterError("layer", layer, names or "None, for this model has one mixture alone")
