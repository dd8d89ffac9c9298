"""Exported estimators: module, exported program and ONNX file against `predict` and `predict_proba`."""

from __future__ import annotations

import json
import sys

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError

from distilled_experts import MoDEClassifier, MoDERegressor
from distilled_experts.errors import DataError, MissingDependencyError
from distilled_experts.tabular.export import to_module, to_onnx
from distilled_experts.tabular.preprocessing import TablePreprocessor

FAST = {"max_iter": 8, "hidden": 8, "random_state": 0}
# Held-out rows make float32 features; a small table as a whole makes float64.
SINGLE = {**FAST, "early_stopping": True}
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
N = 60


def make_table() -> pd.DataFrame:
    """Numbers that float32 holds exactly and booleans; missing, constant and far-off ones among them."""
    rng = np.random.default_rng(0)
    numbers = (rng.integers(-64, 64, size=(N, 4)) / 16).astype(np.float64)
    numbers[rng.random((N, 4)) < 0.1] = np.nan
    numbers[3, 2] = 1e30
    flags = pd.array(rng.random(N) < 0.4, dtype="boolean")
    frame = pd.DataFrame(numbers, columns=list("abcd"))
    frame["far"] = 1e6 + rng.integers(16, size=N) / 16
    frame["constant"] = 7.0
    frame["constant or missing"] = np.where(rng.random(N) < 0.5, np.nan, -1.0)
    frame["missing"] = np.nan
    frame["flag"] = flags
    frame["flag or missing"] = pd.array(np.roll(flags, 1), dtype="boolean")
    frame.loc[5:9, "flag or missing"] = pd.NA
    return frame


TABLE = make_table()
SCORE = np.nan_to_num(TABLE["a"].to_numpy()) + np.asarray(TABLE["flag"], dtype=float)
CLASSES = np.digitize(SCORE, [-1.0, 1.5])
WORDS = np.where(SCORE > 0, "yes", "no")
TARGETS = np.column_stack([SCORE, 100 * TABLE["far"] - 1e8])
CASES = {
    "classes": (MoDEClassifier(**FAST), CLASSES),
    "sparse, words, float32": (MoDEClassifier(**SINGLE, gate="sparse", n_estimators=3), WORDS),
    "one expert": (MoDEClassifier(**FAST, n_experts=1, n_estimators=3), CLASSES),
    "two targets": (MoDERegressor(**FAST, n_estimators=3), TARGETS),
    "two targets, float32": (MoDERegressor(**SINGLE), TARGETS),
    "one target, top 1": (MoDERegressor(**FAST, gate="sparse", top_k=1), SCORE),
    "encoded numbers": (MoDEClassifier(**FAST, n_bins=5, n_estimators=2), CLASSES),
    "encoded numbers, float32": (MoDERegressor(**SINGLE, n_bins=5), SCORE),
    "one expert, one target, float32": (MoDERegressor(**SINGLE, n_experts=1), SCORE),
}


def tensor_of(table: pd.DataFrame, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.from_numpy(table.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)).to(dtype)


@pytest.fixture(scope="module", params=CASES)
def fitted(request):
    estimator, y = CASES[request.param]
    return estimator.fit(TABLE, y)


def check_parity(fitted, run) -> None:
    """`run` takes a tensor of rows and gives the outputs as arrays; so for many rows, one and none."""
    dtype = to_module(fitted).features.dtype
    x = tensor_of(TABLE, dtype)
    classifies = isinstance(fitted, MoDEClassifier)
    expected = fitted.predict_proba(TABLE) if classifies else fitted.predict(TABLE)
    size = 1.0 if classifies else np.abs(expected).max(0)
    for rows in (slice(None), slice(3, 4), slice(0, 2), slice(0)):
        outputs = run(x[rows])
        assert outputs[0].shape == expected[rows].shape
        assert (np.abs(outputs[0] - expected[rows]) <= TOLERANCE[dtype] * size).all()
        if classifies:
            np.testing.assert_array_equal(fitted.classes_[outputs[1]], fitted.predict(TABLE)[rows])


def arrays_of(outputs) -> list[np.ndarray]:
    return [output.numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]


