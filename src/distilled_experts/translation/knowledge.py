"""What the experts of one mixture of a translator know: a record of plain values."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilled_experts.probing import plain_numbers
from distilled_experts.probing.record import vision_indices
from distilled_experts.transformers import probe_tokens
from distilled_experts.transformers.tokens import IGNORED
from distilled_experts.translation.batches import PairBatches
from distilled_experts.translation.translator import Translator

__all__ = ["expert_knowledge", "typical_tokens"]

# Narrow vision is measured on so many batches of the training.
_VISION_BATCHES = 8
_TYPICAL = 12

_MEASURES = ("own_domain", "routing_accuracy", "oracle", "perplexity", "own_domain_perplexity")


def expert_knowledge(
    translator: Translator, test: PairBatches, train: PairBatches, *, layer: str | int = -1
) -> dict[str, Any]:
    """Probe a mixture: domains and scores on test pairs, narrow vision by token frequency on training pairs.

    Parameters
    ----------
    translator : Translator
    test, train : PairBatches
    layer : str or int
        Name or position of the mixture (−1 is the last, nearest to what is predicted).

    Returns
    -------
    dict of plain values
        What `experiments.trained.Study` asks of a mixture, ``perplexity`` and ``own_domain_perplexity``,
        ``probed_layer``, and ``domain_tokens``: for each expert the tokens that are in its domain more often than
        chance would have it.
    """
    found = probe_tokens(translator.model, test, layer=layer, narrow_vision=False)
    seen = probe_tokens(translator.model, islice(train, _VISION_BATCHES), layer=layer)
    numbers = {
        **{name: getattr(found, name) for name in (*_MEASURES, "shares", "matrix")},
        **found.errors,
        **found.similarity.headline(),
        **vision_indices(seen.narrow_vision),
    }
    labels = np.concatenate([batch["labels"].flatten() for batch in test])
    typical = typical_tokens(labels[labels != IGNORED], found.domains, len(found.shares))
    return {
        **{name: plain_numbers(number) for name, number in numbers.items()},
        "domains": found.domains.tolist(),
        "answers": [] if found.answers is None else found.answers.tolist(),
        "probed_layer": found.layer,
        "domain_tokens": _texts(translator, typical),
    }


def typical_tokens(
    tokens: NDArray[np.int64], domains: NDArray[np.int64], n_experts: int, most: int = _TYPICAL
) -> list[list[int]]:
    """Tokens that are in each domain more often than chance would have it, the clearest first.

    Clear is a large Pearson residual ``(observed − expected) / √expected``.

    Examples
    --------
    >>> typical_tokens(np.array([5, 5, 7, 7]), np.array([0, 0, 1, 0]), 2)
    [[5], [7]]
    """
    distinct, places = np.unique(tokens, return_inverse=True)
    observed = np.zeros((n_experts, len(distinct)))
    np.add.at(observed, (domains, places), 1)
    expected = observed.sum(1, keepdims=True) * observed.sum(0) / len(tokens)
    residuals = (observed - expected) / np.sqrt(np.maximum(expected, np.finfo(float).tiny))
    order = np.argsort(-residuals, axis=1, kind="stable")[:, :most]
    return [distinct[row[residual[row] > 0]].tolist() for row, residual in zip(order, residuals, strict=True)]


def _texts(translator: Translator, tokens: Sequence[Sequence[int]]) -> list[list[str]]:
    decode: Any = translator.tokenizer.decode
    return [[decode([token]) for token in row] for row in tokens]
