"""The parallel study: one gate, two kinds of experts."""

from __future__ import annotations

import json
import os
import signal
import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine

from distilled_experts import compare
from distilled_experts.errors import InvalidParameterError, MissingDependencyError
from distilled_experts.experiments import parallel_study
from distilled_experts.experiments.compare import Run, resolve, run_comparison
from distilled_experts.experiments.data import load_table
from distilled_experts.experiments.preparation import prepare
from distilled_experts.experiments.records import RunFolder
from distilled_experts.experiments.stacks import build_training

OPTIONS = {"seeds": 3, "epochs": 6, "hidden": 8, "alpha": "0,0.5"}


@pytest.fixture(scope="module")
def wine():
    return load_table("wine")


@pytest.fixture(scope="module", params=["dense", "sparse"])
def study(request, wine):
    """A trained stack, and the mixtures of its parallel study."""
    specification = resolve(wine, gate=request.param, **OPTIONS)
    stack = prepare(wine, specification, range(3))
    training = build_training(stack, specification, "mixture")
    initial = {name: p.detach().clone() for name, p in training.network.named_parameters()}
    training.run()
    network = parallel_study._trained(training.network, stack, specification, [0.0, 0.5, 30.0], None)
    return training.network, network, initial, stack, specification


def test_both_arms_have_the_trained_gate_of_plain_moe(study):
    trained, network, *_ = study
    for name in ("gate_weight", "gate_bias"):
        for arm in range(2):
            assert torch.equal(getattr(network, name)[:, arm], getattr(trained, name)[:, 0])


def test_experts_learn_anew_from_the_initial_weights_alike_but_for_distillation(study):
    _, network, initial, *_ = study
    assert torch.equal(initial["hidden_weight"][:, 0], initial["hidden_weight"][:, 1])
    weights = network.hidden_weight
    assert not torch.allclose(weights[:, 0], initial["hidden_weight"][:, 0])
    torch.testing.assert_close(weights[0, 0], weights[0, 1])  # α = 0 in both arms
    assert not torch.allclose(weights[1, 0], weights[1, 1])
    gaps = [(network.output_bias[2, arm] - network.output_bias[2, arm].mean(0)).abs().mean() for arm in range(2)]
    assert gaps[1] < gaps[0]


def test_domains_are_identical_and_differences_paired(study):
    *_, stack, specification = study
    models = parallel_study._measured(study[1], stack, specification, [0.0, 0.5, 30.0])
    moe, mode = ([m for m in models if m["arm"] == f"parallel_{arm}"] for arm in ("moe", "mode"))
    assert [m["shares"] for m in moe] == [m["shares"] for m in mode]
    assert [m["alpha"] for m in mode] == [0.0, 0.5, 30.0]
    found = parallel_study.summarise_parallel(models, test_share=0.4)
    assert found["difference"]["scores"][0] == pytest.approx(0, abs=1e-6)
    assert found["difference"]["mean"] == pytest.approx(
        np.mean(found["own_domain"]["mode"]) - np.mean(found["own_domain"]["moe"])
    )
    sizes = [expert["share"] for expert in found["by_expert"]]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) == pytest.approx(1)
    weighted = np.nansum(np.array(moe[0]["shares"]) * np.array(moe[0]["by_expert"], dtype=float))
    assert weighted == pytest.approx(moe[0]["own_domain"])


def made(arm: str, by_expert: list[float | None], shares: list[float], attention: list[list[float]]):
    named = {"arm": f"parallel_{arm}", "seed": 0, "own_domain": 0.5, "score": 0.5, "columns": ["a", "b"]}
    return named | {"by_expert": by_expert, "shares": shares, "attention": attention}


def test_experts_are_ranked_by_their_domains_and_empty_ones_have_no_difference():
    models = [
        made("moe", [0.2, None, 0.6], [0.3, 0.0, 0.7], [[1.0, 0.0], [None, None], [0.5, 0.5]]),
        made("mode", [0.3, None, 0.9], [0.3, 0.0, 0.7], [[0.5, 0.5], [None, None], [1.0, 0.0]]),
    ]
    ranked = parallel_study.summarise_parallel(models, 0.4)["by_expert"]
    assert [expert["share"] for expert in ranked] == [0.7, 0.3, 0.0]
    assert [e["difference"] and e["difference"]["mean"] for e in ranked] == [
        pytest.approx(0.3),
        pytest.approx(0.1),
        None,
    ]
    assert parallel_study.summarise_attention(models)["picked_up"] == [[["b"], [], []]]
    assert parallel_study.summarise_parallel([], 0.4) is parallel_study.summarise_attention([]) is None


def test_a_comparison_explained_has_study_and_attention(wine):
    record = run_comparison(Run(wine, None, resolve(wine, explain=True, **OPTIONS)))
    why = record["why"]
    # Little and much distillation are shown, and chosen by no seed.
    assert why["by_alpha"]["alpha"] == [0.0, 0.01, 0.5, 100.0]
    assert set(record["alpha"]) <= {0.0, 0.5}
    assert why["parallel"]["difference"]["low"] is not None
    attention = why["attention"]
    assert attention["columns"] == list(wine.X.columns)
    moe = np.array(attention["moe"], dtype=float)
    assert moe.shape == (3, 4, 13)
    np.testing.assert_allclose(np.nansum(moe, -1)[~np.isnan(moe[..., 0])], 1, atol=1e-3)


@pytest.mark.slow
def test_an_interrupted_study_goes_on_to_the_same_result(wine, tmp_path):
    specification = resolve(wine, explain=True, **OPTIONS)
    seen = []

    def interrupt(name: str, done: int, total: int) -> None:
        seen.append(name.startswith("mixture") and done == total)
        if sum(seen) == 3:  # the mixtures are trained, and the study is in its second epoch
            os.kill(os.getpid(), signal.SIGTERM)

    folder = RunFolder(tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        run_comparison(Run(wine, None, specification, folder), interrupt)
    resumed = run_comparison(Run(wine, None, specification, folder, resume=True))
    whole = run_comparison(Run(wine, None, specification))
    assert json.dumps(resumed["why"]) == json.dumps(whole["why"])


def test_without_captum_nothing_is_trained(monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    X, y = load_wine(return_X_y=True, as_frame=True)
    with pytest.raises(MissingDependencyError, match="Captum"):
        compare(X, y, explain=True, **OPTIONS)


@pytest.mark.parametrize("options", [{"experts": 1}, {"gate": "sparse", "top_k": 1}])
def test_where_nothing_is_distilled_there_is_nothing_to_explain(options, wine):
    with pytest.raises(InvalidParameterError, match="explain: True is not allowed"):
        resolve(wine, explain=True, **options)
