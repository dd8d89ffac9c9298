"""What distillation changes: how answers of one mixture flow to those of another, and how far their domains agree.

Shapes: N samples, E experts; ``*`` stands for any leading axes of models.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distilled_experts.probing.routing import ANSWER_TYPES

__all__ = ["adjusted_rand", "answer_flow"]

Codes = NDArray[np.int64]


def answer_flow(before: Codes, after: Codes) -> NDArray[np.float64]:
    """Share of the samples that go from one type of answer to another.

    Parameters
    ----------
    before, after : array, shape (*, N)
        Types of the answers of two models to the same samples, such as MoE's and MoDE's, each judged with its own gate
        (and in regression with its own median).

    Returns
    -------
    array, shape (*, 4, 4)
        Entry (i, j): type i before, j after, in the order of `ANSWER_TYPES`. All entries add up to one, rows to the
        shares of the types before, columns to those after.

    Examples
    --------
    >>> answer_flow(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 0]))
    array([[0.25, 0.  , 0.  , 0.  ],
           [0.25, 0.25, 0.  , 0.  ],
           [0.25, 0.  , 0.  , 0.  ],
           [0.  , 0.  , 0.  , 0.  ]])
    """
    n_types = len(ANSWER_TYPES)
    return np.asarray(_contingency(before, after, n_types, n_types) / before.shape[-1])


def adjusted_rand(first: Codes, second: Codes) -> NDArray[np.float64]:
    """Adjusted Rand index of the domains of two models: 1 for the same division, about 0 for unrelated ones.

    The names of the experts do not matter, so models with other initial weights or other numbers of experts can be
    compared too.

    Source: Hubert & Arabie, Comparing partitions, Journal of Classification 2, 1985.

    Parameters
    ----------
    first, second : array, shape (*, N)
        Dominating expert of every sample; leading axes broadcast.

    Returns
    -------
    array, shape (*)
        At least -0.5. One where both have all samples in one domain.

    Examples
    --------
    >>> float(adjusted_rand(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0])))
    1.0
    >>> round(float(adjusted_rand(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))), 6)
    -0.5
    """
    table = _contingency(first, second, int(first.max(initial=0)) + 1, int(second.max(initial=0)) + 1)
    together = _pairs(table).sum((-1, -2))
    of_first, of_second = _pairs(table.sum(-1)).sum(-1), _pairs(table.sum(-2)).sum(-1)
    all_pairs = _pairs(table.sum((-1, -2)))
    # In this order the product is exact where both are all pairs.
    chance = of_first * (of_second / np.where(all_pairs > 0, all_pairs, 1))
    most = (of_first + of_second) / 2
    index = np.ones(together.shape)
    # Most is chance only where both divisions are the same trivial one: all in one domain, or each sample alone.
    np.divide(together - chance, most - chance, out=index, where=most != chance)
    return index


def _contingency(first: Codes, second: Codes, n_first: int, n_second: int) -> NDArray[np.float64]:
    """Samples with each pair of codes, ``(*, n_first, n_second)``."""
    rows = (first[..., None, :] == np.arange(n_first)[:, None]).astype(np.float64)
    columns = (second[..., :, None] == np.arange(n_second)).astype(np.float64)
    return np.asarray(rows @ columns)


def _pairs(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return counts * (counts - 1) / 2
