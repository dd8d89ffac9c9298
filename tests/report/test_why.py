"""The figures of the reasons: known numbers in, the same numbers drawn and said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.patches import PathPatch, Rectangle

from distilled_experts.report import captions, data, figures
from distilled_experts.report.figures.style import ARM_COLOURS
from distilled_experts.report.why import attention_of, column_rows, ignored_columns

Build = Callable[..., dict[str, Any]]


def _axes(draw: Callable[..., Any], record: dict[str, Any]) -> Axes:
    (ax,) = draw(record).axes
    return ax


def test_bands_carry_the_errors_and_leave_out_what_stays_right(compare_record: Build) -> None:
    record = compare_record(why=True)
    shares = [[0.9, 0.01, 0, 0], [0.05, 0.02, 0, 0], [0, 0, 0.02, 0], [0, 0, 0, 0]]
    record["why"]["flow"]["shares"] = shares
    ax = _axes(figures.flow, record)
    bands = {to_hex(patch.get_facecolor()): patch for patch in ax.patches if isinstance(patch, PathPatch)}
    assert set(bands) == {ARM_COLOURS["mode"], ARM_COLOURS["moe"], ARM_COLOURS["dense"]}
    tall = {
        colour: abs(band.get_path().vertices[0][1] - band.get_path().vertices[-2][1]) for colour, band in bands.items()
    }
    assert tall[ARM_COLOURS["mode"]] == pytest.approx(0.5)
    assert tall[ARM_COLOURS["moe"]] == pytest.approx(0.1)
    nodes = [patch.get_height() for patch in ax.patches if isinstance(patch, Rectangle)]
    assert nodes == pytest.approx([0.1, 0.7, 0.2, 0.5, 0.3, 0.2])
    said = captions.why.flow(record).text
    assert "5.00 % are repaired, 1.00 % go wrong that were right, 4.00 % stay wrong" in said
    assert sum(share for *_, share in data.why.flow(record).rows) == pytest.approx(0.1)


def test_contributions_are_drawn_with_their_intervals(compare_record: Build) -> None:
    record = compare_record(why=True)
    found = record["why"]["exchange"]
    ax = _axes(figures.exchange, record)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["experts", "gate", "both"]
    drawn = [list(line.get_xdata()) for line in ax.lines]
    for key in ("experts", "gate", "gain"):
        assert [found[key]["low"], found[key]["high"]] in drawn
        assert [found[key]["mean"]] in drawn
    assert data.why.exchange(record).rows[3] == (3, *(found[key]["scores"][3] for key in ("experts", "gate", "gain")))


def test_an_expert_that_was_never_paired_has_no_mark(compare_record: Build) -> None:
    record = compare_record(experts=3, why=True)
    ax = _axes(figures.parallel_study, record)
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["all", "expert 1 (33 %)", "expert 2 (33 %)", "expert 3 (33 %)"]
    marked = {round(float(line.get_ydata()[0])) for line in ax.lines if line.get_marker() == "D"}
    assert marked == {0, 2, 3}
    assert "2 of 2 experts are better" in captions.why.parallel_study(record).text


def test_the_course_of_training_is_drawn_as_recorded(compare_record: Build) -> None:
    record = compare_record(why=True)
    course = record["why"]["course"]
    ax = _axes(figures.narrow_vision_over_training, record)
    drawn = [list(line.get_ydata()) for line in ax.lines]
    for arm in ("moe", "mode"):
        for quantity in ("vision_whole", "vision_task"):
            assert course[arm][quantity] in drawn
    record["why"]["course"]["mode"]["homogenised"][-1] = 0.3
    assert "MoDE in 30 % of the seeds" in captions.why.similarity_over_training(record).text
    record["why"]["course"] = {}
    assert data.why.similarity_over_training(record).rows == []


def test_quantities_along_alpha_are_means_over_seeds(compare_record: Build) -> None:
    record = compare_record(seeds=2, grid=[0.0, 1.0], why=True)
    record["why"]["by_alpha"].update(cka=[[0.2, 0.8], [0.4, None]], agreement=[[0.5, 0.9], [0.7, 0.9]])
    ax = _axes(figures.similarity_against_alpha, record)
    means = [list(line.get_ydata()) for line in ax.lines if line.get_label() in ("CKA", "agreement")]
    assert means == [pytest.approx([0.3, 0.8]), pytest.approx([0.6, 0.9])]
    said = captions.why.similarity_against_alpha(record).text
    assert "CKA goes from 0.300 at α = 0 to 0.800 at α = 1" in said


def test_attention_is_ranked_by_domain_before_averaging(compare_record: Build) -> None:
    record = compare_record(seeds=2, experts=2, why=True)
    # In the second seed the two experts have changed places.
    record["why"]["by_alpha"]["shares"] = [[[0.8, 0.2]], [[0.1, 0.9]]]
    record["why"]["attention"] = {
        "columns": ["small", "large"],
        "moe": [[[0.0, 1.0], [0.3, 0.7]], [[0.3, 0.7], [0.0, 1.0]]],
        "mode": [[[0.2, 0.8], [0.3, 0.7]], [[0.3, 0.7], [0.2, 0.8]]],
        "picked_up": [[["small"], []], [[], ["small"]]],
    }
    names, arms = attention_of(record)
    assert names == ["small", "large"]
    assert arms["moe"] == [[0.0, 1.0], [0.3, 0.7]]
    assert ignored_columns(record) == {"moe": 0.5, "mode": 0.0}
    left, right = figures.attention(record).axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["large", "small"]
    assert [text.get_text() for text in right.texts] == ["0.80", "0.70", "0.20", "0.30"]
    assert column_rows(record) == [
        {"column": "small", "picked_up": 2, "moe": 0.5, "mode": 0.0},
        {"column": "large", "picked_up": 0, "moe": 0.0, "mode": 0.0},
    ]
    said = captions.why.attention(record).text
    assert "MoE’s 0.5 and MoDE’s 0.0" in said
    assert "small (2)" in said


def test_columns_are_told_as_far_as_the_attention_is_known(compare_record: Build) -> None:
    record = compare_record(seeds=2, experts=2, why=True)
    record["why"]["attention"]["moe"] = record["why"]["attention"]["mode"] = None
    assert column_rows(record) == []
    record["why"]["attention"] |= {"columns": ["a", "b"], "picked_up": [[[], []], [[], []]]}
    # An expert without a domain attends to nothing, and ignores nothing.
    record["why"]["attention"]["moe"] = [[[0.0, 1.0], [None, None]], [[0.5, 0.5], [0.01, 0.99]]]
    shares = {row["column"]: row["moe"] for row in column_rows(record)}
    assert shares == {"a": pytest.approx(2 / 3), "b": 0.0}
    assert ignored_columns(record) == {"moe": pytest.approx(2 / 3)}


@pytest.mark.parametrize("part", ["exchange", "flow", "course", "parallel", "attention"])
def test_a_reason_that_was_not_asked_for_leaves_the_rest(compare_record: Build, part: str) -> None:
    record = compare_record(seeds=2, why=True)
    record["why"][part] = None
    empty = {
        "exchange": [data.why.exchange],
        "flow": [data.why.flow],
        "course": [data.why.narrow_vision_over_training, data.why.similarity_over_training],
        "parallel": [data.why.parallel_study],
        "attention": [data.why.attention],
    }
    for name, collects in empty.items():
        for collect in collects:
            assert bool(collect(record).rows) == (name != part)
