"""The estimators under scikit-learn's own suite, and what that suite does not ask."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_iris, make_classification
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from distilled_experts import MoDEClassifier, MoDERegressor
from distilled_experts.errors import DataError, InvalidParameterError, ModelFolderError
from distilled_experts.experiments.models import load_model
from distilled_experts.probing import probe
from distilled_experts.tabular.model_folder import write_model
from distilled_experts.tabular.saved import describe

FAST = {"max_iter": 15, "hidden": 8, "learning_rate": 0.02, "random_state": 0}


# numpy warns of the suite's own casts of NaN to integers.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
@parametrize_with_checks([MoDEClassifier(), MoDERegressor()])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.fixture
def mixed() -> tuple[pd.DataFrame, np.ndarray]:
    """Numbers, categories, nullable and missing values, booleans and dates."""
    rng = np.random.default_rng(0)
    n = 80
    frame = pd.DataFrame(
        {
            "number": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
            "whole": pd.array(rng.integers(5, size=n), dtype="Int64"),
            "city": pd.Categorical(rng.choice(["Ulm", "Bonn", "Köln"], n)),
            "text": rng.choice(["a", "b", None], n),
            "flag": pd.array(rng.random(n) < 0.5, dtype="boolean"),
            "day": pd.date_range("2024-01-01", periods=n),
        }
    )
    frame.loc[0, ["whole", "flag"]] = pd.NA
    return frame, np.where(frame["city"] == "Ulm", "south", "north")


def test_mixed_frames_and_unseen_categories(mixed):
    X, y = mixed
    classifier = MoDEClassifier(max_iter=60, random_state=0).fit(X, y)
    assert classifier.score(X, y) > 0.9
    new = X.astype({"city": object})
    new.loc[:5, "city"] = "Paris"
    assert np.isfinite(classifier.predict_proba(new)).all()
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(X.rename(columns={"city": "town"}))


def test_polars_frames_and_sparse_matrices_give_what_arrays_give():
    X, y = load_iris(return_X_y=True)
    expected = MoDEClassifier(**FAST).fit(X, y).predict_proba(X)
    frame = pl.DataFrame(X, schema=list("abcd"))
    np.testing.assert_array_equal(MoDEClassifier(**FAST).fit(frame, y).predict_proba(frame), expected)
    sparse = scipy.sparse.csr_array(X)
    np.testing.assert_array_equal(MoDEClassifier(**FAST).fit(sparse, y).predict_proba(sparse), expected)


@pytest.mark.parametrize(
    ("labels", "parameters"),
    [
        ([1, 2, 10], {"class_weight": {1: 1.0, 2: 2.0, 10: 3.0}}),
        ([False, True, True], {"class_weight": {False: 1.0, True: np.float64(2.0)}}),
        ([0, 1, 2], {"class_weight": {np.int64(0): 1, np.int64(1): 2, np.int64(2): 3}}),
        (["a", "b", "c"], {"class_weight": "balanced", "hidden": np.int64(5), "alpha": [np.float32(0.5), 0.25]}),
        ([0, 1, 2], {"early_stopping": np.bool_(False), "random_state": np.int64(3)}),
    ],
)
def test_saved_parameters_come_back_as_they_were(labels, parameters, tmp_path):
    X, y = load_iris(return_X_y=True)
    y = np.array(labels)[y]
    model = MoDEClassifier(**FAST).set_params(**parameters).fit(X, y)
    model.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert loaded.get_params() == model.get_params()
    np.testing.assert_array_equal(clone(loaded).fit(X, y).predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("estimator", [MoDEClassifier(**FAST), MoDERegressor(**FAST)])
def test_saved_models_predict_the_same_bits(estimator, mixed, tmp_path):
    X, y = mixed
    target = y if isinstance(estimator, MoDEClassifier) else np.arange(len(y)) * 0.1
    model = clone(estimator).set_params(n_estimators=2, gate="sparse").fit(X, target)
    model.save(tmp_path / "model")
    for twin in (load_model(tmp_path / "model"), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(twin.predict(X), model.predict(X))
        assert twin.get_params() == model.get_params()
        assert twin.alpha_ == model.alpha_
    with pytest.raises(ModelFolderError, match="already"):
        model.save(tmp_path / "model")
    model.save(tmp_path / "model", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def damage_weights(folder):
    data = bytearray((folder / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(data)


def truncate_weights(folder):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:50])


def change_description(folder):
    text = (folder / "model.json").read_text()
    (folder / "model.json").write_text(text.replace('"alpha_": ', '"alpha_": 1'))


def other_format(folder):
    body = json.loads((folder / "model.json").read_text()) | {"format": 99}
    (folder / "model.json").write_text(json.dumps(body))


def no_json(folder):
    (folder / "model.json").write_text("{")


def no_weights(folder):
    (folder / "weights.safetensors").unlink()


@pytest.mark.parametrize(
    "harm", [damage_weights, truncate_weights, change_description, other_format, no_json, no_weights]
)
def test_damaged_model_folders_are_named(harm, tmp_path):
    X, y = load_iris(return_X_y=True)
    MoDEClassifier(**FAST).fit(X, y).save(tmp_path / "model")
    harm(tmp_path / "model")
    with pytest.raises(ModelFolderError, match="model"):
        MoDEClassifier.load(tmp_path / "model")


def test_weights_with_scales_of_their_own_are_refused(tmp_path):
    X, y = load_iris(return_X_y=True)
    description, arrays = describe(MoDEClassifier(**FAST).fit(X, y))
    arrays["network.feature_scale"] = np.full((1, 1, 4), 2.0)
    write_model(tmp_path / "model", description, arrays, overwrite=False)
    with pytest.raises(ModelFolderError, match="scales"):
        MoDEClassifier.load(tmp_path / "model")


def test_a_model_of_another_kind_is_refused(tmp_path):
    X, y = load_iris(return_X_y=True)
    MoDEClassifier(**FAST).fit(X, y).save(tmp_path / "model")
    with pytest.raises(ModelFolderError, match="MoDERegressor"):
        MoDERegressor.load(tmp_path / "model")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("keep")
    with pytest.raises(ModelFolderError, match="something else"):
        MoDEClassifier(**FAST).fit(X, y).save(tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine/letter.txt").read_text() == "keep"


def test_more_members_are_averaged():
    X, y = load_iris(return_X_y=True)
    model = MoDEClassifier(**FAST, n_estimators=3).fit(X, y)
    scores = model._outputs(X).mixture
    assert scores.shape == (3, 150, 3)
    assert not np.allclose(scores[0], scores[1])
    members = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(X), members.mean(0))


def test_several_targets():
    X, y = load_diabetes(return_X_y=True)
    targets = np.stack([y, -2 * y + 3], axis=1)
    model = MoDERegressor(max_iter=100, random_state=0).fit(X, targets)
    assert model.predict(X).shape == targets.shape
    assert model.score(X, targets) > 0.5


def test_class_weights_act():
    X, y = make_classification(300, weights=[0.9], flip_y=0.2, random_state=0)
    plain = MoDEClassifier(**FAST).fit(X, y).predict(X).mean()
    balanced = MoDEClassifier(**FAST, class_weight="balanced").fit(X, y).predict(X).mean()
    assert balanced > plain + 0.05


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("n_experts", 2),
        ("hidden", 5),
        ("gate", "sparse"),
        ("alpha", 5.0),
        ("distance", "kl"),
        ("teacher", "gate"),
        ("alpha_schedule", "anneal"),
        ("n_estimators", 2),
        ("n_bins", 4),
        ("max_iter", 7),
        ("learning_rate", 0.1),
        ("batch_size", 32),
        ("weight_decay", 1.0),
        ("scale_features", False),
        ("validation_fraction", 0.5),
        ("random_state", 1),
        ("class_weight", {0: 5.0, 1: 1.0}),
        ("early_stopping", False),
        ("top_k", 1),
    ],
)
def test_every_parameter_acts(parameter, value):
    X, y = make_classification(200, 6, flip_y=0.2, random_state=0)
    base = {**FAST, "early_stopping": True, "alpha": 1.0, "learning_rate": 0.05, "max_iter": 40}
    base |= {"gate": "sparse", "top_k": 2} if parameter == "top_k" else {}
    plain = MoDEClassifier(**base).fit(X, y).predict_proba(X)
    changed = MoDEClassifier(**base | {parameter: value}).fit(X, y).predict_proba(X)
    assert not np.array_equal(plain, changed)


def test_callbacks_and_time_end_training():
    X, y = load_iris(return_X_y=True)
    seen = []
    MoDEClassifier(**FAST, callbacks=[lambda figures: seen.append(figures)]).fit(X, y)
    assert [figures["epoch"] for figures in seen] == list(range(1, 16))
    assert seen[-1]["train_loss"] < seen[0]["train_loss"]
    assert MoDEClassifier(**FAST, callbacks=[lambda figures: figures["epoch"] == 3]).fit(X, y).n_iter_ == 3
    assert MoDEClassifier(**FAST, max_time=1e-9).fit(X, y).n_iter_ == 1


def test_patience_ends_training_early():
    X, y = make_classification(200, 6, flip_y=0.2, random_state=0)
    base = {**FAST, "early_stopping": True, "learning_rate": 0.05, "max_iter": 60}
    impatient = MoDEClassifier(**base, n_iter_no_change=1).fit(X, y)
    patient = MoDEClassifier(**base, n_iter_no_change=30).fit(X, y)
    assert impatient.n_iter_ < patient.n_iter_


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("n_experts", 0),
        ("hidden", 1.5),
        ("gate", "soft"),
        ("top_k", 2),
        ("alpha", -1),
        ("alpha", "much"),
        ("alpha", [0.1, float("nan")]),
        ("alpha", []),
        ("weight_decay", []),
        ("distance", "l1"),
        ("teacher", "none"),
        ("learning_rate", 0),
        ("weight_decay", -1),
        ("weight_decay", "much"),
        ("scale_features", "some"),
        ("max_iter", 0),
        ("max_iter", "long"),
        ("validation_fraction", 1.0),
        ("early_stopping", "yes"),
        ("early_stopping", 1),
        ("scale_features", np.array([True, False])),
        ("device", "abacus"),
        ("alpha_schedule", "up"),
        ("max_time", 0),
    ],
)
def test_bad_parameters_are_named(parameter, value):
    X, y = load_iris(return_X_y=True)
    with pytest.raises(InvalidParameterError, match=parameter):
        MoDEClassifier(**{parameter: value}).fit(X, y)


def test_bad_data_is_named():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="at least one non-zero"):
        MoDEClassifier(**FAST).fit(X, y, sample_weight=np.zeros(150))
    with pytest.raises(ValueError, match="kl"):
        MoDERegressor(**FAST, distance="kl").fit(X, y)
    with pytest.raises(DataError, match="not seen"):
        MoDEClassifier(**FAST).fit(X[:100], y[:100], eval_set=(X, y))


def test_it_works_inside_scikit_learns_tools():
    X, y = load_iris(return_X_y=True, as_frame=True)
    columns = make_column_transformer((StandardScaler(), list(X.columns[:2])), remainder="passthrough")
    pipeline = make_pipeline(columns, MoDEClassifier(**FAST))
    search = GridSearchCV(pipeline, {"modeclassifier__n_experts": [1, 3]}, cv=2).fit(X, y)
    assert search.best_score_ > 0.6
    assert cross_val_score(MoDEClassifier(**FAST), X, y, n_jobs=2, cv=2).min() > 0.6


def test_each_mixture_of_an_estimator_can_be_probed():
    X, y = load_iris(return_X_y=True)
    classifier = MoDEClassifier(**FAST, n_estimators=2).fit(X, y)
    first, second = (classifier.probe(X, y, layer=i) for i in range(2))
    assert first.layers == ("0", "1")
    assert (first.layer, second.layer) == ("0", "1")
    assert not np.array_equal(first.matrix, second.matrix)
    assert classifier.probe(X, y).to_dict() == first.to_dict() == probe(classifier, X, y).to_dict()
    with pytest.raises(InvalidParameterError, match="layer: 2 is not allowed"):
        classifier.probe(X, y, layer=2)


def test_probed_mixture_is_the_one_that_predicts():
    X, y = load_iris(return_X_y=True, as_frame=True)
    classifier = MoDEClassifier(**FAST, alpha=0.5).fit(X, y)
    record = classifier.probe(X, y)
    assert record.score == classifier.score(X, y)
    assert record.subsets == ("0", "1", "2")
    assert record.narrow_vision.alpha == 0.5
    assert record.narrow_vision.whole.index < record.narrow_vision.task.index


def test_probing_a_regressor_takes_targets_in_their_own_units():
    X, y = load_diabetes(return_X_y=True)
    regressor = MoDERegressor(**FAST, n_estimators=1).fit(X, 1000 + y)
    record = regressor.probe(X, 1000 + y, subsets="target")
    assert record.score == pytest.approx(regressor.score(X, 1000 + y), abs=1e-6)
    assert record.subsets[0].startswith("below 1")
    np.testing.assert_allclose(record.composition.sum(1) / len(y), record.shares)
