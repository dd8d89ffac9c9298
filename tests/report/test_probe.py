"""The report of one probed model: figures, findings, page, terminal."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from distilled_experts.errors import InvalidParameterError
from distilled_experts.report import data, figures, probe_text, report_html, repr_html, write_figures
from distilled_experts.report.findings import findings
from distilled_experts.report.probe import composition_of

Build = Callable[..., dict[str, Any]]
OF_PROBE = [
    figures.domains,
    figures.expert_domain_matrix,
    figures.own_domain,
    figures.loss_matrix,
    figures.composition,
    figures.errors,
    figures.narrow_vision,
    figures.similarity,
]
RECORDS: list[Any] = [
    {"experts": 1},
    pytest.param({"experts": 20, "classes": tuple("abcdefghijklmnopqrstuvwxyz")}, marks=pytest.mark.slow),
    pytest.param({"task": "regression", "narrow_vision": None}, marks=pytest.mark.slow),
    {"classes": ("<script>", "a very long name of a class indeed", "$x$")},
]


@pytest.mark.parametrize("options", RECORDS, ids=lambda options: ",".join(options) or "usual")
@pytest.mark.parametrize("draw", OF_PROBE, ids=lambda draw: draw.__name__)
def test_every_figure_of_every_model_is_valid_svg(
    probe_record: Build, draw: Callable[..., Figure], options: dict[str, Any]
) -> None:
    assert ET.fromstring(figures.to_svg(draw(probe_record(**options)))).tag.endswith("svg")


class Probed:
    """An object that knows its record, as ``ProbeRecord`` does."""

    def __init__(self, record: dict[str, Any]) -> None:
        self.to_dict = lambda: record


def test_figures_and_pages_take_the_record_object(probe_record: Build) -> None:
    record = probe_record()
    assert figures.to_svg(figures.domains(Probed(record))) == figures.to_svg(figures.domains(record))
    assert report_html(Probed(record)) == report_html(record)


def test_figures_show_the_measures_with_their_intervals(probe_record: Build) -> None:
    record = probe_record(experts=3)
    (ax,) = figures.own_domain(record).axes
    lines = [list(map(float, line.get_ydata())) for line in ax.lines]
    own = {end: [record["matrix"][end][i][i] for i in range(3)] for end in ("value", "low", "high")}
    assert own["value"] in lines
    assert all([low, high] in lines for low, high in zip(own["low"], own["high"], strict=True))
    (ax,) = figures.domains(record).axes
    assert [patch.get_height() for patch in ax.patches] == pytest.approx(record["shares"]["value"])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "1", "2"]
    (ax,) = figures.errors(record).axes
    assert [patch.get_width() for patch in ax.patches] == [0.015] * 3


def test_log_losses_are_in_words_table_and_figure(probe_record: Build) -> None:
    record = probe_record(experts=2)
    page, text = report_html(record), probe_text(record, width=300)
    for found in (" ".join(findings(record)), text, page.replace("\N{NO-BREAK SPACE}", " ")):
        assert "Log loss of the mixture 0.120 (0.100 to 0.140); of each expert alone on its own domain 0.310" in found
    assert "Log loss there" in page
    assert "a probability of zero counts as" in page
    (ax,) = figures.loss_matrix(record).axes
    drawn = [float(label.get_text()) for label in ax.texts]
    assert drawn == pytest.approx(np.array(record["log_loss_matrix"]["value"]).ravel(), abs=0.006)
    assert data.model.loss_matrix(record).rows[0][2:] == pytest.approx((0.3, 0.28, 0.32))
    assert "og loss" in repr_html(record)


def test_where_no_loss_is_known_none_is_told(probe_record: Build) -> None:
    labels = probe_record(experts=2)
    labels["log_loss"] = labels["own_domain_log_loss"] = dict.fromkeys(("value", "low", "high"))
    labels["log_loss_matrix"] = {end: [[None, None]] * 2 for end in ("value", "low", "high")}
    for record in (labels, probe_record(task="regression")):
        assert data.model.loss_matrix(record).rows == []
        assert "og loss" not in report_html(record).partition("<script")[0]
        assert "log loss" not in probe_text(record)
    # One member of two gives probabilities.
    labels["log_loss_matrix"]["value"] = [[None, None], [0.5, None]]
    assert "Log loss of the mixture –" in " ".join(findings(labels))
    assert probe_text(labels).count("–") >= 3


@pytest.mark.parametrize("task", ["classification", "regression", "language"])
def test_a_terminal_of_80_columns_holds_the_experts(probe_record: Build, task: str) -> None:
    record = probe_record(task=task)
    if task == "language":
        record |= {name.replace("log_loss", "perplexity"): record[name] for name in list(record) if "log_loss" in name}
    text = probe_text(record)
    assert re.search(r"^3 .* 0\.5\d\d$", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 80


def test_subsets_are_named_for_what_they_are(probe_record: Build) -> None:
    for kind, record in {
        "class": probe_record(),
        "cluster of the inputs": probe_record(task="regression"),
        "subset": probe_record(subset_kind="subset"),
    }.items():
        (ax,) = figures.composition(record).axes
        assert ax.get_xlabel() == kind


def test_each_class_is_shared_out_among_the_experts(probe_record: Build) -> None:
    record = probe_record(experts=2, classes=("a", "b", "c"))
    record["composition"] = [[3, 0, 0], [1, 5, 0]]
    names, shares = composition_of(record)
    assert names == ["a", "b", "c"]
    assert shares == [[0.75, 0.0, None], [0.25, 1.0, None]]
    (ax,) = figures.composition(record).axes
    assert [text.get_text() for text in ax.texts] == ["0.75", "0.00", "–", "0.25", "1.00", "–"]


def test_the_numbers_behind_the_figures_are_handed_on(probe_record: Build) -> None:
    record = probe_record(experts=2, classes=("a", "b"))
    assert data.model.expert_domain_matrix(record).rows[1] == (
        0, 1, *(record["matrix"][end][0][1] for end in ("value", "low", "high")),
    )  # fmt: skip
    assert len(data.model.similarity(record).rows) == 1
    assert len(data.model.narrow_vision(record).rows) == 2 * 2 * 2
    assert data.model.narrow_vision(record | {"narrow_vision": None}).rows == []
    assert data.model.similarity(probe_record(experts=1)).rows == []


def test_findings_say_what_was_measured(probe_record: Build) -> None:
    found = " ".join(findings(probe_record()))
    assert "On 450 samples the mixture reaches accuracy 0.950 (0.930 to 0.970)" in found
    assert "4 experts, each alone on its own domain, 0.920 (0.900 to 0.940)" in found
    assert "On 99.0 % of the samples some expert is right; on 97.0 % of those" in found
    assert "Of the wrong answers (4.5 %): 33 % gate errors, 33 % expert errors, 33 % combination errors." in found
    assert "The experts differ: mean CKA 0.60, agreement 0.70." in found
    assert "0.20 of the whole loss, 0.20 of the task loss alone." in found


def test_findings_name_what_is_wrong(probe_record: Build) -> None:
    record = probe_record(experts=3)
    record["shares"]["value"] = [0.99, 0.0, 0.01]
    record["similarity"]["warning"] = "the experts have become alike"
    found = " ".join(findings(record))
    assert "experts 1, 2 have next to none" in found
    assert "The experts have become alike (mean CKA" in found
    for measure in record["errors"].values():
        measure["value"] = 0.0
    assert "No answer is wrong." in findings(record)


def test_one_expert_has_fewer_findings(probe_record: Build) -> None:
    found = " ".join(findings(probe_record(experts=1)))
    assert "1 expert, each" in found
    for word in ("routing", "differ", "domains hold", "Narrow-vision"):
        assert word not in found


def test_page_and_terminal_say_the_same(probe_record: Build) -> None:
    record = probe_record(data="sales", model="model/", target="churn", gate="sparse", top_k=2, notes=["3 rows"])
    page, text = report_html(record), " ".join(probe_text(record, width=500).split())
    plain = page.replace("\N{NO-BREAK SPACE}", " ")
    for finding in findings(record):
        assert finding in plain
        assert finding in text
    for words in ("sparse gate, top 2", "450 samples"):
        assert words in plain
        assert words in text
    assert "3 rows" in page
    assert "churn" in page


def test_it_is_said_which_of_several_mixtures_was_probed(probe_record: Build) -> None:
    several = probe_text({**probe_record(), "layer": "0", "layers": ["0", "1", "2"]}, width=500)
    assert "4 experts · mixture 0, one of 3" in several
    assert "one of" not in probe_text(probe_record(), width=500).splitlines()[0]


def test_notebooks_get_a_short_table(probe_record: Build) -> None:
    record = probe_record(data="<b>", sentence="never shown")
    html = repr_html(record)
    assert findings(record)[0] in html
    assert "accuracy on own domain" in html
    assert "0.9000 to 0.9400" in html
    assert "&lt;b&gt;" in html
    assert "Probed model" in repr_html(probe_record())


def test_figures_become_files(probe_record: Build, compare_record: Build, tmp_path: Path) -> None:
    written = write_figures(probe_record(), tmp_path / "new" / "figures")
    assert {path.name for path in written} == {path.name for path in (tmp_path / "new" / "figures").iterdir()}
    assert {path.stem for path in written} >= {"own-domain", "composition", "similarity"}
    for path in written:
        start = path.read_bytes()[:8]
        assert start == b"\x89PNG\r\n\x1a\n" if path.suffix == ".png" else start.startswith(b"<?xml")
    stepped = write_figures(compare_record(seeds=2, grid=[0.0, 0.5], why=True), tmp_path, ["svg"])
    assert tmp_path / "domains-alpha-0.5.svg" in stepped
    with pytest.raises(InvalidParameterError, match="kinds"):
        write_figures(probe_record(), tmp_path, ["gif"])
