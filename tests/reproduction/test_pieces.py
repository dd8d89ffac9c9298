"""What pieces say of made records: verdicts, statements, and the tables behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from distilled_experts.errors import DataError, InvalidParameterError
from distilled_experts.experiments.statistics import difference
from distilled_experts.reproduction.changes import Change, mostly, over_sets, steady
from distilled_experts.reproduction.pieces.domains import evenness
from distilled_experts.reproduction.pieces.overview import steps_of
from distilled_experts.reproduction.registry import PIECES, find_piece
from distilled_experts.reproduction.studies import STUDIES
from distilled_experts.reproduction.study import Run, Study

SETS = [f"set{n}" for n in range(7)]
SEEDS = 4


def comparison(data: str, gain: float, seed: int, gate: str = "dense") -> dict[str, Any]:
    """A record in which MoDE is above MoE by `gain` on average, in all that it measures."""
    noise = np.random.default_rng(seed).normal(scale=0.001, size=SEEDS)
    plain, better = np.full(SEEDS, 0.9), 0.9 + gain + noise - noise.mean()
    arms = {"dense": plain - 0.01, "moe": plain, "mode": better}
    probing = {
        arm: {
            **dict.fromkeys(("own_domain", "routing_accuracy", "oracle"), scores.tolist()),
            **dict.fromkeys(("gate_error", "expert_error", "combination_error"), (1 - scores).tolist()),
        }
        for arm, scores in arms.items()
    }
    return {
        "data": data,
        "gate": gate,
        "metric": "accuracy",
        "seeds": SEEDS,
        "seconds": 1.5,
        "arms": {
            arm: {"scores": s.tolist(), "mean": s.mean(), "train_scores": [1.0] * SEEDS, "train_mean": 1.0}
            for arm, s in arms.items()
        },
        "probing": probing,
        "own_domain_difference": {"mean": gain},
        "alpha": [0.03] * SEEDS,
        "alpha_path": {"alpha": [0.0, 0.03], "own_domain": np.stack([plain, better], 1).tolist()},
    }


def verdicts(name: str, records: Sequence[dict[str, Any]]) -> list[bool | None]:
    return [claim.holds for claim in PIECES[name].find(records).claims]


@pytest.mark.parametrize("name", ["tabular-dense", "own-domain", "routing", "train-test", "error-types"])
def test_a_steady_gain_bears_out_every_statement(name):
    records = [comparison(data, 0.02, n) for n, data in enumerate(SETS)]
    assert all(verdicts(name, records))


@pytest.mark.parametrize("name", ["tabular-dense", "own-domain", "routing", "train-test", "error-types"])
def test_a_steady_loss_bears_out_none_but_that_on_the_dense_network(name):
    records = [comparison(data, -0.005, n) for n, data in enumerate(SETS)]
    assert not any(verdicts(name, records)[:2])


def test_few_sets_leave_chance_open():
    records = [comparison(data, 0.02, n) for n, data in enumerate(SETS[:2])]
    assert verdicts("tabular-dense", records)[:2] == [True, None]


def test_tables_of_a_gate_rest_on_the_runs_with_it():
    for gate in ("dense", "sparse"):
        (study,) = PIECES[f"tabular-{gate}"].studies
        assert {run.options["gate"] for run in (*study.runs, *study.quick)} == {gate}


def test_gates_of_a_set_are_averaged_before_the_test_over_sets():
    def change(data: str, gate: str, mean: float) -> Change:
        return Change(data, gate, difference([mean] * 2, [0.0] * 2, 0.0))

    doubled = [change(data, gate, 0.01 * (n + 1)) for n, data in enumerate(SETS) for gate in ("dense", "sparse")]
    assert over_sets("x", doubled).found == "p = 0.016 over 7 sets"
    assert over_sets("x", doubled, sign=-1).holds is False
    assert over_sets("x", [c for c in doubled if c.gate == "dense"]).found == over_sets("x", doubled).found


def test_steady_needs_four_of_five():
    assert mostly("x", [True] * 4 + [False]).holds
    assert not mostly("x", [True] * 3 + [False]).holds
    falling = [Change(data, "dense", difference([-0.01, -0.02], [0.0, 0.0], 0.0)) for data in SETS]
    assert [claim.holds for claim in steady("x", falling, sign=-1)] == [True, True]
    assert [claim.holds for claim in steady("x", falling)] == [False, False]


def sweep(gains: dict[float, float], data: str = "made", experts: tuple[int, ...] = (4,)) -> dict[str, Any]:
    cells = [
        {"experts": e, "alpha": alpha, "mean": 0.9 + gain, "se": 0.001, "own_domain_mean": 0.8 + gain}
        for e in experts
        for alpha, gain in {0.0: 0.0, **gains}.items()
    ]
    return {"data": data, "gate": "dense", "seconds": 1.0, "experts": list(experts), "cells": cells}


def test_an_inverted_u_is_seen_and_a_rising_curve_is_not():
    peaked, rising = ({0.01: 0.01, 0.1: 0.01, 1: 0.02, 100: last} for last in (-0.03, 0.03))
    assert verdicts("alpha", [sweep(peaked)]) == [True, True, True]
    assert verdicts("alpha", [sweep(rising)]) == [False, True, False]
    assert "| 1 |" in PIECES["alpha"].find([sweep(peaked)]).table.splitlines()[2]


def test_sweeps_of_one_set_are_drawn_together():
    records = [sweep({0.1: 0.01}, experts=(2, 4)), sweep({0.1: 0.02}, experts=(32,))]
    assert list(PIECES["experts"].find(records).figures) == ["made"]
    assert [claim.found for claim in PIECES["experts"].find(records).claims] == ["3 of 3", "1 of 2"]


def test_evenness_lies_between_one_expert_and_all():
    assert evenness([0.5, 0.5]) == pytest.approx(1)
    assert evenness([1.0, 0.0, 0.0]) == 0
    assert 0 < evenness([0.9, 0.1]) < 1


def test_the_overview_follows_what_the_result_depends_on():
    source = """
