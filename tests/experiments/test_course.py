"""Measures over training: at the right epochs, of the right weights, and only as long as a model trains."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from distilled_experts.experiments.compare import resolve
from distilled_experts.experiments.course import MEASURES, Course, vision_of
from distilled_experts.experiments.data import load_table
from distilled_experts.experiments.preparation import prepare
from distilled_experts.experiments.stacks import build_training
from distilled_experts.probing import cluster_subsets, expert_similarity, narrow_vision
from distilled_experts.tabular.gradients import gradient_norms

ALPHA = "0,0.5,30"


def trained(data: str, epochs: int = 30, **options):
    table = load_table(data)
    specification = resolve(table, seeds=2, epochs=epochs, hidden=8, alpha=ALPHA, **options)
    training = build_training(prepare(table, specification, [0, 1]), specification, "mixture")
    course = Course(epochs)
    training.run(course.follow)
    return training, course


@pytest.mark.parametrize(("data", "gate"), [("wine", "dense"), ("diabetes", "sparse")])
def test_values_are_those_of_the_weights_at_the_time(data, gate):
    training, course = trained(data, epochs=4, gate=gate)
    assert course.epochs == [1, 2, 3, 4]
    network, groups = training.working.network, training.working.groups
    for s in range(2):
        one = network.select(slice(s, s + 1))
        x, y = training.train.x[s : s + 1], training.train.target[s : s + 1]
        n = training.train.counts[s]
        picked = (torch.arange(min(n, 256)) * n) // min(n, 256)
        norms = gradient_norms(one, x[:, picked], y[:, picked], training.alpha[s : s + 1], task=training.task)
        codes = y[0, picked].numpy()
        codes = codes if training.task == "classification" else cluster_subsets(x[0, picked]).codes
        expected = narrow_vision(norms.whole[0], codes, int(codes.max()) + 1).index
        np.testing.assert_allclose(course.values["vision_whole"][-1][s], expected)
        held = training.validation.x[s : s + 1, : training.validation.counts[s]]
        similarity = expert_similarity(one(held).experts[0].detach().numpy(), training.task)
        np.testing.assert_allclose(course.values["cka"][-1][s], similarity.mean_cka, rtol=1e-5)
        np.testing.assert_allclose(course.values["agreement"][-1][s], similarity.mean_agreement, rtol=1e-5)
    np.testing.assert_array_equal(
        vision_of(training, network, groups)["vision_whole"], course.values["vision_whole"][-1]
    )


def test_distillation_widens_the_vision_of_the_whole_loss_and_makes_experts_alike():
    _, course = trained("wine", epochs=60)
    last = {name: values[-1] for name, values in course.values.items()}
    assert (last["vision_whole"][:, 1] < last["vision_whole"][:, 0] / 2).all()
    assert (last["cka"][:, 1] > last["cka"][:, 0]).all()
    assert (last["agreement"][:, 1] > last["agreement"][:, 0]).all()
    np.testing.assert_array_equal(last["vision_whole"][:, 0], last["vision_task"][:, 0])


def test_a_course_ends_with_the_training_of_its_group():
    _, course = trained("diabetes", epochs=200, patience=1)
    courses = [course.of(s, 0) for s in range(2)]
    lengths = [len(found["epoch"]) for found in courses]
    assert lengths[0] != lengths[1]
    for found, length in zip(courses, lengths, strict=True):
        assert found["epoch"] == course.epochs[:length]
        for name in MEASURES:
            assert len(found[name]) == length
            assert None not in found[name]


def test_a_course_goes_on_from_its_state():
    _, course = trained("wine", epochs=5)
    again = Course(5)
    again.restore({**course.state(), "something else": torch.ones(1)})
    assert again.epochs == course.epochs
    assert again.of(1, 2) == course.of(1, 2)
    again.restore(Course(5).state())
    assert again.epochs == []
    assert again.values == {name: [] for name in MEASURES}
