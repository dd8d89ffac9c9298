"""Swapped models are saved and loaded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import transformers
from dense_models import FAMILIES, ODD, Odd, answer, close, dense, mixtures_of, own_random_state
from transformers import AutoConfig, AutoModelForSeq2SeqLM

from distilled_experts.errors import ModelFolderError
from distilled_experts.transformers import load_swapped, swap, swapped_class
from distilled_experts.transformers.swap_mixture import FeedForwardMixture


@pytest.fixture(autouse=True)
def fixed() -> Iterator[None]:
    with own_random_state():
        yield


@pytest.mark.parametrize("name", ["t5_gated", "bart", "gpt2", "bert", "vit", "convnext"])
def test_saved_and_loaded(name: str, tmp_path: Path) -> None:
    model = swap(dense(name), layers=[0, -1], n_experts=3)
    model.save_pretrained(tmp_path)
    loaded, report = load_swapped(tmp_path, output_loading_info=True)
    assert not any(report.values())
    assert type(loaded) is type(model)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    weights = loaded.state_dict()
    assert all(torch.equal(weights[key], value) for key, value in model.state_dict().items())
    assert close(answer(loaded.eval(), name), answer(model, name), 1e-12)


def test_a_model_from_a_file_with_other_names_is_saved_with_its_own(tmp_path: Path) -> None:
    model = dense("vit")
    model.save_pretrained(
        tmp_path / "old", state_dict={f"old.{key}": value for key, value in model.state_dict().items()}
    )
    model = transformers.ViTForImageClassification.from_pretrained(tmp_path / "old", key_mapping={r"^old\.": ""})
    swap(model, n_experts=2).save_pretrained(tmp_path / "swapped")
    _, report = load_swapped(tmp_path / "swapped", output_loading_info=True)
    assert not any(report.values())


def test_a_class_and_a_form_of_ones_own_are_saved(tmp_path: Path) -> None:
    model = swap(Odd(transformers.GPT2Config(**FAMILIES["gpt2"].options)), n_experts=2, form=ODD)
    model.save_pretrained(tmp_path)
    assert isinstance(swapped_class(Odd).from_pretrained(tmp_path).odd, FeedForwardMixture)
    with pytest.raises(ModelFolderError, match=r"Odd is no class of Transformers; use swapped_class\(Odd\)"):
        load_swapped(tmp_path)


def test_values_that_a_file_lacks_are_drawn(tmp_path: Path) -> None:
    model = swap(dense("gpt2"), n_experts=3)
    state = {key: value for key, value in model.state_dict().items() if "h.1." not in key}
    model.save_pretrained(tmp_path, state_dict=state)
    loaded, report = load_swapped(tmp_path, output_loading_info=True)
    mixture = loaded.transformer.h[1].mlp.c_proj
    assert any("up_proj" in key for key in report["missing_keys"])
    assert mixture.experts.up_proj.abs().max() <= 0.25
    assert mixture.experts.up_proj.std() > 0.1


def test_automatic_classes_know_a_kind_of_model_after_it_was_swapped(tmp_path: Path) -> None:
    swap(dense("t5"), n_experts=2).save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).mixtures["n_experts"] == 2
    assert len(mixtures_of(AutoModelForSeq2SeqLM.from_pretrained(tmp_path))) == 4


@pytest.mark.slow
def test_a_new_process_registers_nothing_before_it_loads(tmp_path: Path) -> None:
    swap(dense("gpt2"), n_experts=2).save_pretrained(tmp_path)
    program = f"""
from transformers import CONFIG_MAPPING
from distilled_experts.transformers import load_swapped, swap
assert "mode_gpt2" not in CONFIG_MAPPING
model = load_swapped({str(tmp_path)!r})
assert "mode_gpt2" in CONFIG_MAPPING
print(type(model).__name__)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["GPT2LMHeadModel"]


def test_a_dense_model_is_not_loaded_as_a_swapped_one(tmp_path: Path) -> None:
    dense("gpt2").save_pretrained(tmp_path)
    with pytest.raises(ModelFolderError, match="'gpt2' was not swapped"):
        load_swapped(tmp_path)