class Layer:
    def forward(self, x):
        scores_NE = self.gate(x)
        spare = self.unused(scores_NE)
        experts_NED = self._run(x, spare) if x is None else x
        output_ND, loss = combine(experts_NED, scores_NE, rows=x)
        return Result(output_ND, loss)
"""
    steps = steps_of(source, ("output", "loss"))
    assert [step.name for step in steps] == ["gate", "unused", "run", "combine"]
    assert steps[-1].takes == ("experts", "scores", "x")
    assert steps_of(source.replace("spare)", "x)"), ("output", "loss"))[1].name == "run"


@pytest.mark.parametrize(("name", "found"), [("figure4", "alpha"), ("table8", "attention"), ("alpha", "alpha")])
def test_pieces_are_found_by_id_and_number(name, found):
    assert find_piece(name).id == found


def test_an_unknown_piece_is_named_with_what_is_allowed():
    with pytest.raises(InvalidParameterError, match=r"^piece: 'table11' is not allowed; allowed: tabular-dense, "):
        find_piece("table11")


def test_names_of_studies_and_runs_are_unique():
    assert len({study.name for study in STUDIES}) == len(STUDIES)
    for study in STUDIES:
        for runs in (study.runs, study.quick):
            assert len({run.name for run in runs}) == len(runs)


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_damaged_record_is_named(tmp_path, text):
    study = Study("made", (Run("one", "compare"),))
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "one.json").write_text(text)
    with pytest.raises(DataError, match=r"one\.json"):
        study.read(tmp_path)


def losses(gate: str, **means: float) -> dict[str, Any]:
    arms = {
        name.replace("_plus_", " + "): {
            "scores": [mean - 0.01, mean + 0.01, mean],
            "own_domain": [0.9] * 3,
            "cka": [0.5] * 3,
            "strength": [0.1] * 3,
        }
        for name, mean in means.items()
    }
    return {"data": "made", "gate": gate, "seeds": 3, "seconds": 1.0, "arms": arms}


def test_an_arm_that_one_gate_lacks_is_compared_where_it_is():
    dense = losses("dense", MoE=0.8, MoDE=0.85, apart=0.84, MoDE_plus_apart=0.85)
    sparse = losses("sparse", MoE=0.8, MoDE=0.85, apart=0.84, balance=0.9, MoDE_plus_apart=0.85)
    found = PIECES["opposites"].find([dense, sparse])
    assert [(claim.holds, claim.found.split(";")[0]) for claim in found.claims] == [
        (False, "2 of 3"),
        (True, "0 differ"),
    ]
    assert "| balance | – | +10.00 | +10.00 | +5.00 |" in found.table


def test_a_variant_that_differs_everywhere_is_named():
    record = losses("dense", MoE=0.8, MoDE=0.85, worse=0.5, like=0.85)
    claims = PIECES["loss-variants"].find([record]).claims
    assert [claim.holds for claim in claims] == [False, False]
    assert claims[1].found == "1 do; best like (0.00), last worse (−35.00)"


def test_gates_of_a_set_count_once_in_its_ranks():
    records = [losses(gate, MoE=0.8, MoDE=0.85, other=0.84) for gate in ("dense", "sparse")]
    (axes,) = PIECES["loss-variants"].find(records).figures["ranks"]().axes
    assert "over 1 data set;" in axes.get_xlabel()


def trained(metric: str, gain: float, **others: Any) -> dict[str, Any]:
    found = {"mean": gain, "low": gain / 2, "high": 2 * gain, "p": 0.01, "detectable": gain, "scores": [gain] * 2}
    arms = {name: {"mean": 0.5 + gain * (name == "mode"), "seconds": 60.0} for name in ("dense", "moe", "mode")}
    heading = {"data": "made", "gate": "sparse", "metric": metric, "seeds": 2, "alpha": [0.1, 0.1], "arms": arms}
    own = {**found, "mean": 0.01, "low": 0.0, "high": 0.02, "scores": [0.01] * 2}
    return {**heading, "difference": found, "own_domain_difference": own, **others}


def test_bleu_is_in_points_already_and_accuracy_is_not():
    images = PIECES["images"].find([trained("accuracy", 0.02)])
    assert "| 52.00 | +2.00 (+1.00 to +4.00) |" in images.table
    translation = PIECES["translation"].find([trained("bleu", 0.02, pair="en-de")])
    assert "| made, en-de | sparse | 0.50 | 0.50 | 0.52 | +0.02 (+0.01 to +0.04) |" in translation.table
    for finding in (images, translation):
        assert "| +1.00 (0.00 to +2.00) | 1.0 |" in finding.table
        assert all(claim.holds for claim in finding.claims)


def test_data_types_that_were_not_run_leave_the_verdict_open():
    piece = PIECES["by-data-type"]
    claims = piece.find([comparison(SETS[0], 0.02, 0)], [], [], []).claims
    assert [claim.holds for claim in claims] == [True, None, None, None]
    claims = piece.find([], [trained("accuracy", -0.02)], [], []).claims
    assert [claim.holds for claim in claims] == [None, False, None, None]


def fit(
    data: str, peer: str, score: float | None, seed: int = 0, seconds: float = 1.0, log_loss: float | None = None
) -> dict[str, Any]:
    times = {f"{what}_seconds": {"cpu": seconds, "wall": 9.0} for what in ("fit", "predict")}
    outcome = {"failed": "killed"} if score is None else {"score": score, "log_loss": log_loss, **times}
    return {"data": data, "peer": peer, "seed": seed, "version": "1", "threads": 1, "process_seconds": 2.0, **outcome}


def test_peers_are_ranked_over_the_seeds_that_all_have_and_a_failure_is_last():
    records = [fit(data, "mode", 0.9) for data in SETS] + [fit(data, "mlp", 0.8) for data in SETS]
    records += [fit(SETS[0], "mlp", 1.0, seed=1), fit(SETS[0], "tabm", None), fit(SETS[1], "tabm", 0.95)]
    found = PIECES["tabular-peers"].find(records)
    assert "| estimator | average rank, 2 splits of 2 tables | average rank, log loss | spread |" in found.table
    assert "| MoDE | 1.50 | – | – | 1.00 | 1.00 | 0 |" in found.table
    assert "| TabM | 2.00 | – | – | 1.00 | 1.00 | 1 |" in found.table
    assert f"| {SETS[0]} † | 1 | **90.00** | 80.00 | failed |" in found.table
    assert f"| {SETS[2]} † | 1 | **90.00** | 80.00 | – |" in found.table
    assert f"- {SETS[0]}, seed 0, TabM: killed" in found.table
    assert [claim.holds for claim in found.claims] == [True, True, None, True, False]


def test_peers_with_more_splits_are_ranked_among_each_other_too():
    records = [fit(data, "mode", 0.8, seed) for data in SETS for seed in range(3)]
    records += [fit(data, "mlp", 0.7 + 0.2 * (seed > 0), seed) for data in SETS for seed in range(3)]
    records += [fit(data, "tabm", 0.6) for data in SETS]
    found = PIECES["tabular-peers"].find(records)
    table, best = found.table, found.claims[0]
    assert (best.holds, best.found) == (False, "1.00, MLP 2.00; 2.00, MLP 1.00")
    n = len(SETS)
    assert f"| average rank, {n} splits of {n} tables | average rank, {3 * n} splits of {n} tables |" in table
    assert "| MoDE | 1.00 | 2.00 | – |" in table
    assert "| MLP | 2.00 | 1.00 | – | 11.55 |" in table
    assert "| TabM | 3.00 | – | – |" in table


def test_the_lowest_log_loss_has_the_best_rank_and_regressions_have_none():
    peers = (("mode", 0.8, 0.3), ("mlp", 0.9, 0.4))
    records = [fit(data, peer, score, log_loss=loss) for data in SETS[1:] for peer, score, loss in peers]
    records += [fit(SETS[0], peer, score) for peer, score, _ in peers]
    accuracies, losses = PIECES["tabular-peers"].find(records).table.split("Log loss")
    assert "| MoDE | 2.00 | 1.00 |" in accuracies
    assert f"| {SETS[0]} † |" in accuracies
    assert f"| {SETS[1]} | 1 | **0.300** | 0.400 |" in losses
    assert SETS[0] not in losses


def test_times_of_peers_are_medians_of_ratios():
    records = [fit(data, "mode", 0.8, seconds=1.0) for data in SETS]
    records += [fit(data, "tabm", 0.7, seconds=t) for data, t in zip(SETS, (0.5, 3.0, *[4.0] * 20), strict=False)]
    found = PIECES["tabular-peers"].find(records)
    assert "| TabM | 2.00 | – | – | 4.00 | 4.00 | 0 |" in found.table
    assert [(claim.holds, claim.found) for claim in found.claims[2:]] == [
        (None, "not tried"),
        (True, "TabM × 4"),
        (True, "TabM × 4"),
    ]


def test_a_peer_that_is_far_ahead_is_named():
    records = [fit(data, peer, score) for data in SETS for peer, score in (("mode", 0.8), ("xgboost", 0.9))]
    best, significant, *_ = PIECES["tabular-peers"].find(records).claims
    assert (best.holds, best.found) == (False, "2.00, XGBoost 1.00")
    assert (significant.holds, significant.found) == (False, "ahead: XGBoost")