def session_of(path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def test_module_predicts_what_the_estimator_predicts(fitted):
    module = to_module(fitted)
    check_parity(fitted, lambda x: arrays_of(module(x)))
    assert not module.training
    assert not list(module.parameters())


def test_exported_program_predicts_what_the_estimator_predicts(fitted):
    example = tensor_of(TABLE, to_module(fitted).features.dtype)
    program = torch.export.export(to_module(fitted), (example,), dynamic_shapes=({0: torch.export.Dim("rows")},))
    check_parity(fitted, lambda x: arrays_of(program.module()(x)))


def test_onnx_file_predicts_what_the_estimator_predicts(fitted, tmp_path):
    path = tmp_path / "new" / "model.onnx"
    to_onnx(fitted, path)
    assert [entry.name for entry in path.parent.iterdir()] == ["model.onnx"]
    onnx.checker.check_model(path, full_check=True)
    session = session_of(path)
    check_parity(fitted, lambda x: session.run(None, {"x": x.numpy()}))
    (given,) = session.get_inputs()
    single = to_module(fitted).features.dtype == torch.float32
    assert (given.shape[1], given.type) == (TABLE.shape[1], "tensor(float)" if single else "tensor(double)")
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["feature_names"]) == list(TABLE.columns)
    names = [output.name for output in session.get_outputs()]
    if isinstance(fitted, MoDEClassifier):
        assert names == ["probabilities", "label"]
        assert json.loads(metadata["classes"]) == fitted.classes_.tolist()
    else:
        assert names == ["prediction"]
        assert "classes" not in metadata


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("smooth_clip", [3.0, 0.001, 1e25, None])
def test_features_are_those_of_the_preprocessor_up_to_the_largest_numbers(dtype, smooth_clip):
    fitted = MoDEClassifier(**FAST).fit(TABLE, CLASSES)
    fitted.preprocessor_ = TablePreprocessor(dtype=dtype, smooth_clip=smooth_clip).fit(TABLE)
    extreme = TABLE.copy()
    extreme.loc[:5, "a"] = [3e38, -3e38, 1e-38, 0.0, 1e19, -1e10]
    features = to_module(fitted).features(tensor_of(extreme, getattr(torch, dtype)))
    assert features.dtype == getattr(torch, dtype)
    expected = fitted.preprocessor_.transform(extreme)
    np.testing.assert_allclose(features.numpy(), expected, rtol=2e-6 if dtype == "float32" else 1e-14, atol=1e-7)


def test_table_without_a_varying_column(tmp_path):
    X, y = np.ones((20, 2)), np.arange(20.0)
    fitted = MoDERegressor(**FAST).fit(X, y)
    to_onnx(fitted, tmp_path / "model.onnx")
    (prediction,) = session_of(tmp_path / "model.onnx").run(None, {"x": X[:3]})
    np.testing.assert_allclose(prediction, fitted.predict(X[:3]), rtol=1e-10)
    np.testing.assert_array_equal(to_module(fitted)(torch.ones(0, 2)), np.empty(0))


def test_a_loaded_model_exports_as_the_saved_one(tmp_path):
    fitted = MoDEClassifier(**FAST, gate="sparse").fit(TABLE, CLASSES)
    fitted.save(tmp_path / "model")
    loaded = MoDEClassifier.load(tmp_path / "model")
    x = tensor_of(TABLE)
    assert torch.equal(to_module(loaded)(x)[0], to_module(fitted)(x)[0])


def test_the_module_keeps_what_the_estimator_was():
    estimator = MoDERegressor(**FAST).fit(TABLE, SCORE)
    module, x = to_module(estimator), tensor_of(TABLE)
    before = module(x)
    with torch.no_grad():
        estimator.network_.hidden_weight.zero_()
    assert torch.equal(module(x), before)


def test_categories_text_and_dates_are_named():
    frame = pd.DataFrame({"number": np.arange(20.0), "city": pd.Categorical(["Ulm", "Bonn"] * 10)})
    frame["text"] = ["a", "b", "c", "d"] * 5
    frame["day"] = pd.date_range("2024-01-01", periods=20)
    fitted = MoDERegressor(**FAST).fit(frame, np.arange(20.0))
    message = r"columns 'city' \(category\), 'text' \(category\), 'day' \(date\) cannot be exported; encode them before"
    with pytest.raises(DataError, match=message):
        to_module(fitted)


def test_numbers_outside_single_precision_are_named():
    x, y = np.arange(40.0)[:, None], np.arange(40.0)
    with pytest.raises(DataError, match=r"X: column 0 .* in float32; rescale"):
        to_module(MoDERegressor(**SINGLE).fit(x * 1e-50, y))
    with pytest.raises(DataError, match=r"X: column 0 .* in float32; rescale"):
        to_module(MoDERegressor(**SINGLE).fit(x * 1e50, y))
    with pytest.raises(DataError, match=r"y \(.* in float32; rescale"):
        to_module(MoDERegressor(**SINGLE).fit(x, y * 1e50))
    to_module(MoDERegressor(**FAST).fit(x * 1e50, y * 1e-50))


@pytest.mark.parametrize("shape", [(3, 5), (3, 3), (4,)])
def test_input_of_another_shape(shape):
    module = to_module(MoDERegressor(**FAST).fit(np.eye(20, 4), np.arange(20.0)))
    with pytest.raises(DataError, match=r"x: shape .* allowed: \(n, 4\)"):
        module(torch.zeros(shape))


def test_unfitted_estimators(tmp_path):
    with pytest.raises(NotFittedError):
        to_module(MoDERegressor())
    with pytest.raises(NotFittedError):
        to_onnx(MoDERegressor(), tmp_path / "model.onnx")


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_missing_packages_are_named_with_the_extra(package, tmp_path, monkeypatch):
    fitted = MoDERegressor(**FAST).fit(np.eye(20, 4), np.arange(20.0))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'distilled-experts\[onnx\]'"):
        to_onnx(fitted, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_file_is_replaced_and_a_failure_leaves_nothing_behind(tmp_path):
    fitted = MoDERegressor(**FAST).fit(np.eye(20, 4), np.arange(20.0))
    path = tmp_path / "model.onnx"
    path.write_text("old")
    to_onnx(fitted, str(path))
    assert session_of(path).get_modelmeta().custom_metadata_map["feature_names"] == '["0", "1", "2", "3"]'
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        to_onnx(fitted, tmp_path / "folder")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder", "model.onnx"]
