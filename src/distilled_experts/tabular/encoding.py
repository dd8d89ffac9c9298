"""Piecewise-linear encoding: what lets a network bend sharply along a single number."""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from distilled_experts.tabular.statistics import FloatArray, distinct_values, quantile

__all__ = ["ENCODING", "PiecewiseLinear"]

ENCODING = ("source", "start", "width", "mean")
"""Names of the tensors that make an encoding."""


class PiecewiseLinear(nn.Module):
    """Appends to every row where its numbers stand between the quantiles of training.

    A number z and the quantiles :math:`q_0 < … < q_T` give T features, :math:`\\mathrm{clip}((z - q_{t-1}) / (q_t -
    q_{t-1}), 0, 1)`, less their mean in training: those below z are full, the one around z is filled in part. What a
    linear layer makes of them is any piecewise-linear function of z (Gorishniy et al., 2022, "On embeddings for
    numerical features in tabular deep learning", section 3.2). Nothing here is trained.

    Parameters
    ----------
    source : Tensor (F,) of int64
        Feature that each piece is cut from.
    start, width, mean : Tensor (F,)
        Where the piece starts, how long it is, and its mean in training.

    Raises
    ------
    ValueError
        Where they differ in shape, or `source` holds no places.

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> encoding = PiecewiseLinear.fit(x, np.array([0]), n_pieces=2)
    >>> encoding(torch.tensor([[0.75], [2.25]]))
    tensor([[ 0.7500, -0.1667, -0.3333],
            [ 2.2500,  0.3333,  0.1667]], dtype=torch.float64)
    """

    source: Tensor
    start: Tensor
    width: Tensor
    mean: Tensor

    def __init__(self, source: Tensor, start: Tensor, width: Tensor, mean: Tensor) -> None:
        super().__init__()
        shapes = {tuple(values.shape) for values in (source, start, width, mean)}
        if shapes != {(source.numel(),)} or source.dtype != torch.int64 or bool((source < 0).any()):
            raise ValueError(f"encoding: shapes {shapes} and sources of type {source.dtype} do not fit together")
        for name, values in zip(ENCODING, (source, start, width, mean), strict=True):
            self.register_buffer(name, values)

    @classmethod
    def fit(
        cls, x: NDArray[np.floating], numeric: NDArray[np.intp], n_pieces: int, weight: FloatArray | None = None
    ) -> Self:
        """Learn the quantiles of training rows.

        Parameters
        ----------
        x : array, shape (N, D)
        numeric : array of int
            Features to encode. One with two values or fewer gets no pieces: its own line says all.
        n_pieces : int
            Pieces of a feature; fewer where quantiles fall together.
        weight : array, shape (N,), optional
            Weights of the rows.
        """
        pieces = [_pieces(x[:, j].astype(np.float64), n_pieces, weight) for j in numeric]
        source = np.repeat(numeric, [piece.shape[1] for piece in pieces]).astype(np.int64)
        start, width, mean = np.concatenate([np.empty((3, 0)), *pieces], axis=1).astype(x.dtype)
        return cls(*(torch.from_numpy(values) for values in (source, start, width, mean)))

    @property
    def n_pieces(self) -> int:
        """F, features that are appended."""
        return len(self.source)

    def forward(self, x: Tensor) -> Tensor:
        """Rows ``(*, D)`` as ``(*, D + F)``."""
        filled = ((x[..., self.source] - self.start) / self.width).clamp(0, 1) - self.mean
        return torch.cat([x, filled], -1)


def _pieces(values: FloatArray, n_pieces: int, weight: FloatArray | None) -> FloatArray:
    """Starts, widths and means of a feature's pieces, ``(3, pieces)``."""
    distinct = distinct_values(values, weight)
    edges = np.unique([quantile(distinct, q) for q in np.linspace(0, 1, n_pieces + 1)])
    if len(edges) < 3:
        return np.empty((3, 0))
    start, width = edges[:-1], np.diff(edges)
    filled = ((distinct.values[:, None] - start) / width).clip(0, 1)
    return np.stack([start, width, distinct.weights / distinct.weights.sum() @ filled])
