"""Multi-view data: distillation hands views on where samples show several."""

from __future__ import annotations

import numpy as np
import pytest

from distilled_experts.experiments.multi_view_study import multi_view_study

SHARES = (0.0, 1.0)


@pytest.fixture(scope="module", params=[None, 2], ids=["dense", "sparse"])
def studies(request):
    return multi_view_study(alphas=(0.0, 0.3), seeds=3, top_k=request.param)


def test_experts_learn_more_views_by_distillation_and_the_mixture_gains_with_several_views_alone(studies):
    many, one = studies
    for study in studies:
        plain, distilled = np.mean(study["views"], axis=0)
        assert distilled > plain + 0.1
    assert many["difference"][1]["mean"] > 0.005
    assert one["difference"][1]["mean"] < -0.005
    gains = [np.diff(np.mean(study["own_domain"], axis=0)) for study in studies]
    assert gains[0] > gains[1] + 0.005


def test_records_are_complete(studies):
    for share, study in zip(SHARES, studies, strict=True):
        assert study["single_view_share"] == share
        for name in ("score", "own_domain", "views"):
            table = np.array(study[name])
            assert table.shape == (3, 2)
            assert ((table >= 0) & (table <= 1)).all()
        assert study["difference"][0]["mean"] == 0
        assert study["difference"][1]["low"] is not None
