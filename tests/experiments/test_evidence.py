"""What a comparison records of its mixtures beside their scores."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_wine

from distilled_experts import compare
from distilled_experts.experiments import large_tables
from distilled_experts.experiments.compare import Run, resolve, run_sweep
from distilled_experts.experiments.data import load_table
from distilled_experts.experiments.evidence import against_plain, explain
from distilled_experts.probing import ExpertOutputs
from distilled_experts.report import compare_text, report_html

OPTIONS = {"seeds": 3, "epochs": 8, "hidden": 8, "alpha": "0,0.1,3"}


@pytest.fixture(scope="module")
def record():
    X, y = load_wine(return_X_y=True, as_frame=True)
    return compare(X, y, **OPTIONS)


def outputs(*gates: list[int]) -> ExpertOutputs:
    """Expert i always says i; one mixture for each list of dominating experts."""
    weights = np.eye(2)[np.array(gates)]
    experts = np.broadcast_to(np.eye(2), (len(gates), len(gates[0]), 2, 2))
    return ExpertOutputs(experts, weights, weights)


def test_a_gate_that_becomes_right_explains_the_whole_gain():
    y = np.array([0, 1, 0, 1])
    found = against_plain(outputs([1, 0, 0, 1], [0, 1, 0, 1]), y, "classification")
    np.testing.assert_array_equal(found["exchange"], [[[0.5, 0.5], [0.5, 0.5]], [[0.5, 0.5], [1, 1]]])
    np.testing.assert_array_equal(found["flow"][1][:2, :2], [[0.5, 0], [0.5, 0]])
    np.testing.assert_allclose(found["adjusted_rand"], [1, -0.5])
    np.testing.assert_array_equal(np.diagonal(found["flow"][0]), [0.5, 0.5, 0, 0])


def model(seed: int, alpha: float, gate: float, experts: float, epochs: int) -> dict[str, object]:
    """A model whose gate and experts add to the score independently."""
    exchange = [[0.5, 0.5 + experts], [0.5 + gate, 0.5 + gate + experts]]
    flow = np.zeros((4, 4))
    flow[seed % 4, 0] = 1
    course = {name: [0.5] * epochs for name in ("vision_task", "vision_whole", "cka", "agreement", "homogenised")}
    named = {"shares": [1.0], "matrix": [[1.0]], "own_domain": 0.5, "adjusted_rand": 1.0, "homogenised": 0.0}
    named |= {"cka": None, "agreement": 1.0, "vision_task": 0.1, "vision_whole": 0.1}
    course |= {"epoch": list(range(1, epochs + 1)), "cka": [None] + [0.5] * (epochs - 1)}
    return {"seed": seed, "alpha": alpha, "exchange": exchange, "flow": flow.tolist(), "course": course, **named}


def test_contributions_are_separated_and_courses_end_where_the_first_one_ends():
    moe = [model(s, 0.0, 0, 0, epochs=4) for s in range(2)]
    mode = [model(s, 0.1, gate, 0.2, epochs=3 + s) for s, gate in enumerate([0.1, 0.3])]
    why = explain([moe, mode], moe, mode, test_share=0.5)
    means = {part: why["exchange"][part]["mean"] for part in ("gate", "experts", "gain")}
    assert means == pytest.approx({"gate": 0.2, "experts": 0.2, "gain": 0.4})
    assert why["exchange"]["gate"]["low"] < 0.2 < why["exchange"]["gate"]["high"]
    assert why["course"]["mode"]["epoch"] == [1, 2, 3]
    assert why["course"]["mode"]["cka"] == [None, 0.5, 0.5]
    np.testing.assert_array_equal(np.array(why["flow"]["shares"])[:2, 0], [0.5, 0.5])
    assert why["by_alpha"]["alpha"] == [0.0, 0.1]
    assert np.array(why["by_alpha"]["own_domain"]).shape == (2, 2)


def test_the_record_of_a_comparison_holds_it_all_as_json(record):
    why = json.loads(json.dumps(record, allow_nan=False))["why"]
    by_alpha = why["by_alpha"]
    assert by_alpha["alpha"] == [0.0, 0.1, 3.0]
    assert np.array(by_alpha["matrix"], dtype=float).shape == (3, 3, 4, 4)
    for name in ("cka", "agreement", "vision_task", "vision_whole", "homogenised", "adjusted_rand"):
        assert np.array(by_alpha[name], dtype=float).shape == (3, 3), name
    assert [row[0] for row in by_alpha["adjusted_rand"]] == [1, 1, 1]
    np.testing.assert_array_equal(np.array(by_alpha["vision_task"])[:, 0], np.array(by_alpha["vision_whole"])[:, 0])
    assert np.sum(why["flow"]["shares"]) == pytest.approx(1)
    assert why["parallel"] is why["attention"] is None


def test_it_agrees_with_the_rest_of_the_record(record):
    why, arms = record["why"], record["arms"]
    gain = why["exchange"]["gain"]
    assert gain["scores"] == pytest.approx(record["difference"]["scores"])
    assert why["by_alpha"]["own_domain"] == record["alpha_path"]["own_domain"]
    wrong = 1 - np.array(why["flow"]["shares"])[:, 0].sum()
    assert wrong == pytest.approx(1 - arms["mode"]["mean"])
    chosen = [why["by_alpha"]["alpha"].index(alpha) for alpha in record["alpha"]]
    shares = [by_seed[a] for by_seed, a in zip(why["by_alpha"]["shares"], chosen, strict=True)]
    assert shares == record["probing"]["mode"]["shares"]


def test_tables_of_too_many_numbers_are_left_out_and_the_page_says_so(monkeypatch):
    X, y = load_wine(return_X_y=True, as_frame=True)
    monkeypatch.setattr(large_tables, "_MOST_NUMBERS", 3 * 4 * 4)
    record = compare(X, y, **OPTIONS)
    assert record["why"]["by_alpha"]["matrix"] is None
    assert np.array(record["why"]["by_alpha"]["shares"]).shape == (3, 3, 4)
    assert np.array(record["probing"]["mode"]["matrix"], dtype=float).shape == (3, 4, 4)
    page = report_html(record)
    assert "left out, for they are too many numbers: scores of every expert on every domain at every α" in page
    # The domains still follow α, the scores on all domains are those at each seed's own α.
    assert page.count('data-name="domains-alpha-') == 3
    assert page.count('data-name="expert-domain-matrix"') == 1
    monkeypatch.setattr(large_tables, "_MOST_NUMBERS", 3 * 4 * 4 - 1)
    record = compare(X, y, **OPTIONS)
    assert record["probing"]["moe"]["matrix"] is None
    assert "expert-domain-matrix" not in report_html(record)
    assert "MoDE − MoE" in compare_text(record)


def test_large_tables_keep_four_decimals(record):
    matrix = np.array(record["why"]["by_alpha"]["matrix"], dtype=float)
    np.testing.assert_array_equal(matrix, matrix.round(4))
    shares = np.array(record["why"]["by_alpha"]["shares"])
    own = np.nansum(np.diagonal(matrix, axis1=-2, axis2=-1) * shares, axis=-1)
    np.testing.assert_allclose(own, record["why"]["by_alpha"]["own_domain"], atol=1e-4)


def test_regression_and_single_experts():
    X, y = load_diabetes(return_X_y=True)
    why = compare(X, y, seeds=2, epochs=3, hidden=4, alpha=0.1)["why"]
    assert why["exchange"]["gain"]["mean"] is not None
    assert compare(X, y, seeds=2, epochs=3, hidden=4, experts=1)["why"] is None


def test_a_sweep_says_how_alike_the_experts_are_and_what_they_learn_from():
    table = load_table("wine")
    specification = resolve(table, seeds=2, epochs=3, hidden=4, alpha="0,1")
    cells = run_sweep(Run(table, None, specification), [1, 2])["cells"]
    assert "cka" not in cells[0]
    assert [cell["alpha"] for cell in cells if cell["experts"] == 2] == [0.0, 1.0]
    for cell in cells[-2:]:
        assert len(cell["vision_whole"]) == len(cell["agreement"]) == 2
