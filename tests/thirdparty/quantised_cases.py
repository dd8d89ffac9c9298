"""Attached models whose weights torchao holds in eight bits; runs where torchao can be imported."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import torch
from moe_oracle import assert_same, batch, count, expected, gradients, prepared, tiny
from safetensors.torch import load_file
from torch import Tensor, nn
from torchao.quantization import FqnToConfig, Int8WeightOnlyConfig
from transformers import AutoModelForCausalLM, TorchAoConfig

from distilled_experts.transformers import attach, detach, probe_tokens

ALPHA = 0.7
EIGHT_BITS = {
    "linear maps": Int8WeightOnlyConfig(),
    "experts": FqnToConfig({r"re:.*experts\.(gate_up_proj|down_proj)": Int8WeightOnlyConfig()}),
}


@pytest.fixture(params=EIGHT_BITS)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> nn.Module:
    """What from_pretrained makes of a saved model; only norms are trained."""
    prepared(tiny(dtype=torch.float32)).float().save_pretrained(tmp_path)
    quantised = TorchAoConfig(EIGHT_BITS[request.param])
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=quantised, dtype=torch.float32)
    # torchao has no other product of stacks.
    loaded.set_experts_implementation("eager")
    classes = {type(values).__name__ for values in loaded.parameters()}
    assert classes == {"Parameter", "Int8Tensor"}
    for name, values in loaded.named_parameters():
        values.requires_grad_("norm" in name)
    return loaded


def saved(model: nn.Module) -> dict[str, Tensor]:
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return load_file(Path(folder) / "model.safetensors")


def test_evaluation_and_saving_are_untouched(model: nn.Module) -> None:
    logits, wanted = model.eval()(**batch()).logits, saved(model)
    attach(model, ALPHA, layers="all")
    assert torch.equal(model(**batch()).logits, logits)
    found = saved(model)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(values, wanted[name]) for name, values in found.items())
    assert torch.equal(detach(model)(**batch()).logits, logits)


def test_gradients_go_through_quantised_weights(model: nn.Module) -> None:
    whole = batch("prompt")
    wanted = expected(model.train(), [whole], [count(whole)], alpha=ALPHA, layers=(0, 2))
    attach(model, ALPHA, layers=[0, 2], distance="mse")(**whole).loss.backward()
    assert_same(gradients(model), wanted, 1e-4)


def test_narrow_vision_needs_weights_that_can_be_read(model: nn.Module) -> None:
    quantised = type(model.model.layers[0].mlp.experts.down_proj).__name__ == "Int8Tensor"
    assert (probe_tokens(model, [batch()]).narrow_vision is None) == quantised
