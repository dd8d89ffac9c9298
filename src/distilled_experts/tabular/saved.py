"""Fitted estimators as a description and arrays, and back; what is read may come from strangers, and is checked."""

from __future__ import annotations

from numbers import Integral
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from distilled_experts import __version__
from distilled_experts.tabular.encoding import ENCODING, PiecewiseLinear
from distilled_experts.tabular.network import StackedMixture
from distilled_experts.tabular.parameters import check_parameters
from distilled_experts.tabular.preprocessing import TablePreprocessor
from distilled_experts.tabular.targets import ClassTarget, RegressionTarget

__all__ = ["describe", "restore"]

Arrays = dict[str, NDArray[Any]]
Model = TypeVar("Model")

# What has no place in a file, or is told otherwise.
_LEFT_OUT = ("random_state", "callbacks")
_FITTED = ("alpha_", "weight_decay_", "n_iter_", "history_", "n_features_in_")


def describe(model: Any) -> tuple[dict[str, Any], Arrays]:
    """What a fitted estimator knows, as plain values and arrays."""
    states = {"preprocessor": model.preprocessor_.to_state(), "target": model.target_.to_state()}
    arrays = {f"{part}.{name}": array for part, (_, parts) in states.items() for name, array in parts.items()}
    arrays |= {f"network.{name}": p.detach().cpu().numpy() for name, p in model.network_.state_dict().items()}
    parameters = {name: _plain(value) for name, value in model.get_params().items() if name not in _LEFT_OUT}
    seed = int(model.random_state) if isinstance(model.random_state, Integral) else None
    description = {
        "class": type(model).__name__,
        "version": __version__,
        "parameters": {**parameters, "random_state": seed},
        "fitted": {name: getattr(model, name) for name in _FITTED},
        "alpha_path": None if model.alpha_path_ is None else list(model.alpha_path_.items()),
        "feature_names": list(getattr(model, "feature_names_in_", [])) or None,
        **{part: state for part, (state, _) in states.items()},
    }
    return description, arrays


def _plain(value: Any) -> Any:
    """A parameter as JSON has it; numbers may be NumPy's, as in a grid of `numpy.arange`."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        # Pairs, for keys in JSON are words, and classes need not be.
        return _plain(list(value.items()))
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def restore(kind: type[Model], description: dict[str, Any], arrays: Arrays) -> Model:
    """An estimator of this kind that knows what `describe` told.

    Raises
    ------
    LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError
        When parts are missing, or do not go together.
    """

    def part(prefix: str) -> Arrays:
        return {k.removeprefix(f"{prefix}."): v for k, v in arrays.items() if k.startswith(f"{prefix}.")}

    parameters = dict(description["parameters"])
    if isinstance(parameters.get("class_weight"), list):
        parameters["class_weight"] = dict(map(tuple, parameters["class_weight"]))
    model: Any = kind(**parameters)
    check_parameters(model, model._task)
    target = ClassTarget if model._task == "classification" else RegressionTarget
    model.target_ = target.from_state(description["target"], part("target"))
    model.preprocessor_ = TablePreprocessor.from_state(description["preprocessor"], part("preprocessor"))
    for name in _FITTED:
        setattr(model, name, description["fitted"][name])
    model.alpha_path_ = None if description["alpha_path"] is None else dict(map(tuple, description["alpha_path"]))
    if description["feature_names"] is not None:
        model.feature_names_in_ = np.array(description["feature_names"], dtype=object)
    weights = {name: torch.from_numpy(array.copy()) for name, array in part("network").items()}
    encoded = {name: weights.pop(f"encoding.{name}") for name in ENCODING if f"encoding.{name}" in weights}
    encoding = PiecewiseLinear(**encoded) if encoded else None
    model.network_ = StackedMixture.from_weights(weights, top_k=model._top_k(), encoding=encoding)
    _check_fits(model)
    restored: Model = model
    return restored


def _check_fits(model: Any) -> None:
    """Raise an error unless columns, network and target go together."""
    network, columns = model.network_, model.preprocessor_
    n_pieces = 0 if network.encoding is None else network.encoding.n_pieces
    taken = network.hidden_weight.shape[-1] - n_pieces, network.output_bias.shape[-1], network.n_experts
    given = max(columns.n_features_out, 1), model._n_outputs(), model.n_experts
    if taken != given or columns.n_features_in != model.n_features_in_:
        raise ValueError(f"features, outputs and experts {taken} of the network are not {given}")
    if network.hidden_weight.detach().numpy().dtype != columns.dtype:
        raise ValueError(f"a network in {network.hidden_weight.dtype} for features in {columns.dtype}")
    if network.feature_scale is not None:
        raise ValueError("scales of features stand beside the weights that should have taken them up")
    names = getattr(model, "feature_names_in_", None)
    if names is not None and list(names) != columns.feature_names_in:
        raise ValueError("names of columns differ")
