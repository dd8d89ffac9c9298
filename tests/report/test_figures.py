from __future__ import annotations

import itertools
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from distilled_experts.errors import InvalidParameterError
from distilled_experts.report import captions, data, figures
from distilled_experts.report.figures.axes import visible_range

Build = Callable[..., dict[str, Any]]
OF_COMPARE = [
    figures.differences,
    figures.score_against_alpha,
    figures.own_domain_against_alpha,
    figures.learning_curves,
    figures.domains,
    figures.expert_domain_matrix,
    figures.contrasted_domains,
    figures.exchange,
    figures.flow,
    figures.parallel_study,
    figures.narrow_vision_over_training,
    figures.narrow_vision_against_alpha,
    figures.similarity_over_training,
    figures.similarity_against_alpha,
    figures.attention,
]
SIDE_BY_SIDE = [figures.expert_domain_matrix, figures.attention]
SEVERAL: list[dict[str, Any]] = [
    {"seeds": 1},
    {"experts": 1},
    {"task": "regression", "metric": "rmse", "scale": -54.2},
    {"experts": 20, "seeds": 3},
]
RECORDS = [{}, {"seeds": 1, "experts": 2, "grid": [0.0]}, *(pytest.param(o, marks=pytest.mark.slow) for o in SEVERAL)]


@pytest.mark.parametrize("options", RECORDS, ids=str)
@pytest.mark.parametrize("draw", OF_COMPARE, ids=lambda draw: draw.__name__)
def test_every_figure_of_every_record_is_valid_svg(
    compare_record: Build, draw: Callable[..., Figure], options: dict[str, Any]
) -> None:
    svg = figures.to_svg(draw(compare_record(**options, why=True)))
    root = ET.fromstring(svg)
    assert root.tag.endswith("svg")
    assert "<date" not in svg.lower()
    assert "matplotlib.org" not in svg


@pytest.mark.slow
@pytest.mark.parametrize("draw", OF_COMPARE, ids=lambda draw: draw.__name__)
def test_the_same_record_gives_the_same_bytes(compare_record: Build, draw: Callable[..., Figure]) -> None:
    assert figures.to_svg(draw(compare_record(why=True))) == figures.to_svg(draw(compare_record(why=True)))


def test_the_same_record_gives_the_same_bytes_in_another_process(compare_record: Build) -> None:
    code = (
        "import json, sys; from distilled_experts.report import figures; record = json.load(sys.stdin);"
        "sys.stdout.write(figures.to_svg(figures.domains(record)))"
    )
    record = compare_record()
    there = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(record), capture_output=True, text=True, check=True
    )
    assert there.stdout == figures.to_svg(figures.domains(record))


def test_settings_of_the_user_neither_matter_nor_change(compare_record: Build) -> None:
    record = compare_record()
    usual = figures.to_svg(figures.score_against_alpha(record))
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black", "svg.fonttype": "path", "axes.grid": True}):
        before = dict(mpl.rcParams)
        assert figures.to_svg(figures.score_against_alpha(record)) == usual
        assert dict(mpl.rcParams) == before


