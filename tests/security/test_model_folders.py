"""Model folders of strangers: right checksums do not make them right."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save
from sklearn.datasets import load_diabetes

from distilled_experts import MoDERegressor
from distilled_experts.errors import ModelFolderError
from distilled_experts.experiments.models import load_model
from distilled_experts.tabular.model_folder import read_model
from distilled_experts.transformers.model_folders import check_model_folder

Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Arrays]:
    X, y = load_diabetes(return_X_y=True)
    folder = tmp_path_factory.mktemp("saved") / "model"
    MoDERegressor(hidden=4, max_iter=1, n_estimators=1, n_bins=4, random_state=0).fit(X, y).save(folder)
    return json.loads((folder / "model.json").read_text()), load((folder / "weights.safetensors").read_bytes())


def forge(folder: Path, description: dict[str, Any], arrays: Arrays) -> Path:
    """Write a model with checksums that are right."""
    folder.mkdir()
    weights = save(arrays)
    body = {key: value for key, value in description.items() if key != "sha256"}
    body["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    (folder / "model.json").write_text(json.dumps(body | {"sha256": digest}))
    (folder / "weights.safetensors").write_bytes(weights)
    return folder


def test_a_forged_model_without_a_change_is_loaded(saved: tuple[dict[str, Any], Arrays], tmp_path: Path) -> None:
    X, _ = load_diabetes(return_X_y=True)
    assert np.isfinite(load_model(forge(tmp_path / "model", *saved)).predict(X)).all()


def huge_layer(arrays: Arrays) -> Arrays:
    # Two tensors of a few hundred kilobytes would make a third of 16 GiB.
    shape = arrays["network.output_weight"].shape
    return arrays | {
        "network.hidden_bias": np.zeros((*shape[:3], 2**16), np.float32),
        "network.hidden_weight": np.zeros((*shape[:3], 2**16, 1), np.float32),
        "network.output_bias": np.zeros((*shape[:3], 2**16), np.float32),
    }


def source_out_of_reach(arrays: Arrays) -> Arrays:
    return arrays | {"network.encoding.source": arrays["network.encoding.source"] + 1000}


def other_types(arrays: Arrays) -> Arrays:
    return arrays | {"network.encoding.source": arrays["network.encoding.source"].astype(np.float32)}


def other_width(arrays: Arrays) -> Arrays:
    return {
        name: np.repeat(array, 2, axis=-1) if name in ("network.hidden_weight", "network.gate_weight") else array
        for name, array in arrays.items()
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (huge_layer, "weights: shapes .* do not fit together"),
        (source_out_of_reach, "encoding: pieces of other features"),
        (other_types, "encoding: shapes .* do not fit together"),
        (other_width, "of the network are not"),
    ],
)
def test_shapes_are_checked_before_memory_is_taken(
    change: Callable[[Arrays], Arrays], message: str, saved: tuple[dict[str, Any], Arrays], tmp_path: Path
) -> None:
    description, arrays = saved
    with pytest.raises(ModelFolderError, match=f"cannot be rebuilt.*{message}") as caught:
        load_model(forge(tmp_path / "model", description, change(arrays)))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("parameters", "device"), "meta"),
        (("parameters", "n_experts"), 2**40),
        (("parameters", "nonsense"), 1),
        (("fitted", "n_features_in_"), 3),
        (("target", "kind"), "classes"),
        (("preprocessor", "columns"), []),
        (("preprocessor", "dtype"), "O"),
        (("feature_names",), ["a"]),
    ],
    ids=lambda place: str(place)[:20],
)
def test_descriptions_are_checked(
    place: tuple[str, ...], value: object, saved: tuple[dict[str, Any], Arrays], tmp_path: Path
) -> None:
    description, arrays = json.loads(json.dumps(saved[0])), saved[1]
    inside = description
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    with pytest.raises(ModelFolderError):
        load_model(forge(tmp_path / "model", description, arrays))


def test_a_description_sets_only_what_is_fitted(saved: tuple[dict[str, Any], Arrays], tmp_path: Path) -> None:
    description = saved[0] | {"fitted": saved[0]["fitted"] | {"predict": "mine"}}
    assert callable(load_model(forge(tmp_path / "model", description, saved[1])).predict)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "1" * 5000, '"\\ud800"', "null", ""], ids=["deep", "long", "half", "null", "empty"]
)
def test_descriptions_that_are_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(text)
    (tmp_path / "weights.safetensors").write_bytes(b"")
    with pytest.raises(ModelFolderError):
        read_model(tmp_path)


def test_files_that_never_end_are_not_opened(saved: tuple[dict[str, Any], Arrays], tmp_path: Path) -> None:
    folder = forge(tmp_path / "model", *saved)
    (folder / "weights.safetensors").unlink()
    (folder / "weights.safetensors").symlink_to("/dev/zero")
    with pytest.raises(ModelFolderError, match="missing"):
        read_model(folder)
    (folder / "model.json").unlink()
    os.mkfifo(folder / "model.json")
    with pytest.raises(ModelFolderError, match="no regular file"):
        read_model(folder)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/b.safetensors", "..", None, 3])
def test_no_index_leads_out_of_its_folder(name: object, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {"a": "model-1.safetensors"}}))
    check_model_folder(tmp_path)
    path.write_text(json.dumps({"weight_map": {"a": "model-1.safetensors", "b": name}}))
    with pytest.raises(ModelFolderError, match="names files that are not in its folder"):
        check_model_folder(tmp_path)


def test_folders_of_transformers_hold_small_json(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(ModelFolderError, match=r"config\.json"):
        check_model_folder(tmp_path)


@pytest.mark.slow
def test_weights_of_transformers_are_never_unpickled_and_no_code_is_run(tmp_path: Path) -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from distilled_experts.transformers import load_swapped, swap

    model = swap(GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=2, n_head=2, vocab_size=11)), n_experts=2)
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        load_swapped(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for architectures in (None, [], ["os"], ["AutoModel"], [7]):
        (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": architectures}))
        with pytest.raises(ModelFolderError, match="no class of Transformers"):
            load_swapped(tmp_path)
