"""Multi-view data: classes that can be told by any of several groups of features.

Source: Allen-Zhu & Li, Towards Understanding Ensemble, Knowledge Distillation and Self-Distillation in Deep Learning,
2020, arXiv 2012.09816. There a network that has learned one view of a class has no reason left to learn the others;
distillation teaches them, unless the samples show one view each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distilled_experts.checks import check_number, check_whole
from distilled_experts.errors import InvalidParameterError
from distilled_experts.probing.quotient import quotient

__all__ = ["MultiView", "make_multi_view", "views_learned"]


@dataclass(frozen=True)
class MultiView:
    """Samples whose views are known.

    Parameters
    ----------
    X : array, shape (N, n_classes · n_views · view_width)
        Columns in the order class, view, column of the view.
    y : array, shape (N,)
        Classes.
    shown : array of bool, shape (N, n_views)
        The views of its own class that a sample shows in full.
    patterns : array, shape (n_classes, n_views, view_width)
        What a view looks like in its columns: unit vectors.
    """

    X: NDArray[np.float64]
    y: NDArray[np.int64]
    shown: NDArray[np.bool_]
    patterns: NDArray[np.float64]


def make_multi_view(
    n_samples: int,
    generator: np.random.Generator,
    *,
    n_classes: int = 4,
    n_views: int = 2,
    view_width: int = 8,
    single_view_share: float = 0.3,
    noise: float = 0.1,
    weak_strength: float = 0.0,
    distractor_rate: float = 0.1,
    distractor_strength: float = 0.4,
    patterns: NDArray[np.float64] | None = None,
) -> MultiView:
    """Draw samples of classes with several views.

    A view that is shown has a strength uniform in [1, 2]. Where the paper spreads a view over patches of an image, it
    has columns of its own here, so views are orthogonal.

    Parameters
    ----------
    n_samples : int
        N; classes are as equally frequent as can be.
    generator : numpy.random.Generator
    n_classes, n_views, view_width : int
        Classes, views of each, columns of each view.
    single_view_share : float
        Share of the samples that show one view of their class, each as likely; the others show all.
    noise : float
        Standard deviation of the Gaussian noise in all columns.
    weak_strength : float
        Strength of the views that a single-view sample does not show (the paper's small ρ).
    distractor_rate, distractor_strength : float
        How likely each view of each other class appears in a sample, and the most strength that it then has (at least
        half of it; the paper's feature noise, 0.4).
    patterns : array, shape (n_classes, n_views, view_width), optional
        Those of an earlier call, for other samples of the same classes. Default: drawn.

    Returns
    -------
    MultiView

    Raises
    ------
    InvalidParameterError
        When a parameter has a value that is not allowed.

    Examples
    --------
    >>> data = make_multi_view(100, np.random.default_rng(0), single_view_share=0.25)
    >>> data.X.shape, int((data.shown.sum(1) == 1).sum()), np.bincount(data.y).tolist()
    ((100, 64), 25, [25, 25, 25, 25])
    """
    counts = {"n_samples": n_samples, "n_classes": n_classes, "n_views": n_views, "view_width": view_width}
    for name, count in counts.items():
        check_whole(name, count)
    for name, share in {"single_view_share": single_view_share, "distractor_rate": distractor_rate}.items():
        check_number(name, share, least=0, most=1)
    sizes = {"noise": noise, "weak_strength": weak_strength, "distractor_strength": distractor_strength}
    for name, size in sizes.items():
        check_number(name, size, least=0)
    shape = (n_classes, n_views, view_width)
    if patterns is None:
        patterns = generator.choice([-1.0, 1.0], size=shape) / np.sqrt(view_width)
    elif patterns.shape != shape:
        raise InvalidParameterError("patterns", patterns.shape, f"an array of shape {shape}")
    y = generator.permutation(np.arange(n_samples) % n_classes)
    shown = _shown(n_samples, n_views, single_view_share, generator)
    strength = distractor_strength * generator.uniform(0.5, 1, size=(n_samples, n_classes, n_views))
    strength *= generator.random(strength.shape) < distractor_rate
    full = generator.uniform(1, 2, size=shown.shape)
    strength[np.arange(n_samples), y] = np.where(shown, full, weak_strength)
    X = (strength[..., None] * patterns).reshape(n_samples, -1)
    return MultiView(X + noise * generator.normal(size=X.shape), y, shown, patterns)


def views_learned(
    right: NDArray[np.bool_], y: NDArray[np.int64], shown: NDArray[np.bool_], n_classes: int
) -> NDArray[np.float64]:
    """Which views each expert has learned: how often it is right on samples that show this view alone.

    Parameters
    ----------
    right : array of bool, shape (*, N, E)
        Which experts are right, as from `sample_right`.
    y : array, shape (N,)
    shown : array of bool, shape (N, n_views)
        As from `make_multi_view`.
    n_classes : int

    Returns
    -------
    array, shape (*, E, n_classes, n_views)
        NaN where no sample of the class shows the view alone.

    Examples
    --------
    >>> shown = np.array([[True, False], [False, True], [True, True]])
    >>> views_learned(np.array([[True], [False], [True]]), np.array([0, 0, 0]), shown, 1)
    array([[[1., 0.]]])
    """
    single = shown & (shown.sum(-1, keepdims=True) == 1)
    cell = ((y[:, None] == np.arange(n_classes))[..., None] & single[:, None]).reshape(len(y), -1).astype(np.float64)
    hits = np.swapaxes(right, -1, -2).astype(np.float64) @ cell
    return quotient(hits, cell.sum(0)).reshape(*hits.shape[:-1], n_classes, shown.shape[-1])


def _shown(n_samples: int, n_views: int, share: float, generator: np.random.Generator) -> NDArray[np.bool_]:
    shown = np.ones((n_samples, n_views), dtype=bool)
    single = generator.permutation(n_samples)[: round(share * n_samples)]
    shown[single] = np.eye(n_views, dtype=bool)[generator.integers(n_views, size=len(single))]
    return shown
