"""Experts of a vision transformer: forced routing against a model whose router knows no choice, gradients by loops."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from distilled_experts.probing import MixtureModule
from distilled_experts.transformers import detach
from distilled_experts.transformers.finding import find_mixtures
from distilled_experts.vision.members import members_of
from distilled_experts.vision.models import ModelSettings, build_model
from distilled_experts.vision.patches import PatchMixtures

X = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = np.array([0, 1, 2, 0, 1])
SETTINGS = ModelSettings("vit", (8, 8, 1), 3, n_experts=3, top_k=2, hidden=5, balance=0.0)


def test_feed_forwards_that_mixtures_would_replace_start_as_experts_do():
    mixture, dense = (
        dict(build_model(ModelSettings("vit", (8, 8, 1), 3, n_experts=n, hidden=64 * n), seed=0).named_parameters())
        for n in (2, 1)
    )
    experts = [p for n, p in mixture.items() if n.endswith(("up_proj", "down_proj"))]
    replaced = [dense[f"vit.layers.{i}.mlp.{name}.weight"] for i in (0, 2) for name in ("fc1", "fc2")]
    assert len(experts) == len(replaced)
    for weight in (*experts, *replaced):
        assert weight.detach().abs().max().item() == pytest.approx(weight.shape[-1] ** -0.5, rel=1e-3)


def test_an_expert_alone_is_the_model_in_which_all_experts_are_that_one():
    model = build_model(SETTINGS, seed=0).double().eval()
    found = PatchMixtures(model, narrow_vision=False).members_on(X, Y)
    assert found.layers == tuple(mixture.name for mixture in find_mixtures(model))
    assert found.layer == found.layers[-1]
    assert found.task_norms is None
    for expert in range(3):
        alike = copy.deepcopy(model)
        layer = find_mixtures(alike)[-1].layer
        with torch.no_grad():
            for weights in layer.parameters():
                weights.copy_(weights[expert].expand_as(weights).clone())
            np.testing.assert_allclose(found.outputs.experts[:, expert], alike(X).logits, atol=1e-10)
    np.testing.assert_allclose(found.outputs.mixture, model(X).logits.detach(), atol=1e-10)
    np.testing.assert_allclose(found.outputs.weights.sum(-1), 1)


@pytest.mark.parametrize("alpha", [0.0, 0.4])
def test_norms_of_an_image_of_one_token_are_those_of_its_loss(alpha):
    """In the last layer the classifier reads one token alone: the norms of a single image are that token's."""
    model = build_model(SETTINGS, seed=0, alpha=alpha).double().eval()
    found = PatchMixtures(model).members_on(X, Y)
    assert found.alpha == (alpha or None)
    assert (found.whole_norms is None) == (alpha == 0)
    assert found.task_norms.shape == (5, 3)
    if alpha == 0:
        return
    detach(model)
    np.testing.assert_allclose(PatchMixtures(model).members_on(X, Y).task_norms, found.task_norms)
    assert (found.whole_norms != found.task_norms).any()


def test_norms_bound_the_gradient_of_each_image():
    """The norm of a sum of its tokens' parts is at most the sum of their norms."""
    model = build_model(SETTINGS, seed=0).double().eval()
    norms = PatchMixtures(model).members_on(X, Y).task_norms
    parameters = list(find_mixtures(model)[-1].layer.parameters())
    for n in range(len(Y)):
        loss = F.cross_entropy(model(X[n : n + 1]).logits, torch.from_numpy(Y[n : n + 1]))
        gradients = torch.autograd.grad(loss, parameters)
        whole = sum(gradient.flatten(1).square().sum(1) for gradient in gradients).sqrt().numpy()
        assert (whole <= norms[n] * (1 + 1e-9)).all()
        assert whole.sum() > 0.2 * norms[n].sum()


def test_every_model_has_members():
    for name, kind in {"conv-head": MixtureModule, "conv-experts": MixtureModule, "vit": PatchMixtures}.items():
        model = build_model(ModelSettings(name, (8, 8, 1), 3, hidden=4), seed=0)
        assert isinstance(members_of(model, 0.1), kind)
