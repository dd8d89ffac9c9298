"""Probing of torch modules: forced routing at one layer against a loop, gradients against autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilled_experts.errors import DataError, InvalidParameterError
from distilled_experts.functional import mutual_distillation
from distilled_experts.layers import MixtureOfExperts, forced_expert
from distilled_experts.probing import MixtureModule, probe


class Deep(nn.Module):
    """Two mixtures with dropout between them, as a classifier or with tokens pooled at the end."""

    def __init__(
        self, *, top_k: int | None = None, activation: str = "relu", pooled: bool = False, distance: str = "mse"
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        options = {"n_experts": 3, "top_k": top_k, "activation": activation, "dtype": torch.float64}
        options["distance"] = distance
        self.bottom = MixtureOfExperts(4, 5, hidden=6, generator=generator, **options)
        self.dropout = nn.Dropout(0.5)
        self.top = MixtureOfExperts(5, 3, hidden=6, generator=generator, **options)
        self.pooled = pooled

    def forward(self, x: Tensor) -> Tensor:
        out = self.top(self.dropout(self.bottom(x).output.relu())).output
        return out.mean(1) if self.pooled else out


def rows(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


Y = np.arange(20) % 3


@pytest.mark.parametrize("layer", ["bottom", "top"])
@pytest.mark.parametrize("top_k", [None, 2])
def test_an_expert_alone_is_the_whole_model_with_its_routing_forced(layer, top_k):
    model = Deep(top_k=top_k)
    samples = MixtureModule(model).members_on(rows(20, 4), Y, layer=layer)
    model.eval()
    for expert in range(3):
        with torch.no_grad(), forced_expert(model.get_submodule(layer), expert):
            np.testing.assert_allclose(samples.outputs.experts[:, expert], model(rows(20, 4)), atol=1e-12)
    np.testing.assert_allclose(samples.outputs.mixture, model(rows(20, 4)).detach())
    inside = rows(20, 4) if layer == "bottom" else model.bottom(rows(20, 4)).output.relu()
    weights = model.get_submodule(layer).gate(inside).dense_weights()
    np.testing.assert_allclose(samples.outputs.weights, weights.detach())


def test_an_output_mixture_runs_each_expert_once_and_a_deep_one_once_for_each():
    model, runs = Deep(), []
    model.register_forward_hook(lambda *_: runs.append(1))
    members = MixtureModule(model, narrow_vision=False)
    assert members.members_on(rows(20, 4), Y, layer="top").task_norms is None
    assert len(runs) == 1
    members.members_on(rows(20, 4), Y, layer="bottom")
    assert len(runs) == 1 + 1 + 3


@pytest.mark.parametrize("activation", ["relu", "gelu", "swiglu"])
@pytest.mark.parametrize("layer", ["bottom", "top"])
@pytest.mark.parametrize("top_k", [None, 2])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_gradient_norms_are_those_of_a_loop(activation, layer, top_k, task):
    model = Deep(top_k=top_k, activation=activation)
    x = rows(5, 4)
    y = torch.from_numpy(Y[:5]) if task == "classification" else rows(5, 3) + 1
    norms = MixtureModule(model).members_on(x, y, layer=layer).task_norms
    experts = model.eval().get_submodule(layer).experts
    for n in range(5):
        out = model(x[n : n + 1])
        loss = F.cross_entropy(out, y[n : n + 1]) if task == "classification" else F.mse_loss(out, y[n : n + 1])
        gradients = torch.autograd.grad(loss, list(experts.parameters()), allow_unused=True)
        square = sum(g.flatten(1).square().sum(1) for g in gradients)
        np.testing.assert_allclose(norms[n], square.sqrt(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("distance", ["mse", "relative", "cosine"])
@pytest.mark.parametrize("top_k", [None, 2])
def test_whole_norms_are_those_of_the_training_loss(activation, distance, top_k):
    model, alpha = Deep(top_k=top_k, activation=activation, distance=distance).eval(), 0.7
    x, y = rows(5, 4), torch.from_numpy(Y[:5])
    norms = MixtureModule(model, alpha=alpha).members_on(x, y, layer="bottom").whole_norms
    layer, parts = model.bottom, []
    out = layer(x, return_expert_outputs=True)
    unit = out.expert_outputs.mean(1).square().mean().detach() if distance == "relative" else 1
    for n in range(5):
        said = layer(x[n : n + 1], return_expert_outputs=True).expert_outputs
        measured = "mse" if distance == "relative" else distance
        alike = mutual_distillation(said, distance=measured) / unit
        loss = F.cross_entropy(model(x[n : n + 1]), y[n : n + 1]) + alpha * alike
        gradients = torch.autograd.grad(loss, list(layer.experts.parameters()), allow_unused=True)
        parts.append(sum(g.flatten(1).square().sum(1) for g in gradients).sqrt())
    np.testing.assert_allclose(norms, torch.stack(parts), rtol=1e-9, atol=1e-12)


def test_probing_leaves_modes_gradients_and_hooks_alone():
    model = Deep()
    model.bottom.eval()
    record = probe(model, rows(20, 4), Y)
    assert record.narrow_vision.whole is None
    assert 0 <= record.narrow_vision.task.index <= 1
    assert (model.training, model.bottom.training, model.top.training) == (True, False, True)
    assert all(p.grad is None for p in model.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def test_batches_do_not_matter(monkeypatch):
    whole = probe(Deep(), rows(20, 4), Y).to_dict()
    monkeypatch.setattr("distilled_experts.probing.modules._ROWS", 7)
    parts = probe(Deep(), rows(20, 4), Y).to_dict()
    assert parts["matrix"] == whole["matrix"]
    index = parts["narrow_vision"]["task"]["index"]
    assert index == pytest.approx(whole["narrow_vision"]["task"]["index"])


def test_a_sample_of_several_tokens_has_the_mean_of_their_weights():
    model, x = Deep(pooled=True), rows(6, 5, 4)
    samples = MixtureModule(model).members_on(x, Y[:6], layer="bottom")
    weights = model.bottom.gate(x.reshape(-1, 4)).weights.reshape(6, 5, 3).mean(1)
    np.testing.assert_allclose(samples.outputs.weights, weights.detach())
    assert samples.task_norms is None


def test_predictions_for_tokens_are_samples_each():
    record = probe(Deep(), rows(6, 5, 4), torch.arange(30).reshape(6, 5) % 3, layer="top")
    assert len(record.domains) == 30
    assert record.layers == ("bottom", "top")


def test_a_mixture_alone_with_shared_experts_and_a_record_for_output():
    layer = MixtureOfExperts(4, 2, hidden=3, n_experts=2, n_shared=1, dtype=torch.float64)
    samples = MixtureModule(layer).members_on(rows(8, 4), rows(8, 2))
    alone = (layer.experts(rows(8, 4)) + layer.shared(rows(8, 4))).detach()
    np.testing.assert_allclose(samples.outputs.experts, alone)
    assert samples.task == "regression"
    assert samples.layer == "mixture"


def test_arrays_of_another_precision_are_taken():
    layer = MixtureOfExperts(4, 2, hidden=3, n_experts=2)
    assert probe(layer, np.ones((3, 4)), [0, 1, 1]).score >= 0


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.moe = MixtureOfExperts(4, 4, hidden=3, n_experts=2, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        return self.moe(self.moe(x).output).output


@pytest.mark.parametrize(
    ("model", "y", "layer", "error", "message"),
    [
        (Deep(), Y, "middle", InvalidParameterError, "layer: 'middle' is not allowed; allowed: bottom, top"),
        (Deep(), Y, 2, InvalidParameterError, "layer: 2"),
        (Deep(), Y + 1, None, DataError, "y: class codes from 1 to 3; the model knows 0 to 2"),
        (Deep(), Y[:7], None, DataError, "y: 7 targets for 20 predictions"),
        (Deep(), np.array(["a"] * 20), None, DataError, "y: <U1 values"),
        (Twice(), Y, None, DataError, "it is run 2 times"),
        (nn.Linear(4, 3).double(), Y, None, InvalidParameterError, "contain a MixtureOfExperts"),
        (nn.Sequential(MixtureOfExperts(4, 3, hidden=2, n_experts=2).double(), nn.Identity()), Y, None, None, ""),
    ],
)
def test_bad_input(model, y, layer, error, message):
    if error is None:  # a record goes through an identity
        assert probe(model, rows(20, 4), y).score >= 0
        return
    with pytest.raises(error, match=message):
        probe(model, rows(20, 4), y, layer=layer)
