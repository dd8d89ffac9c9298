"""Records are made once, whole, by the named runs; other losses are trained as they say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from distilled_experts.experiments.data import load_table
from distilled_experts.functional import combine
from distilled_experts.reproduction.making.losses import loss_variants, opposites
from distilled_experts.reproduction.making.makers import Place, make_missing
from distilled_experts.reproduction.quick import in_small, quick_outcomes
from distilled_experts.reproduction.registry import PIECES
from distilled_experts.reproduction.studies import COMPARISONS, STUDIES
from distilled_experts.reproduction.study import Run, Study
from distilled_experts.tabular.network import StackedMixture
from distilled_experts.tabular.training import Rows, StackedTraining, TrainingSettings

SMALL = {"data": "wine", "seeds": 2, "epochs": 2, "hidden": 4}


def test_missing_records_are_made_and_others_left_alone(tmp_path):
    study = Study("made", (Run("new", "compare", SMALL), Run("old", "compare", {"data": "nothing"})))
    old = tmp_path / "results/made/old.json"
    old.parent.mkdir(parents=True)
    old.write_text("{}")
    lines: list[str] = []
    make_missing(study, tmp_path / "results", Place(tmp_path / "runs"), lines.append)
    assert [line.split(":")[0] for line in lines] == ["made/new"]
    assert old.read_text() == "{}"
    record = json.loads((tmp_path / "results/made/new.json").read_text())
    assert record["data"] == "wine"
    assert not {"why", "curves"} & set(record)
    assert [path.name for path in old.parent.iterdir() if path.suffix == ".part"] == []


def test_a_record_is_that_of_the_command(tmp_path, mode):
    run = Run("wine", "compare", SMALL)
    make_missing(Study("made", (run,)), tmp_path, Place(tmp_path / "runs"), lambda line: None)
    record = json.loads((tmp_path / "made/wine.json").read_text())
    status, out, _ = mode(*run.command.split()[1:], "--json", "--out", tmp_path / "other")
    assert status == 0
    assert json.loads(out)["arms"]["mode"]["scores"] == record["arms"]["mode"]["scores"]


@pytest.mark.parametrize("gate", ["dense", "sparse"])
def test_an_extra_loss_that_is_the_distillation_trains_the_same_models(gate):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 40, 5, generator=generator), torch.randint(3, (2, 40), generator=generator)
    rows, settings = Rows(x, y, [40, 40]), TrainingSettings(epochs=3, batch_size=16)

    def trained(alpha, extra):
        network = StackedMixture([0, 1], 2, 5, 3, n_experts=4, hidden=6, top_k=2 if gate == "sparse" else None)
        training = StackedTraining(
            network, torch.full((2, 2), alpha), rows, None, "classification", [0, 1], settings, extra_loss=extra
        )
        training.run()
        return network.hidden_weight

    def extra(out):
        return 0.3 * combine(out.experts, out.weights, out.active)[1]

    own, plain = trained(0.3, None), trained(0.0, None)
    assert torch.allclose(trained(0.0, extra), own, atol=1e-5)
    assert not torch.allclose(plain, own, atol=1e-3)


@pytest.mark.parametrize("gate", ["dense", "sparse"])
def test_arms_choose_among_their_own_members_and_plain_moe(gate):
    found = loss_variants(load_table("wine"), gate=gate, seeds=2, epochs=3)
    names = list(found["arms"])
    assert names[:3] == ["MoE", "MoDE", "relative"]
    assert ("all experts" in names) == (gate == "sparse")
    for arm in found["arms"].values():
        assert {len(arm[key]) for key in ("scores", "own_domain", "cka", "strength")} == {2}
        assert set(arm["strength"]) <= {0.0, 0.01, 0.1, 1.0}
    assert found["arms"]["MoE"]["strength"] == [0.0, 0.0]


def test_opposites_stand_alone_and_beside_mode_and_alpha_below_zero_is_there():
    found = opposites(load_table("wine"), gate="sparse", seeds=2, epochs=3)["arms"]
    assert {"negative α", "orthogonality", "MoDE + orthogonality", "load balance", "MoDE + load balance"} <= set(found)
    # With all experts active a load balance has nothing to balance.
    assert "load balance" not in opposites(load_table("wine"), seeds=1, epochs=1)["arms"]
    assert all(-0.1 <= strength <= 0 for strength in found["negative α"]["strength"])
    assert np.mean(found["MoDE"]["scores"]) > 0.3


def test_every_study_with_runs_has_quick_ones_or_says_that_there_are_none():
    without = {study.name for study in STUDIES if not study.quick}
    assert without == {"tabular-peers", "translation"}
    assert in_small(COMPARISONS).runs == COMPARISONS.quick
    assert in_small(replace(COMPARISONS, folder="elsewhere")).path(Path("r"), COMPARISONS.quick[0]).parts[:2] == (
        "r",
        "comparisons",
    )


@pytest.mark.slow
@pytest.mark.timeout(360)
def test_everything_runs_in_small(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines: list[str] = []
    outcomes = quick_outcomes(tmp_path / "quick", lines.append)
    assert set(outcomes) == set(PIECES)
    assert {path.name for path in tmp_path.iterdir()} == {"quick"}
    unknown = {name for name, outcome in outcomes.items() if outcome.finding is None}
    assert unknown == {"tabular-peers", "translation"}
    assert all(outcome.missing == 0 for outcome in outcomes.values())
    for outcome in outcomes.values():
        if outcome.finding is not None:
            for draw in outcome.finding.figures.values():
                assert draw().axes