def test_no_window_library_is_loaded(sweep_record: Build) -> None:
    code = (
        "import json, sys; from distilled_experts.report import figures; record = json.load(sys.stdin);"
        "figures.to_svg(figures.alpha_by_experts(record)); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], input=json.dumps(sweep_record()), text=True, check=True)


@pytest.mark.parametrize("draw", [draw for draw in OF_COMPARE if draw not in SIDE_BY_SIDE])
def test_figures_are_drawn_on_given_axes(compare_record: Build, draw: Callable[..., Figure]) -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert draw(compare_record(why=True), right) is figure
    assert right.has_data()
    assert not left.has_data()


def test_scores_along_alpha_are_the_means_over_seeds(compare_record: Build) -> None:
    record = compare_record()
    scores = record["alpha_path"]["test_scores"]
    means = [sum(column) / len(column) for column in zip(*scores, strict=True)]
    (ax,) = figures.score_against_alpha(record).axes
    (line,) = [line for line in ax.lines if str(line.get_label()).startswith("MoDE")]
    assert list(line.get_ydata()) == pytest.approx(means)
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels[0] == "0\n·"
    assert labels[2] == "0.03\n5"
    (dense,) = [line for line in ax.lines if line.get_label() == "dense"]
    assert list(dense.get_ydata()) == pytest.approx([record["arms"]["dense"]["mean"]] * 2)


def test_many_values_of_alpha_do_not_overlap(compare_record: Build) -> None:
    grid = [0.0, *(10 ** (step / 4 - 3) for step in range(20))]
    record = compare_record(grid=grid, seeds=2)
    figure = figures.score_against_alpha(record)
    figure.draw_without_rendering()
    (ax,) = figure.axes
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    assert all(left.x1 <= right.x0 for left, right in itertools.pairwise(boxes))
    assert [label.get_text() for label in ax.get_xticklabels()][10] == f"{grid[10]:.3g} (1)"


def test_a_collapse_does_not_flatten_the_other_scores(sweep_record: Build) -> None:
    record = sweep_record()
    (ax,) = figures.alpha_by_experts(record).axes
    low, high = ax.get_ylim()
    interesting = [cell["mean"] for cell in record["cells"] if cell["alpha"] < 100]
    assert low < min(interesting) < max(interesting) < high
    assert high - low < 0.05
    assert [text.get_text() for text in ax.texts] == ["▼ 0.40"]


@pytest.mark.parametrize(
    ("measure", "key"),
    [("score", "scores"), ("own_domain", "own_domain"), ("similarity", "cka"), ("narrow_vision", "vision_whole")],
)
def test_a_sweep_is_drawn_against_alpha_and_against_the_number_of_experts(
    sweep_record: Build, measure: str, key: str
) -> None:
    record = sweep_record(experts=(2, 8), grid=[0.0, 0.1, 1.0])
    means = {(cell["experts"], cell["alpha"]): sum(cell[key]) / len(cell[key]) for cell in record["cells"]}
    for draw, names in ((figures.alpha_by_experts, ["E = 2", "E = 8"]), (figures.experts_by_alpha, ["α = 0"])):
        (ax,) = draw(record, measure=measure).axes
        lines = {line.get_label(): list(line.get_ydata()) for line in ax.lines}
        assert set(names) <= set(lines)
        for size in (2, 8) if draw is figures.alpha_by_experts else ():
            assert lines[f"E = {size}"] == pytest.approx([means[size, alpha] for alpha in (0.0, 0.1, 1.0)])
        for alpha in () if draw is figures.alpha_by_experts else (0.0, 0.1, 1.0):
            assert lines[f"α = {alpha:g}"] == pytest.approx([means[size, alpha] for size in (2, 8)])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["2", "8"]
    rows = data.sweep.swept(record, measure, "experts").rows
    assert {row[:2]: row[2] for row in rows} == pytest.approx(means)
    said = captions.sweep.against_experts(record, measure).text
    assert f"α = 0: {means[2, 0.0]:.3f} with 2 experts, {means[8, 0.0]:.3f} with 8 experts" in said
    assert data.sweep.swept(sweep_record(experts=(4,)), measure, "experts").rows == []


def test_a_sweep_has_no_other_measures(sweep_record: Build) -> None:
    with pytest.raises(InvalidParameterError, match="measure: 'agreement' is not allowed"):
        figures.experts_by_alpha(sweep_record(), measure="agreement")


def test_the_axis_is_cut_only_where_needed() -> None:
    assert visible_range([0.90, 0.91, 0.92, 0.93, 0.94]) is None
    assert visible_range([0.95, 0.95, 0.95, 0.95]) is None
    assert visible_range([0.95, 0.3]) is None
    assert visible_range([0.30, 0.95, 0.96, 0.97, 0.97], shown=[0.30]) is None
    assert visible_range([]) is None
    limits = visible_range([0.95, 0.96, None, 0.97, 0.30])
    assert limits is not None
    assert 0.90 < limits[0] < 0.95


def test_the_matrix_shows_ranked_means_and_outlines_the_diagonal(compare_record: Build) -> None:
    record = compare_record(seeds=2, experts=2)
    record["probing"]["moe"].update(
        shares=[[0.7, 0.3], [0.3, 0.7]], matrix=[[[0.91, 0.22], [0.33, 0.84]], [[0.84, 0.33], [0.22, 0.91]]]
    )
    left, right = figures.expert_domain_matrix(record).axes
    assert [text.get_text() for text in left.texts] == ["0.91", "0.22", "0.33", "0.84"]
    assert left.get_title(loc="left") == "MoE"
    assert right.get_title(loc="left") == "MoDE"
    cells, outlined = left.collections
    centres = [path.get_extents() for path in outlined.get_paths()]
    assert [(box.x0, box.y0) for box in centres] == [(-0.5, -0.5), (0.5, 0.5)]
    opacities = [colour[3] for colour in cells.get_facecolor()]
    assert opacities[0] > opacities[3] > opacities[2] > opacities[1]


def test_differences_show_mean_and_interval(compare_record: Build) -> None:
    record = compare_record()
    (ax,) = figures.differences(record).axes
    drawn = [list(line.get_xdata()) for line in ax.lines]
    gain = record["difference"]
    assert [gain["low"], gain["high"]] in drawn
    assert [gain["mean"]] in drawn
    assert gain["scores"] in drawn


def test_curves_with_missing_losses_are_drawn_without_them(compare_record: Build) -> None:
    record = compare_record()
    record["curves"]["mode"]["validation_loss"][3] = None
    (ax,) = figures.learning_curves(record).axes
    (line,) = [line for line in ax.lines if line.get_label() == "MoDE"]
    assert len(list(line.get_xdata())) == len(record["curves"]["mode"]["epoch"]) - 1
    assert ax.get_yscale() == "log"


def test_a_figure_of_another_record_is_refused(compare_record: Build, sweep_record: Build) -> None:
    with pytest.raises(InvalidParameterError, match="kind"):
        figures.alpha_by_experts(compare_record())
    with pytest.raises(InvalidParameterError, match="kind"):
        figures.domains(sweep_record())
