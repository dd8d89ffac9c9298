"""Torch models as probing needs them: undisturbed evaluation, predictions and targets of one form."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from distilled_experts.errors import DataError
from distilled_experts.probing.subsets import Subsets, class_subsets, regression_subsets

__all__ = ["arrays_of", "evaluating", "inputs_for", "numbers_of", "predictions", "targets_of"]


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; every part then has its own mode again."""
    training = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in training.items():
            part.training = mode


def inputs_for(module: nn.Module, X: Any) -> Tensor:
    """Samples where the module's parameters are, and in their precision unless they are whole numbers."""
    x = X if isinstance(X, Tensor) else torch.from_numpy(np.array(X))
    first = next(module.parameters(), None)
    if first is None:
        return x
    return x.to(first.device, first.dtype if x.is_floating_point() else x.dtype)


def predictions(module: nn.Module, x: Tensor) -> Tensor:
    """What the module returns, or the output or logits in its record, as ``(…, C)``."""
    returned = module(x)
    for name in ("output", "logits"):
        returned = getattr(returned, name, returned)
    if not isinstance(returned, Tensor):
        raise DataError(f"model: it returns {type(returned).__name__}; wrap it so that it returns a tensor or .logits")
    return returned if returned.ndim > 1 else returned.unsqueeze(-1)


def numbers_of(x: Tensor, n_samples: int) -> NDArray[np.floating] | None:
    """Inputs as one row a sample (N, D); None where they are whole numbers, which name things, or do not divide."""
    divides = x.is_floating_point() and n_samples and x.numel() % n_samples == 0
    return x.detach().cpu().float().reshape(n_samples, -1).numpy() if divides else None


def targets_of(
    y: Any, n_outputs: int, inputs: NDArray[np.floating] | None = None
) -> tuple[NDArray[np.generic], str, Subsets]:
    """Targets as ``(N,)`` codes or ``(N, C)`` numbers, the task that they mean, and the subsets of the samples."""
    target = arrays_of(y) if isinstance(y, Tensor) else np.asarray(y)
    if target.dtype.kind in "iub":
        codes = target.reshape(-1).astype(np.int64)
        if codes.size and not (codes.min() >= 0 and codes.max() < n_outputs):
            raise DataError(f"y: class codes from {codes.min()} to {codes.max()}; the model knows 0 to {n_outputs - 1}")
        return codes, "classification", class_subsets(codes, range(n_outputs))
    if target.dtype.kind != "f":
        raise DataError(f"y: {target.dtype} values; class codes from 0 or numbers are needed")
    target = target.reshape(-1, n_outputs)
    return target, "regression", regression_subsets(inputs, target)


def arrays_of(values: Tensor) -> NDArray[Any]:
    """A copy on the processor; numbers in double precision."""
    values = values.detach().cpu()
    array: NDArray[Any] = (values.double() if values.is_floating_point() else values).numpy()
    return array
