"""Models and their training: sizes, the parts of the loss, the best weights, and that seeds decide everything."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from distilled_experts.errors import DataError, InvalidParameterError, TrainingError
from distilled_experts.probing.torch_models import evaluating
from distilled_experts.transformers.sizes import n_parameters
from distilled_experts.vision import MODELS, build_model, train_model
from distilled_experts.vision.data import load_images
from distilled_experts.vision.models import ModelSettings, dense_settings
from distilled_experts.vision.training import Samples, TrainingSettings

SHORT = TrainingSettings(epochs=2, batch_size=16, padding=1)


def settings(model: str, **options: object) -> ModelSettings:
    kind = MODELS[model]
    return ModelSettings(model, (8, 8, 1), 10, **({"hidden": kind.hidden, "distance": kind.distance} | options))


def digits(n_train: int = 64, n_all: int = 96) -> Samples:
    images = load_images("digits")
    x = torch.from_numpy(images.pixels[:n_all]).permute(0, 3, 1, 2).float() / 128 - 1
    return Samples(x, torch.from_numpy(images.y[:n_all]), n_train)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("top_k", [None, 2])
def test_a_dense_network_has_as_many_parameters(model, top_k):
    mixture = settings(model, top_k=top_k)
    dense = dense_settings(mixture)
    wanted, found = (n_parameters(build_model(one, seed=0)) for one in (mixture, dense))
    more = n_parameters(build_model(ModelSettings(**(vars(dense) | {"hidden": dense.hidden + 1})), seed=0))
    assert dense.n_experts == 1
    assert abs(found - wanted) <= (more - found) / 2


@pytest.mark.parametrize("model", MODELS)
def test_the_seed_decides_the_weights_and_alpha_does_not(model):
    first, second, other = (
        build_model(settings(model), seed=seed, alpha=alpha) for seed, alpha in ((0, 0.0), (0, 1.0), (1, 0.0))
    )
    pairs = list(zip(first.parameters(), second.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not all(torch.equal(a, c) for a, _, c in pairs)


@pytest.mark.parametrize("model", ["conv-head", "conv-experts"])
@pytest.mark.parametrize("top_k", [None, 2])
def test_the_loss_has_all_its_parts_in_training_and_the_task_alone_in_evaluation(model, top_k):
    network = build_model(settings(model, top_k=top_k, balance=0.3), seed=0, alpha=0.7)
    samples = digits()
    out = network(samples.x, labels=samples.y)
    maps = samples.x
    for convolution in network.stem:
        maps = F.relu(F.max_pool2d(convolution(maps), 2))
    _, mixed = network.head(maps)
    task = F.cross_entropy(out.logits, samples.y)
    assert mixed.distillation_loss > 0
    torch.testing.assert_close(out.loss, task + 0.3 * mixed.balance_loss + 0.7 * mixed.distillation_loss)
    with evaluating(network):
        torch.testing.assert_close(network(samples.x, labels=samples.y).loss, task)


def test_without_alpha_nothing_is_distilled():
    network = build_model(settings("conv-head", balance=0.0), seed=0)
    samples = digits()
    out = network(samples.x, labels=samples.y)
    assert torch.equal(out.loss, F.cross_entropy(out.logits, samples.y))


@pytest.mark.parametrize("model", MODELS)
def test_training_is_decided_by_the_seed_and_leaves_random_states_alone(model):
    def run(seed: int) -> tuple[torch.Tensor, list[float]]:
        network = build_model(settings(model, top_k=2), seed=0, alpha=0.1)
        curves = train_model(network, digits(32, 48), SHORT, seed=seed)
        assert curves.validation_loss[curves.best_epoch - 1] == min(curves.validation_loss)
        assert len(curves.train_loss) == len(curves.validation_loss) == 2
        return torch.cat([p.detach().flatten() for p in network.parameters()]), curves.validation_loss

    states = torch.random.get_rng_state(), random.getstate(), np.random.mtrand.random.__self__.get_state()[1]
    first, again, other = run(0), run(0), run(1)
    assert torch.equal(first[0], again[0])
    assert first[1] == again[1] != other[1]
    assert torch.equal(states[0], torch.random.get_rng_state())
    assert states[1] == random.getstate()
    assert (states[2] == np.random.mtrand.random.__self__.get_state()[1]).all()


def test_the_best_weights_are_kept():
    network, samples = build_model(settings("conv-head"), seed=0), digits()
    # What is learned from the training images is wrong of the others, so that their loss rises.
    samples.y[samples.n_train :] = (samples.y[samples.n_train :] + 5) % 10
    curves = train_model(network, samples, TrainingSettings(epochs=3, batch_size=16, padding=1), seed=0)
    assert curves.best_epoch == 1 + int(np.argmin(curves.validation_loss)) < 3
    with torch.no_grad(), evaluating(network):
        loss = network(samples.x[samples.n_train :], labels=samples.y[samples.n_train :]).loss
    assert float(loss) == pytest.approx(min(curves.validation_loss), rel=1e-4)


def test_validation_images_are_not_augmented():
    samples = digits()
    network = build_model(settings("conv-head"), seed=0)
    with torch.no_grad(), evaluating(network):
        before = network(samples.x[samples.n_train :], labels=samples.y[samples.n_train :]).loss
    still = TrainingSettings(epochs=1, batch_size=32, learning_rate=1e-30, padding=2, mirrored=True)
    curves = train_model(network, samples, still, seed=0)
    assert curves.validation_loss[0] == pytest.approx(float(before), rel=1e-4)
    assert abs(curves.train_loss[0] - float(before)) > 1e-3


def test_a_loss_that_is_never_finite_is_an_error():
    samples = digits()
    broken = Samples(torch.full_like(samples.x, torch.nan), samples.y, samples.n_train)
    with pytest.raises(TrainingError, match="never finite"):
        train_model(build_model(settings("conv-head"), seed=0), broken, SHORT, seed=0)


def test_bad_settings_are_named():
    with pytest.raises(InvalidParameterError, match="allowed: conv-head, conv-experts, vit"):
        build_model(ModelSettings("resnet", (8, 8, 1), 2), seed=0)
    with pytest.raises(DataError, match="allowed: 8 × 8 or larger"):
        build_model(ModelSettings("conv-head", (4, 9, 1), 2), seed=0)
    with pytest.raises(DataError, match="allowed for vit: squares"):
        build_model(ModelSettings("vit", (8, 9, 1), 2), seed=0)
