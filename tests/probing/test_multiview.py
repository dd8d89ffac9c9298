"""Multi-view data show the views that they say they show."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilled_experts.errors import InvalidParameterError
from distilled_experts.probing import MultiView, make_multi_view, views_learned


def strengths(data: MultiView) -> np.ndarray:
    """Strength of every view in every sample, ``(N, classes, views)``."""
    n_classes, n_views, width = data.patterns.shape
    return np.einsum("ncvw,cvw->ncv", data.X.reshape(-1, n_classes, n_views, width), data.patterns)


@given(st.integers(0, 10_000), st.integers(1, 4), st.floats(0, 1))
def test_samples_show_the_views_that_are_recorded(seed, n_views, share):
    n_classes = 1 + seed % 4
    data = make_multi_view(
        60,
        np.random.default_rng(seed),
        n_classes=n_classes,
        n_views=n_views,
        view_width=3,
        single_view_share=share,
        noise=0,
        weak_strength=0.05,
    )
    own = strengths(data)[np.arange(60), data.y]
    np.testing.assert_array_equal(own > 0.9, data.shown)
    assert (own < 2 + 1e-9).all()
    np.testing.assert_allclose(own[~data.shown], 0.05)
    assert np.ptp(np.bincount(data.y, minlength=n_classes)) <= 1
    if n_views > 1:
        assert ((data.shown.sum(1) == 1) | data.shown.all(1)).all()
        assert (data.shown.sum(1) == 1).sum() == round(share * 60)
    np.testing.assert_allclose((data.patterns**2).sum(-1), 1)


def test_distractors_are_weak_views_of_other_classes():
    data = make_multi_view(2000, np.random.default_rng(0), n_classes=5, noise=0, distractor_rate=0.3)
    others = strengths(data)[np.arange(5) != data.y[:, None]]
    assert others.max() <= 0.4 + 1e-9
    assert others[others > 1e-9].min() >= 0.2 - 1e-9
    assert (others > 1e-9).mean() == pytest.approx(0.3, abs=0.02)
    clean = make_multi_view(50, np.random.default_rng(0), noise=0, distractor_rate=0)
    assert (clean.X != 0).any(1).all()
    assert strengths(clean)[np.arange(4) != clean.y[:, None]].max() < 1e-9


def test_noise_has_its_deviation_and_the_seed_decides():
    first, second = (make_multi_view(500, np.random.default_rng(3), noise=0.5) for _ in range(2))
    np.testing.assert_array_equal(first.X, second.X)
    quiet = make_multi_view(500, np.random.default_rng(3), noise=0)
    assert (first.X - quiet.X).std() == pytest.approx(0.5, rel=0.02)


def test_other_samples_of_the_same_classes():
    train = make_multi_view(50, np.random.default_rng(0))
    test = make_multi_view(80, np.random.default_rng(1), patterns=train.patterns, single_view_share=1)
    np.testing.assert_array_equal(train.patterns, test.patterns)
    assert (test.shown.sum(1) == 1).all()


def test_experts_that_know_one_view_each():
    """Expert i answers from view i alone, and so is wrong wherever this view is hidden."""
    data = make_multi_view(300, np.random.default_rng(0), single_view_share=0.6, noise=0, distractor_rate=0)
    answers = strengths(data).argmax(1)  # (N, views): the class whose view i is strongest
    seen = np.take_along_axis(strengths(data).max(1), np.array([[0, 1]]), 1) > 0.5
    right = (answers == data.y[:, None]) & seen
    learned = views_learned(right, data.y, data.shown, 4)
    assert learned.shape == (2, 4, 2)
    np.testing.assert_array_equal(learned, np.broadcast_to(np.eye(2)[:, None], (2, 4, 2)))
    assert views_learned(np.stack([right] * 3), data.y, data.shown, 4).shape == (3, 2, 4, 2)


def test_views_that_are_never_alone_are_not_judged():
    data = make_multi_view(40, np.random.default_rng(0), single_view_share=0)
    assert np.isnan(views_learned(np.ones((40, 2), bool), data.y, data.shown, 4)).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_classes", 0),
        ("view_width", 0),
        ("single_view_share", 1.1),
        ("distractor_rate", float("nan")),
        ("noise", -1),
        ("patterns", np.ones((1, 1, 1))),
    ],
)
def test_wrong_parameters_are_refused(name, value):
    with pytest.raises(InvalidParameterError, match=name):
        make_multi_view(10, np.random.default_rng(0), **{name: value})
