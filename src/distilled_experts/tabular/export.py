"""Fitted estimators as one graph of plain tensor operations: for `torch.export` and for ONNX.

Shape suffixes: N rows · T columns of the table · D features · M members · E experts · H hidden units · C outputs.
"""

from __future__ import annotations

import copy
import importlib
import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from distilled_experts import __version__
from distilled_experts.errors import DataError, MissingDependencyError
from distilled_experts.files import replacing
from distilled_experts.tabular.base import MoDEEstimator
from distilled_experts.tabular.columns import (
    LARGEST_FEATURE,
    BooleanColumn,
    CategoryColumn,
    Column,
    DateColumn,
    NumericColumn,
)
from distilled_experts.tabular.preprocessing import TablePreprocessor
from distilled_experts.tabular.targets import ClassTarget

__all__ = ["to_module", "to_onnx"]

# As far as standardised numbers have to go where a smooth clip c follows: (z / c)² stays finite in float32.
_LARGEST_CLIPS = 1e10


def to_module(estimator: MoDEEstimator) -> nn.Module:
    """A fitted estimator as a module on the CPU, preprocessing and all members included.

    The module takes the raw table as one float tensor (n, n_features_in) with NaN for missing values, booleans as 0
    and 1, durations in days, and computes in the precision of the estimator's features: float64 after a fit to a
    small table without held-out rows, else float32, which holds about 7 digits of a raw number and of a prediction.
    A classifier's module returns probabilities (n, C) and the index (n,) of the most probable class; a regressor's
    the predictions, shaped as `predict` shapes them. It is ready for `torch.export` with any number of rows.

    Parameters
    ----------
    estimator : MoDEClassifier or MoDERegressor
        Fitted to numbers and booleans. Later changes of the estimator do not reach the module.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        When the estimator is not fitted.
    DataError
        When columns hold categories, text or dates, or numbers that the precision cannot hold. The module raises it
        for an input of another shape.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from distilled_experts import MoDEClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = MoDEClassifier(random_state=0).fit(X, y)
    >>> module = to_module(classifier)
    >>> probabilities, label = module(torch.from_numpy(X))
    >>> np.allclose(probabilities, classifier.predict_proba(X))
    True
    >>> program = torch.export.export(
    ...     module, (torch.from_numpy(X),), dynamic_shapes=({0: torch.export.Dim("rows")},)
    ... )
    >>> program.module()(torch.from_numpy(X[:1]))[1]
    tensor([0])
    """
    check_is_fitted(estimator)
    return _Predictor(estimator).eval()


