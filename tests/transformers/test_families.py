"""Every family in the table: the logits stay what they were, and the gradients are exact."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers
from moe_families import FAMILIES, has_balance_loss, inputs_of, small, table, tiny_family
from moe_oracle import assert_same, gradients, kept_double
from moe_speakers import listening
from torch import Tensor, nn

from distilled_experts import reference
from distilled_experts.errors import InvalidParameterError
from distilled_experts.transformers import attach
from distilled_experts.transformers.finding import find_mixtures
from distilled_experts.transformers.mixtures import Mixture

QUICK = ("deepseek_v3", "gpt_oss", "granitemoe", "dbrx", "jetmoe", "llama4", "switch_transformers", "nllb_moe")
PARAMETERS = [family if family in QUICK else pytest.param(family, marks=pytest.mark.slow) for family in FAMILIES]
TOP_1 = ("switch_transformers", "zaya")
# Their loops over experts mix precisions, with and without distillation.
NO_FLOAT64 = ("ernie4_5_vl_moe", "inkling2", "nemotron_h", "openai_privacy_filter")
ALPHA = 0.7

pytestmark = pytest.mark.filterwarnings("ignore")  # configurations and missing kernels warn of many things


def task_loss(outputs: Any, inputs: dict[str, Any]) -> Tensor:
    """The model's own loss; that of tokens which the decoder is given, where it has none."""
    if "labels" in inputs:
        return outputs.loss
    return F.cross_entropy(outputs.logits.flatten(0, 1), inputs["decoder_input_ids"].flatten())


def n_labels_of(model: nn.Module, labels: Tensor) -> Tensor:
    """How many labels the model's loss is a mean over."""
    shifts = not (model.config.is_encoder_decoder or type(model).__name__.endswith("TokenClassification"))
    return (labels[:, 1:] if shifts else labels).ne(-100).sum()


def counted_of(mixture: Mixture, inputs: dict[str, Any], encoder_decoder: bool) -> Tensor:
    """Which of a mixture's tokens are no padding."""
    mask = inputs["attention_mask"].bool()
    if mixture.side == "decoder" and encoder_decoder:
        return inputs["labels"].ne(-100).flatten()
    if mixture.side == "decoder" and "decoder_input_ids" in inputs:
        return torch.ones_like(inputs["decoder_input_ids"]).bool().flatten()
    if "moe_mm_token_type_ids" in inputs:
        mask = mask[inputs["moe_mm_token_type_ids"].bool() == (mixture.side == "vision")]
    return mask.flatten()


def wanted_gradients(model: nn.Module, inputs: dict[str, Any], every_expert: bool) -> dict[str, Tensor]:
    """Gradients of the model's own loss plus α times the sum of distillation over the labels, on a copy."""
    copy = deepcopy(model)
    with listening(find_mixtures(copy), every_expert) as heard:
        loss = task_loss(copy(**inputs), inputs)
    assert heard
    for mixture, said, compared in heard:
        counted = counted_of(mixture, inputs, copy.config.is_encoder_decoder)
        n_tokens = (counted & compared.any(-1)).sum()
        divisor = n_labels_of(copy, inputs["labels"]) if "labels" in inputs else n_tokens
        loss = loss + ALPHA * reference.mutual_distillation(said, None, counted, compared) * n_tokens / divisor
    loss.backward()
    return gradients(copy)


@pytest.mark.parametrize("family", PARAMETERS)
def test_the_logits_stay(family: str) -> None:
    model, inputs = tiny_family(family, torch.float32), inputs_of(family)
    evaluated = model.eval()(**inputs).logits
    wanted = model.train()(**inputs).logits.detach()
    attach(model, layers="all")
    assert torch.equal(model.eval()(**inputs).logits, evaluated)
    found = model.train()(**inputs).logits.detach()
    assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.parametrize("family", PARAMETERS)
def test_the_gradients_are_exact(family: str) -> None:
    scope = "all" if family in TOP_1 else "active"
    single = family in NO_FLOAT64
    with kept_double():
        model, inputs = tiny_family(family, torch.float32 if single else torch.float64), inputs_of(family)
        wanted = wanted_gradients(model, inputs, scope == "all")
        attach(model, ALPHA, layers="all", distance="mse", scope=scope)
        outputs = model(**inputs)
        assert outputs.distillation_loss > 0
        loss = task_loss(outputs, inputs)
        (loss if "labels" in inputs else loss + outputs.distillation_loss).backward()
    assert_same(gradients(model), wanted, 1e-3 if single else 1e-10)


@pytest.mark.parametrize("family", PARAMETERS)
def test_which_families_balance_the_load_themselves(family: str) -> None:
    model, inputs = tiny_family(family, torch.float32), inputs_of(family)
    without = task_loss(model(**inputs), inputs)
    model.config.output_router_logits = True
    outputs = model(**inputs, output_router_logits=True)
    assert (task_loss(outputs, inputs) != without) == has_balance_loss(family)


def test_no_family_on_the_experts_interface_is_missing() -> None:
    models = Path(transformers.__file__).parent / "models"
    modules = models.glob("*/modeling_*.py")
    on_interface = {path.parent.name for path in modules if "\n@use_experts_implementation" in path.read_text("utf-8")}
    assert len(on_interface) >= 64
    assert on_interface <= FAMILIES.keys()


def test_the_documentation_has_the_table() -> None:
    page = Path(__file__).parents[2] / "docs" / "transformers.md"
    assert table() in page.read_text(encoding="utf-8")


CLOSED = {
    "DogeForCausalLM": ({"is_moe": True, "num_experts": 16}, "DogeCDMoE"),
    "LongcatFlashForCausalLM": ({"num_layers": 1, "expert_ffn_hidden_size": 16}, "LongcatFlashExperts"),
    "VitPoseBackbone": ({"num_experts": 2, "part_features": 4}, "VitPoseNaiveMoe"),
}


@pytest.mark.parametrize("name", CLOSED)
def test_a_family_that_cannot_be_attached_says_why(name: str) -> None:
    needed, experts = CLOSED[name]
    model_class = getattr(transformers, name)
    with pytest.raises(InvalidParameterError, match=f"{experts}.* cannot be opened"):
        attach(model_class(small(model_class.config_class, needed)))
    page = Path(__file__).parents[2] / "docs" / "transformers.md"
    assert f"`{experts}`" in page.read_text(encoding="utf-8")


def test_what_the_adapters_do_not_do() -> None:
    with pytest.raises(InvalidParameterError, match="JetMoeMoE, which runs no other experts"):
        attach(tiny_family("jetmoe"), scope="all")
    with kept_double():
        model, inputs = tiny_family("llama4"), inputs_of("llama4")
        wanted = wanted_gradients(model, inputs, every_expert=True)
        attach(model, ALPHA, layers="all", distance="mse", scope="all")(**inputs).loss.backward()
    assert_same(gradients(model), wanted)
