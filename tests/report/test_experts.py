"""The experts of the arms, at every α: ranks, shares, scores on all domains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from distilled_experts.errors import InvalidParameterError
from distilled_experts.report import experts, figures
from distilled_experts.report.gallery import first_step, gallery
from distilled_experts.report.records import check

Build = Callable[..., dict[str, Any]]


@pytest.fixture
def two_seeds(compare_record: Build) -> dict[str, Any]:
    """Two experts that change places from seed to seed, at α = 0 and 0.5."""
    record = compare_record(seeds=2, experts=2, grid=[0.0, 0.5], why=True)
    record["why"]["by_alpha"].update(
        shares=[[[0.9, 0.1], [0.6, 0.4]], [[0.3, 0.7], [0.4, 0.6]]],
        matrix=[
            [[[0.91, 0.22], [0.33, 0.84]], [[0.8, 0.7], [0.6, 0.5]]],
            [[[0.84, 0.33], [0.22, 0.91]], [[0.5, 0.6], [0.7, 0.8]]],
        ],
    )
    return record


def _heights(figure: Figure) -> list[float]:
    return [patch.get_height() for patch in figure.axes[0].patches]


def test_domains_at_an_alpha_are_ranked_in_each_seed(two_seeds: dict[str, Any]) -> None:
    assert _heights(figures.domains(two_seeds, alpha=0.5)) == pytest.approx([0.8, 0.2, 0.6, 0.4])
    assert _heights(figures.domains(two_seeds, alpha=0.0)) == pytest.approx([0.8, 0.2, 0.8, 0.2])
    assert _heights(figures.domains(two_seeds, alpha=[0.0, 0.5])) == pytest.approx([0.8, 0.2, 0.8, 0.2, 0.6, 0.4])
    two_seeds["probing"]["mode"]["shares"] = [[0.5, 0.5], [0.3, 0.7]]
    assert _heights(figures.domains(two_seeds))[2:] == pytest.approx([0.6, 0.4])


def test_the_matrix_at_an_alpha_stands_beside_that_of_moe(two_seeds: dict[str, Any]) -> None:
    left, right = figures.expert_domain_matrix(two_seeds, alpha=0.5).axes
    assert [text.get_text() for text in left.texts] == ["0.91", "0.22", "0.33", "0.84"]
    assert [text.get_text() for text in right.texts] == ["0.80", "0.70", "0.60", "0.50"]
    assert right.get_title(loc="left") == "MoDE, α = 0.5"


def test_all_steps_share_one_scale(two_seeds: dict[str, Any]) -> None:
    # What is largest and what is smallest of all is seen at α = 0.5 alone.
    two_seeds["why"]["by_alpha"]["shares"][0][1] = [1.0, 0.0]
    two_seeds["why"]["by_alpha"]["matrix"][0][1][0] = [0.99, 0.01]
    two_seeds["why"]["by_alpha"]["matrix"][1][1][1] = [0.01, 0.99]
    tops = {figures.domains(two_seeds, alpha=alpha).axes[0].get_ylim() for alpha in (0.0, 0.5)}
    assert len(tops) == 1
    deepest = [
        figures.expert_domain_matrix(two_seeds, alpha=alpha).axes[0].collections[0].get_facecolor()[:, 3].tolist()
        for alpha in (0.0, 0.5)
    ]
    assert deepest[0] == deepest[1]
    assert max(deepest[0]) < 0.54


def test_an_alpha_that_was_not_trained_is_refused(two_seeds: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match=r"alpha: 0\.3 .*0\.5"):
        figures.domains(two_seeds, alpha=0.3)
    two_seeds["why"] = None
    with pytest.raises(InvalidParameterError, match="alpha"):
        figures.expert_domain_matrix(two_seeds, alpha=0.5)


def test_a_page_steps_through_what_was_trained(compare_record: Build) -> None:
    record = check(compare_record(grid=[0.0, 0.01, 0.1], seeds=3, why=True), "compare")
    stepped = [wing for wing in gallery(record) if wing.steps]
    assert [wing.steps for wing in stepped] == [[0.0, 0.01, 0.1]]
    views = {exhibit.key: [view.alpha for view in exhibit.views] for exhibit in stepped[0].exhibits}
    assert views["domains"] == views["expert-domain-matrix"] == [0.0, 0.01, 0.1]
    assert views["contrasted-domains"] == [None]
    assert first_step(record) == 0.01
    record["alpha"] = [0.3, 0.3, 0.3]
    assert first_step(record) == 0.01
    record["alpha"] = [0.1, 0.1, 0.01]
    assert first_step(record) == 0.1


@pytest.mark.parametrize(
    ("grid", "contrast"),
    [([0, 0.01, 0.1, 100], [0.01, 100.0]), ([0, 0.03, 1], [0.03, 1.0]), ([0, 0.1, 0.01], [0.01, 0.1]), ([0, 1], [])],
)
def test_a_small_and_a_large_alpha_are_contrasted(grid: list[float], contrast: list[float]) -> None:
    record = {"why": {"by_alpha": {"alpha": sorted(grid), "shares": [[]]}}}
    assert experts.contrasted_alphas(record) == contrast


def test_of_many_experts_no_page_holds_what_each_does_everywhere() -> None:
    record = {"experts": 17, "matrix": {}, "perplexity_matrix": {}, "shares": []}
    assert experts.embedded(record) == {"experts": 17, "shares": []}
    assert experts.embedded(record | {"experts": 16}) == record | {"experts": 16}


@given(st.integers(1, 40), st.integers(3, 9), st.data())
def test_a_long_grid_is_shown_in_part(size: int, most: int, data: st.DataObject) -> None:
    grid = [float(step) for step in range(size)]
    kept = data.draw(st.sampled_from(grid))
    shown = experts.shown_steps(grid, kept, most)
    assert len(shown) <= most
    assert {grid[0], grid[-1], kept} <= set(shown)
    assert shown == sorted(set(shown))