def to_onnx(estimator: MoDEEstimator, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator as one ONNX file, whole or not at all; a file of that name is replaced.

    The graph's input ``x`` (n, n_features_in) and its precision are those of `to_module`, for any number of rows. Its
    outputs are ``probabilities`` and ``label``, the index of a class; or ``prediction``. The file's metadata has, as
    JSON, ``feature_names`` and for a classifier ``classes``; beside them stands ``version``, of this package.

    Parameters
    ----------
    estimator : MoDEClassifier or MoDERegressor
        Fitted to numbers and booleans.
    path : path-like
        The file; its folder is made where it is missing.

    Raises
    ------
    sklearn.exceptions.NotFittedError, DataError
        As `to_module`.
    MissingDependencyError
        When the packages of the extra ``onnx`` are not installed.
    OSError
        When the file cannot be written.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from distilled_experts import MoDERegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> to_onnx(MoDERegressor(random_state=0).fit(X, y), "diabetes.onnx")
    """
    module = to_module(estimator)
    onnx = _onnx()
    names, target = estimator.preprocessor_.feature_names_in, estimator.target_
    outputs = ["prediction"]
    metadata = {"version": __version__, "feature_names": json.dumps([str(name) for name in names])}
    if isinstance(target, ClassTarget):
        outputs = ["probabilities", "label"]
        metadata["classes"] = json.dumps(target.classes.tolist())
    example = torch.zeros(2, len(names), dtype=_precision(estimator.preprocessor_))
    with warnings.catch_warnings():
        # PyTorch warns of what it itself still uses.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
        program = torch.onnx.export(
            module,
            (example,),
            input_names=["x"],
            output_names=outputs,
            dynamic_shapes=({0: torch.export.Dim("rows")},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, metadata)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(model.SerializeToString())


class _Features(nn.Module):
    """What a `TablePreprocessor` of numbers and booleans does."""

    source_D: Tensor
    number_D: Tensor
    boolean_D: Tensor
    missing_D: Tensor
    center_D: Tensor
    center_rest_D: Tensor
    scale_D: Tensor

    def __init__(self, preprocessor: TablePreprocessor) -> None:
        super().__init__()
        columns, clip = preprocessor.columns, preprocessor.options.smooth_clip
        self.n_columns = len(columns)
        self.smooth_clip = clip
        self.limit = LARGEST_FEATURE if clip is None else min(LARGEST_FEATURE, _LARGEST_CLIPS * clip)
        self.dtype = _precision(preprocessor)
        _check_columns(columns, self.dtype)
        source_D = preprocessor.feature_sources
        boolean = [
            isinstance(c, BooleanColumn) and c.varies and i == 0 for c in columns for i in range(len(c.features))
        ]
        center_D, scale_D = np.array([_center_and_scale(column) for column in columns])[source_D].T
        nearest_D = center_D.astype(preprocessor.dtype)
        for name, array in {
            "source_D": source_D,
            "number_D": preprocessor.numeric_features,
            "boolean_D": np.array(boolean, dtype=bool),
            "missing_D": preprocessor.transform(np.full((1, len(columns)), np.nan))[0],
            "center_D": nearest_D,
            # The center goes off in two parts: numbers far from zero against their spread keep their digits.
            "center_rest_D": (center_D - nearest_D).astype(preprocessor.dtype),
            "scale_D": scale_D.astype(preprocessor.dtype),
        }.items():
            self.register_buffer(name, torch.from_numpy(array))

    def forward(self, x_NT: Tensor) -> Tensor:
        """Features (N, D) of a raw table."""
        if x_NT.dim() != 2 or x_NT.shape[1] != self.n_columns:
            raise DataError(f"x: shape {tuple(x_NT.shape)} is not allowed; allowed: (n, {self.n_columns})")
        x_NT = x_NT.to(self.dtype)
        if not len(self.source_D):
            return x_NT.new_zeros((x_NT.shape[0], 1))
        x_ND = x_NT[:, self.source_D]
        z_ND = (((x_ND - self.center_D) - self.center_rest_D) / self.scale_D).clamp(-self.limit, self.limit)
        if self.smooth_clip is not None:
            z_ND = z_ND / (1.0 + (z_ND / self.smooth_clip) ** 2).sqrt()
        truth_ND = ((x_ND != 0) & self.boolean_D).to(self.dtype)
        return torch.where(x_ND.isnan(), self.missing_D, torch.where(self.number_D, z_ND, truth_ND))


class _Predictor(nn.Module):
    """From raw tables to what `predict` and `predict_proba` return; rows come last until the end, as in training."""

    hidden_weight: Tensor
    hidden_bias: Tensor
    output_weight: Tensor
    output_bias: Tensor
    gate_weight: Tensor
    gate_bias: Tensor
    center_C: Tensor
    scale_C: Tensor

    def __init__(self, estimator: MoDEEstimator) -> None:
        super().__init__()
        network, target = estimator.network_, estimator.target_
        self.features = _Features(estimator.preprocessor_)
        self.encoding = nn.Identity() if network.encoding is None else copy.deepcopy(network.encoding).cpu()
        self.classifies = isinstance(target, ClassTarget)
        self.top_k = network.top_k
        self.n_members, _, self.n_experts, self.n_hidden, _ = network.hidden_weight.shape
        for name, weight in network.named_parameters():
            # An estimator's network has one member in every group.
            self.register_buffer(name, weight.detach()[:, 0].cpu().clone())
        if not isinstance(target, ClassTarget):
            self.flat, dtype = target.flat, self.features.dtype
            for center, scale in zip(target.center, target.scale, strict=True):
                _check_range("y", center, scale, dtype)
            self.register_buffer("center_C", torch.from_numpy(target.center).to(dtype))
            self.register_buffer("scale_C", torch.from_numpy(target.scale).to(dtype))

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Probabilities and index of the class, or predictions."""
        x_DN = self.encoding(self.features(x)).mT
        experts_MECN = self._experts(x_DN)
        mixture_MCN = (experts_MECN * self._gate(x_DN).unsqueeze(2)).sum(1)
        if self.classifies:
            probabilities_NC = mixture_MCN.softmax(1).mean(0).mT
            return probabilities_NC, probabilities_NC.argmax(1)
        prediction_NC = mixture_MCN.mean(0).mT * self.scale_C + self.center_C
        return prediction_NC[:, 0] if self.flat else prediction_NC

    def _experts(self, x_DN: Tensor) -> Tensor:
        M, E, H = self.n_members, self.n_experts, self.n_hidden
        hidden = (self.hidden_weight.flatten(0, 2) @ x_DN + self.hidden_bias.reshape(-1, 1)).relu()
        return self.output_weight @ hidden.reshape(M, E, H, x_DN.shape[1]) + self.output_bias.unsqueeze(-1)

    def _gate(self, x_DN: Tensor) -> Tensor:
        """Weights (M, E, N) of the experts."""
        if self.n_experts == 1:
            return x_DN.new_ones((self.n_members, 1, x_DN.shape[1]))
        scores_MEN = self.gate_weight @ x_DN + self.gate_bias.unsqueeze(-1)
        if self.top_k is not None:
            best = scores_MEN.topk(self.top_k, dim=1)
            scores_MEN = torch.full_like(scores_MEN, -torch.inf).scatter(1, best.indices, best.values)
        return scores_MEN.softmax(1)


def _check_columns(columns: tuple[Column, ...], dtype: torch.dtype) -> None:
    barred = [f"{c.name!r} ({c.kind})" for c in columns if isinstance(c, (CategoryColumn, DateColumn))]
    if barred:
        raise DataError(f"X: columns {', '.join(barred)} cannot be exported; encode them before")
    for column in columns:
        _check_range(f"X: column {column.name!r}", *_center_and_scale(column), dtype)


def _check_range(what: str, center: float, scale: float, dtype: torch.dtype) -> None:
    limits = torch.finfo(dtype)
    if max(abs(center), scale) > limits.max or scale < limits.smallest_normal:
        raise DataError(
            f"{what} ({center:.3g} ± {scale:.3g}) cannot be exported in {str(dtype)[6:]}; rescale before the fit"
        )


def _center_and_scale(column: Column) -> tuple[float, float]:
    if isinstance(column, NumericColumn) and column.scale > 0:
        return column.center, column.scale
    return 0.0, 1.0


def _precision(preprocessor: TablePreprocessor) -> torch.dtype:
    return torch.float64 if preprocessor.dtype == np.float64 else torch.float32


def _onnx() -> Any:
    try:
        importlib.import_module("onnxscript")
        return importlib.import_module("onnx")
    except ImportError as error:
        raise MissingDependencyError(
            "export to ONNX needs the packages onnx and onnxscript; pip install 'distilled-experts[onnx]'"
        ) from error
