"""Why distillation helps with multi-view data and not with single-view data, shown on data whose views are known.

A sample that shows several views of its class can teach an expert a view that only another expert knows: the teacher is
sure because of it, and the sample shows it to both. A sample that shows one view alone has nothing of the others that
a teacher could hand on.

Source: Allen-Zhu & Li, Towards Understanding Ensemble, Knowledge Distillation and Self-Distillation in Deep Learning,
2020, arXiv 2012.09816.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from distilled_experts.experiments.statistics import difference
from distilled_experts.probing import (
    MultiView,
    dominating_experts,
    make_multi_view,
    own_domain_score,
    sample_right,
    views_learned,
)
from distilled_experts.tabular.experts import network_outputs
from distilled_experts.tabular.network import StackedMixture
from distilled_experts.tabular.training import Rows, StackedTraining, TrainingSettings

__all__ = ["multi_view_study"]

# Hard enough that no expert learns all views by itself: strong features of other classes in every second sample.
_DATA: dict[str, Any] = {"noise": 0.3, "distractor_rate": 0.5, "distractor_strength": 0.8}
_TEST_SAMPLES = 1000
_EPOCHS = 60


def multi_view_study(
    *,
    single_view_shares: Sequence[float] = (0.0, 1.0),
    alphas: Sequence[float] = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0),
    seeds: int = 10,
    n_samples: int = 400,
    n_experts: int = 4,
    top_k: int | None = None,
) -> list[dict[str, Any]]:
    """Train mixtures on samples that show several views or one, and test which views each expert has learned.

    All test samples show one view alone, which either of them must suffice to tell the class.

    Parameters
    ----------
    single_view_shares : sequence of float
        Shares of the training samples that show one view alone, a study for each.
    alphas : sequence of float
        Strengths of distillation; the first is what the others are compared with.
    seeds, n_samples, n_experts : int
        Repetitions with data and weights of their own, training samples, experts.
    top_k : int, optional
        Of a sparse gate.

    Returns
    -------
    list of dict
        One a share: ``single_view_share`` · ``alpha`` [A] · ``score`` of the mixture, ``own_domain`` and ``views``, the
        mean share of the views that the experts know, each [seeds][A] · ``difference`` of the scores from those at the
        first α, [A].

    Examples
    --------
    >>> many, one = multi_view_study(alphas=(0.0, 0.3), seeds=3)
    >>> many["difference"][1]["mean"] > 0 > one["difference"][1]["mean"]
    True
    """
    return [_study(share, alphas, seeds, n_samples, n_experts, top_k) for share in single_view_shares]


def _study(
    share: float, alphas: Sequence[float], seeds: int, n_samples: int, n_experts: int, top_k: int | None
) -> dict[str, Any]:
    generators = [np.random.default_rng(seed) for seed in range(seeds)]
    train = [make_multi_view(n_samples, g, single_view_share=share, **_DATA) for g in generators]
    test = [
        make_multi_view(_TEST_SAMPLES, g, single_view_share=1.0, patterns=data.patterns, **_DATA)
        for g, data in zip(generators, train, strict=True)
    ]
    network = _trained(train, alphas, n_experts, top_k)
    measured = [_measured(network.select(slice(s, s + 1)), data) for s, data in enumerate(test)]
    columns = {name: [found[name].tolist() for found in measured] for name in measured[0]}
    scores = list(zip(*columns["score"], strict=True))
    return {
        "single_view_share": share,
        "alpha": list(alphas),
        **columns,
        # Every seed draws test samples of its own, so nothing is shared between seeds.
        "difference": [difference(column, scores[0], test_share=0).to_dict() for column in scores],
    }


def _trained(train: Sequence[MultiView], alphas: Sequence[float], n_experts: int, top_k: int | None) -> StackedMixture:
    x, y = (torch.from_numpy(np.stack([getattr(data, part) for data in train])) for part in ("X", "y"))
    x, seeds, n_classes = x.float(), range(len(train)), train[0].patterns.shape[0]
    network = StackedMixture(seeds, len(alphas), x.shape[-1], n_classes, n_experts=n_experts, hidden=32, top_k=top_k)
    strengths = torch.tensor(list(alphas)).repeat(len(train), 1)
    rows = Rows(x, y, [x.shape[1]] * len(train))
    settings = TrainingSettings(epochs=_EPOCHS, patience=_EPOCHS, batch_size=64)
    StackedTraining(network, strengths, rows, None, "classification", seeds, settings).run()
    return network


def _measured(network: StackedMixture, data: MultiView) -> dict[str, NDArray[np.float64]]:
    outputs = network_outputs(network, data.X.astype(np.float32), "cpu").model(0)
    right, mixture_right = sample_right(outputs.experts, outputs.mixture, data.y, "classification")
    domains = dominating_experts(outputs.weights)
    learned = views_learned(right, data.y, data.shown, outputs.mixture.shape[-1])
    return {
        "score": mixture_right.mean(-1),
        "own_domain": own_domain_score(outputs.experts, domains, data.y, "classification"),
        "views": learned.mean((-3, -2, -1)),
    }
