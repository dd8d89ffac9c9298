"""Attention to features: what each expert looks at on its own domain.

Source: MoDE (Xie et al., AAAI 2024), table 8. What is attributed is the score of the class that the expert itself
predicts, less the mean score of all classes, which changes no probability; for numbers every target.

Shape suffixes: N samples · E experts · D features · F columns of the table · C classes or targets.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distilled_experts.errors import DataError, InvalidParameterError, MissingDependencyError
from distilled_experts.probing.plain import plain_numbers
from distilled_experts.probing.quotient import quotient

__all__ = ["Attention", "Attentive", "ExpertFunction", "attention", "expert_attention"]

Floats = NDArray[np.float64]

_METHODS = ("gradients", "permutation")
_ROWS = 16_384  # rows, steps of a path included, that are in memory at a time
_STEPS = 32
_REPEATS = 3


@dataclass(frozen=True)
class Attention:
    """Normalised attention of every expert to every column.

    Parameters
    ----------
    columns : tuple of str, length F
    values : array, shape (E, F)
        They sum to one over the columns; NaN for an expert without a domain.
    method : {"gradients", "permutation"}
    """

    columns: tuple[str, ...]
    values: Floats
    method: str

    @property
    def ignored(self) -> NDArray[np.bool_]:
        """Columns that get less than a tenth of an equal share, ``(E, F)``."""
        return np.asarray(self.values < 1 / (10 * len(self.columns)))

    def picked_up(self, after: Attention) -> NDArray[np.bool_]:
        """Columns that these experts ignore and the corresponding ones of another model do not, ``(E, F)``.

        Experts correspond in a parallel study, where both models have one gate.
        """
        return np.asarray(self.ignored & ~after.ignored & ~np.isnan(after.values))

    def to_dict(self) -> dict[str, Any]:
        """Plain values: ``method``, ``columns`` [F], ``values`` [E][F], ``ignored`` [E] of lists of column names."""
        names = [[self.columns[f] for f in np.flatnonzero(row)] for row in self.ignored]
        return {
            "method": self.method,
            "columns": list(self.columns),
            "values": plain_numbers(self.values),
            "ignored": names,
        }


@dataclass(frozen=True)
class ExpertFunction:
    """The experts of a model as a function of its features.

    Parameters
    ----------
    run : callable
        From features (N, D) to the outputs (N, E, C) of every expert alone, differentiable for "gradients".
    x : Tensor, shape (N, D)
        The samples; zeros should stand for the mean, for there the paths of integrated gradients begin.
    domains : array, shape (N,)
        Dominating expert of every sample.
    task : {"classification", "regression"}
    columns : sequence of str, length F
    sources : array, shape (D,)
        Position of the column that each feature comes from.
    """

    run: Callable[[Tensor], Tensor]
    x: Tensor
    domains: NDArray[np.int64]
    task: str
    columns: Sequence[str]
    sources: NDArray[np.int64]


@runtime_checkable
class Attentive(Protocol):
    """A model that gives its experts as a function."""

    def expert_function(self, X: Any, *, layer: str | int | None = None) -> ExpertFunction:
        """The experts of one mixture on these samples."""
        ...


def attention(
    model: Any, X: Any, *, layer: str | int | None = None, method: str = "gradients", seed: int = 0
) -> Attention:
    """What each expert of a model looks at on its own domain.

    Parameters
    ----------
    model : `MoDEClassifier`, `MoDERegressor` or `MixtureModule`
    X : array, data frame or Tensor, first axis N
    layer : str or int, optional
        As in `probe`.
    method : {"gradients", "permutation"}
        Integrated gradients, for which Captum must be installed, or how far an output moves when the values of a
        column are shuffled among the samples of a domain.
    seed : int
        Of the shuffling.

    Raises
    ------
    InvalidParameterError
        When there is no such method or layer, or the model does not give its experts as a function.
    MissingDependencyError
        When Captum is needed and not installed.

    Examples
    --------
    >>> from distilled_experts import MoDERegressor
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> model = MoDERegressor(n_experts=2, random_state=0).fit(X, X[:, 0])
    >>> found = attention(model, X, method="permutation")
    >>> found.columns, bool((found.values[:, 0] > 0.9).all())
    (('0', '1'), True)
    """
    if not isinstance(model, Attentive):
        allowed = "MoDEClassifier, MoDERegressor, MixtureModule, an object with a method expert_function"
        raise InvalidParameterError("model", type(model).__name__, allowed)
    return expert_attention(model.expert_function(X, layer=layer), method=method, seed=seed)


def expert_attention(experts: ExpertFunction, *, method: str = "gradients", seed: int = 0) -> Attention:
    """The same for experts that are a function already.

    Examples
    --------
    >>> def run(x):  # the first expert sees the first feature alone, the second the second
    ...     return x.unsqueeze(-1)
    >>> x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [8.0, 9.0]])
    >>> function = ExpertFunction(run, x, np.array([0, 0, 1, 1]), "regression", ["a", "b"], np.array([0, 1]))
    >>> expert_attention(function, method="permutation").values
    array([[1., 0.],
           [0., 1.]])
    """
    if method not in _METHODS:
        raise InvalidParameterError("method", method, _METHODS)
    if experts.x.ndim != 2 or not experts.x.is_floating_point():
        raise DataError(
            f"X: numbers of shape (N, D) are needed, not {experts.x.dtype} of shape {tuple(experts.x.shape)}"
        )
    n_columns = len(experts.columns)
    if method == "gradients":
        moved = _integrated(experts) @ np.eye(n_columns)[experts.sources]
    else:
        moved = _shuffled(experts, np.random.default_rng(seed))
    with torch.no_grad():
        n_experts = experts.run(experts.x[:1]).shape[1]
    sums = np.eye(n_experts)[experts.domains].T @ moved
    return Attention(tuple(experts.columns), quotient(sums, sums.sum(-1, keepdims=True)), method)


def require_captum() -> Any:
    """Captum's attribution methods.

    Raises
    ------
    MissingDependencyError
        When it is not installed, in one line that says how to get it.
    """
    try:
        return importlib.import_module("captum.attr")
    except ImportError as error:
        message = 'integrated gradients need Captum: pip install "distilled-experts[probing]"'
        raise MissingDependencyError(message) from error


def _integrated(experts: ExpertFunction) -> Floats:
    """Size of the integrated gradients of each sample's own expert, ``(N, D)``."""

    def forward(x: Tensor, domain: Tensor, said: Tensor) -> Tensor:
        return _own(experts.run(x), domain, experts.task).gather(1, said)[:, 0]

    domain = torch.from_numpy(experts.domains).to(experts.x.device)
    method, size = require_captum().IntegratedGradients(forward), torch.zeros_like(experts.x)
    for said in _said(experts, domain):
        for rows in torch.arange(len(domain), device=domain.device).split(_ROWS // _STEPS):
            options = {"additional_forward_args": (domain[rows], said[rows]), "n_steps": _STEPS}
            size[rows] += method.attribute(experts.x[rows], **options).detach().abs()
    return _array(size)


@torch.no_grad()
def _shuffled(experts: ExpertFunction, generator: np.random.Generator) -> Floats:
    """How far the output of each sample's own expert moves when a column is shuffled, ``(N, F)``."""
    domain = torch.from_numpy(experts.domains).to(experts.x.device)
    said = torch.cat(_said(experts, domain), 1)

    def output(x: Tensor) -> Tensor:
        parts = zip(x.split(_ROWS), domain.split(_ROWS), said.split(_ROWS), strict=True)
        return torch.cat([_own(experts.run(rows), d, experts.task).gather(1, s) for rows, d, s in parts])

    before, moved = output(experts.x), np.zeros((len(experts.x), len(experts.columns)))
    for _ in range(_REPEATS):
        order = torch.from_numpy(_within(experts.domains, generator)).to(experts.x.device)
        for f in range(len(experts.columns)):
            features = torch.from_numpy(np.flatnonzero(experts.sources == f)).to(experts.x.device)
            x = experts.x.clone()
            x[:, features] = experts.x[order][:, features]
            moved[:, f] += _array((output(x) - before).abs().sum(-1))
    return moved


def _own(outputs_NEC: Tensor, domain: Tensor, task: str) -> Tensor:
    """Outputs (N, C) of each sample's dominating expert; class scores around their mean."""
    own = outputs_NEC[torch.arange(len(domain), device=domain.device), domain]
    return own - own.mean(-1, keepdim=True) if task == "classification" else own


@torch.no_grad()
def _said(experts: ExpertFunction, domain: Tensor) -> list[Tensor]:
    """What is attributed: the class (N, 1) that each sample's expert predicts, or every target in turn."""
    parts = zip(experts.x.split(_ROWS), domain.split(_ROWS), strict=True)
    own = torch.cat([_own(experts.run(rows), d, experts.task) for rows, d in parts])
    if experts.task == "classification":
        return [own.argmax(-1, keepdim=True)]
    return [torch.full_like(domain, target).unsqueeze(1) for target in range(own.shape[-1])]


def _within(domains: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """An order of the samples in which each stays in its domain."""
    order = np.arange(len(domains))
    for domain in np.unique(domains):
        rows = np.flatnonzero(domains == domain)
        order[rows] = generator.permutation(rows)
    return order


def _array(values: Tensor) -> Floats:
    array: Floats = values.detach().cpu().double().numpy()
    return array
