"""Runs: interrupted at any moment and taken up, they give what an undisturbed run gives."""

from __future__ import annotations

import json
import os
import signal

import pytest
from sklearn.datasets import load_diabetes, load_wine

from distilled_experts import compare
from distilled_experts.errors import DataError, InvalidParameterError, RunFolderError
from distilled_experts.experiments.compare import Run, resolve, run_comparison
from distilled_experts.experiments.data import load_table
from distilled_experts.experiments.records import RunFolder
from distilled_experts.experiments.runner import comparison_tasks
from distilled_experts.experiments.specification import Specification, parse_alpha
from distilled_experts.experiments.stacks import groups_per_stack
from distilled_experts.experiments.summary import chosen_models
from distilled_experts.tabular.training import TrainingSettings

OPTIONS = {"seeds": 2, "epochs": 6, "hidden": 8, "alpha": "0,0.1"}


@pytest.fixture(scope="module")
def wine():
    return load_table("wine")


def models_of(path) -> list[dict[str, object]]:
    lines = (path / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


@pytest.mark.parametrize(("stack", "epoch"), [("dense", 1), ("dense", 6), ("mixture", 1), ("mixture", 4)])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_goes_on_to_the_same_result(wine, tmp_path, stack, epoch, number):
    def interrupt(name: str, done: int, total: int) -> None:
        if name.startswith(stack) and done == epoch:
            os.kill(os.getpid(), number)

    run = Run(wine, None, resolve(wine, **OPTIONS), RunFolder(tmp_path / "broken"))
    with pytest.raises(KeyboardInterrupt):
        run_comparison(run, interrupt)
    assert not run.folder.done
    assert not (tmp_path / "broken/result.json").exists()
    resumed = Run(wine, None, run.specification, RunFolder(tmp_path / "broken"), resume=True)
    seen = []
    run_comparison(resumed, lambda name, done, total: seen.append((name.split(",")[0], done)))
    assert (stack, epoch) not in seen  # nothing is trained twice
    whole = Run(wine, None, run.specification, RunFolder(tmp_path / "whole"))
    run_comparison(whole)
    assert models_of(tmp_path / "broken") == models_of(tmp_path / "whole")
    assert not (tmp_path / "broken/checkpoint.safetensors").exists()


def test_a_run_is_not_continued_on_other_data(wine, tmp_path):
    other = load_table("wine")
    other.X.iloc[0, 0] += 1
    folder = RunFolder(tmp_path / "run")
    run_comparison(Run(wine, None, resolve(wine, **OPTIONS), folder))
    with pytest.raises(RunFolderError, match="fingerprint"):
        run_comparison(Run(other, None, resolve(other, **OPTIONS), folder, resume=True))


def test_a_finished_run_is_read_not_trained(wine, tmp_path):
    run = Run(wine, None, resolve(wine, **OPTIONS), RunFolder(tmp_path / "run"))
    first = run_comparison(run)

    def fail(*arguments: object) -> None:
        raise AssertionError(arguments)

    assert run_comparison(Run(wine, None, run.specification, run.folder, resume=True), fail) == first


def test_small_stacks_give_the_same_models_as_one_large_one(wine, monkeypatch):
    specification = resolve(wine, **OPTIONS)
    together = run_comparison(Run(wine, None, specification))
    monkeypatch.setattr("distilled_experts.experiments.stacks._STACK_BYTES", 1)
    assert groups_per_stack(specification, wine.X.size) == 1
    assert len(comparison_tasks(specification, wine)) == 4
    apart = run_comparison(Run(wine, None, specification))
    for arm in ("dense", "moe", "mode"):
        assert apart["arms"][arm]["scores"] == pytest.approx(together["arms"][arm]["scores"], abs=0.02)
        assert apart["arms"][arm]["epochs"] == together["arms"][arm]["epochs"]


def test_compare_takes_arrays_frames_and_its_record_shows_itself(tmp_path):
    X, y = load_wine(return_X_y=True, as_frame=True)
    from_frame = compare(X, y, **OPTIONS)
    from_arrays = compare(X.to_numpy(), y.to_numpy(), **OPTIONS)
    assert from_frame["arms"]["moe"]["scores"] == from_arrays["arms"]["moe"]["scores"]
    assert from_frame["run"] is None
    assert "MoDE" in from_frame._repr_html_()


def test_compare_respects_test_rows_and_groups():
    X, y = load_diabetes(return_X_y=True)
    record = compare(X[:300], y[:300], test=(X[300:], y[300:]), seeds=3, epochs=3, hidden=8, alpha=0.1)
    assert record["task"] == "regression"
    assert record["alpha"] == [0.1, 0.1, 0.1]
    grouped = compare(X[:300], y[:300], groups=[i // 10 for i in range(300)], seeds=2, epochs=2, hidden=8, alpha=0.1)
    assert "group" in grouped["split"]
    with pytest.raises(DataError, match="groups"):
        compare(X, y, groups=[1, 2])


def model(seed: int, alpha: float, validation_loss: float, test_score: float) -> dict[str, object]:
    named = {"seed": seed, "alpha": alpha, "validation_loss": validation_loss, "test_score": test_score}
    return {"arm": "mixture", **named}


def test_alpha_is_chosen_by_validation_loss_alone_and_the_smaller_one_where_losses_tie():
    models = [
        *(model(0, a, loss, score) for a, loss, score in [(0.0, 0.5, 0.9), (0.1, 0.4, 0.1), (1.0, 0.6, 1.0)]),
        *(model(1, a, loss, score) for a, loss, score in [(0.0, 0.4, 0.2), (0.1, 0.4, 0.9), (1.0, 0.5, 1.0)]),
    ]
    specification = Specification("x", "classification", "accuracy", alpha=(0.0, 0.1, 1.0))
    assert [m["alpha"] for m in chosen_models(models, specification)] == [0.1, 0.0]
    without_zero = Specification("x", "classification", "accuracy", alpha=(0.1, 1.0))
    assert [m["alpha"] for m in chosen_models(models, without_zero)] == [0.1, 0.1]


def test_plain_mixture_is_trained_even_if_the_grid_lacks_zero():
    specification = Specification("x", "classification", "accuracy", alpha=(0.3,))
    assert specification.alphas == (0.0, 0.3)


@pytest.mark.parametrize("value", ["", "0.1,x", -0.1, float("inf"), True, [], [0.1, None]])
def test_alpha_that_is_no_strength_is_refused(value):
    with pytest.raises(InvalidParameterError, match="alpha"):
        parse_alpha(value)


def test_one_seed_gives_a_record_without_intervals(wine):
    record = run_comparison(Run(wine, None, resolve(wine, **OPTIONS | {"seeds": 1})))
    assert record["difference"]["low"] is None
    assert record["arms"]["moe"]["se"] is None
    assert "One seed" in record["sentence"] or "one seed" in record["sentence"]


def test_summary_counts_every_seed_once(wine):
    record = run_comparison(Run(wine, None, resolve(wine, **OPTIONS)))
    path = record["alpha_path"]
    for s, alpha in enumerate(record["alpha"]):
        a = path["alpha"].index(alpha)
        assert record["arms"]["mode"]["scores"][s] == path["test_scores"][s][a]
        assert path["validation_loss"][s][a] == min(path["validation_loss"][s])
        assert record["arms"]["moe"]["scores"][s] == path["test_scores"][s][0]
        assert record["probing"]["mode"]["own_domain"][s] == path["own_domain"][s][a]
    assert record["difference"]["mean"] == pytest.approx(record["arms"]["mode"]["mean"] - record["arms"]["moe"]["mean"])


def test_specification_survives_its_record():
    specification = Specification("x", "regression", "r2", training=TrainingSettings(epochs=3))
    assert json.loads(json.dumps(specification.to_dict()))["training"]["epochs"] == 3


def test_large_tables_train_fewer_seeds_at_once():
    specification = Specification("x", "regression", "r2")
    assert groups_per_stack(specification, cells=10_000) == 10
    assert groups_per_stack(specification, cells=1_000_000 * 50) == 2
    assert groups_per_stack(specification, cells=10**12) == 1
