"""Figures over several records: what they show, and that the same input gives the same bytes."""

from __future__ import annotations

import math

import pytest

from distilled_experts.report import figures

DIFFERENCE = {"mean": 0.012, "low": -0.001, "high": 0.025, "scores": [0.01, 0.014]}
DRAWN = [
    lambda: figures.forest({"a": DIFFERENCE, "b": {**DIFFERENCE, "low": None, "high": None}}, "points"),
    lambda: figures.changes_against_alpha([0.0, 0.1], {"x": [[0.0, 1.0], [0.0, 3.0]]}, "points"),
    lambda: figures.average_ranks({"MoE": 2.0, "MoDE": 1.0}, 0.5, n_sets=9, ours=("MoDE",)),
    lambda: figures.steps([("gate", "routing", ["x"]), ("combine", "output, loss", ["experts"])]),
]


@pytest.mark.parametrize("draw", DRAWN)
def test_the_same_input_gives_the_same_bytes(draw):
    assert figures.to_svg(draw()) == figures.to_svg(draw())


def test_a_forest_shows_means_in_points_and_an_interval_where_it_is_known():
    (axes,) = DRAWN[0]().axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    drawn = [line.get_xdata() for line in axes.lines]
    assert [1.2] in [list(x) for x in drawn]
    assert sum(list(x) == pytest.approx([-0.1, 2.5]) for x in drawn if len(x) == 2) == 1


def test_the_thick_curve_is_the_mean():
    (axes,) = DRAWN[1]().axes
    thick = max(axes.lines, key=lambda line: line.get_linewidth())
    assert list(thick.get_ydata()) == [0.0, 2.0]


def test_the_best_rank_is_on_top_and_what_has_none_is_left_out():
    figure = figures.average_ranks({"a": 2.5, "b": math.nan, "c": 1.5}, None, n_sets=1)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "c"]
    assert "1 data set;" in axes.get_xlabel()
    assert all(len(line.get_xdata()) == 1 for line in axes.lines)
    (barred,) = DRAWN[2]().axes
    assert [0.75, 1.25] in [list(line.get_xdata()) for line in barred.lines]


def test_every_step_has_a_box():
    (axes,) = DRAWN[3]().axes
    assert len(axes.patches) == 2
