"""Every family in the table: the logits stay what they were, and the gradients are exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from moe_families import FAMILIES, has_balance_loss, table, tiny_family
from moe_oracle import assert_same, batch, gradients, kept_double
from torch import Tensor, nn
from transformers import DogeConfig, DogeForCausalLM

from distilled_experts import reference
from distilled_experts.errors import InvalidParameterError
from distilled_experts.transformers import attach
from distilled_experts.transformers.finding import find_mixtures
from distilled_experts.transformers.mixtures import Mixture

QUICK = ("deepseek_v3", "gpt_oss", "granitemoe", "dbrx", "jetmoe", "llama4", "switch_transformers", "nllb_moe")
PARAMETERS = [family if family in QUICK else pytest.param(family, marks=pytest.mark.slow) for family in FAMILIES]
TOP_1 = ("switch_transformers",)
# Their loops over experts mix precisions, with and without distillation.
NO_FLOAT64 = ("inkling2", "nemotron_h")
ALPHA = 0.7

pytestmark = pytest.mark.filterwarnings("ignore")  # configurations and missing kernels warn of many things


def interface(layer: nn.Module, hidden: Tensor, indices: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """All experts on all tokens, one expert a call, and the active ones of each token."""
    one = torch.ones_like(weights[:, :1])
    said = [
        type(layer).forward(layer, hidden, torch.full_like(indices[:, :1], i), one).reshape(len(weights), -1)
        for i in range(layer.num_experts)
    ]
    return torch.stack(said, 1), F.one_hot(indices, layer.num_experts).sum(1).bool()


def switch(layer: nn.Module, hidden: Tensor, one_hot: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    return torch.stack([expert(hidden) for expert in layer.values()], 1), one_hot[:, 0].bool()


def nllb(layer: nn.Module, hidden: Tensor, slots: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """A slot with a weight is the first expert's where its entry is 0, the second one's where it is 1."""
    said = torch.stack([layer.expert_0(hidden), layer.expert_1(hidden)], 1)
    runs = [((slots == i) & (weights > 0)).any(-1) for i in range(2)]
    return said, torch.stack(runs, -1)


def jetmoe(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    flat, said = x.reshape(-1, x.shape[-1]), []
    for up, down in zip(layer.input_linear.weight, layer.output_linear.weight, strict=True):
        gate, value = F.linear(flat, up).chunk(2, -1)
        said.append(F.linear(layer.activation(gate) * value, down))
    chosen = layer.router.layer(flat).topk(layer.router.top_k).indices
    return torch.stack(said, 1), F.one_hot(chosen, len(said)).sum(1).bool()


def llama4(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    flat, said = x.reshape(-1, x.shape[-1]), []
    for up, down in zip(layer.experts.gate_up_proj, layer.experts.down_proj, strict=True):
        gate, value = (flat @ up).chunk(2, -1)
        said.append((value * layer.experts.act_fn(gate)) @ down)
    chosen = F.linear(flat, layer.router.weight).topk(layer.top_k).indices
    return torch.stack(said, 1), F.one_hot(chosen, len(said)).sum(1).bool()


SPEAKERS: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "SwitchTransformersExperts": switch,
    "NllbMoeExperts": nllb,
    "JetMoeMoE": jetmoe,
    "Llama4TextMoe": llama4,
}


@contextmanager
def listening(mixtures: Sequence[Mixture], every_expert: bool) -> Iterator[list[tuple[Mixture, Tensor, Tensor]]]:
    """Collect what all experts say of each token, (T, E, D), and which of them are compared, (T, E)."""
    heard: list[tuple[Mixture, Tensor, Tensor]] = []

    def listen(mixture: Mixture) -> Callable[..., None]:
        speak = SPEAKERS.get(type(mixture.layer).__name__, interface)

        def hook(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            said, active = speak(layer, *args)
            heard.append((mixture, said, active.any(-1, True).expand_as(active) if every_expert else active))

        return hook

    handles = [mixture.layer.register_forward_hook(listen(mixture)) for mixture in mixtures]
    yield heard
    for handle in handles:
        handle.remove()


def inputs_of(family: str) -> dict[str, Tensor]:
    return batch("ragged", n_rows=4) | ({} if FAMILIES[family][0].endswith("Generation") else {"use_cache": False})


def wanted_gradients(model: nn.Module, inputs: dict[str, Any], every_expert: bool) -> dict[str, Tensor]:
    """Gradients of the model's own loss plus α times the mean of distillation, on a copy."""
    copy = deepcopy(model)
    labels, mask = inputs["labels"], inputs["attention_mask"].bool()
    encoder_decoder = copy.config.is_encoder_decoder
    n_labels = (labels if encoder_decoder else labels[:, 1:]).ne(-100).sum()
    with listening(find_mixtures(copy), every_expert) as heard:
        loss = copy(**inputs).loss
    assert heard
    for mixture, said, compared in heard:
        decoder = encoder_decoder and mixture.side == "decoder"
        counted = (labels.ne(-100) if decoder else mask).flatten()
        occupied = counted & compared.any(-1)
        mean = reference.mutual_distillation(said, None, counted, compared)
        loss = loss + ALPHA * mean * occupied.sum() / n_labels
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
        outputs.loss.backward()
    assert_same(gradients(model), wanted, 1e-3 if single else 1e-10)


@pytest.mark.parametrize("family", PARAMETERS)
def test_which_families_balance_the_load_themselves(family: str) -> None:
    model, inputs = tiny_family(family, torch.float32), inputs_of(family)
    without = model(**inputs).loss
    model.config.output_router_logits = True
    assert (model(**inputs, output_router_logits=True).loss != without) == has_balance_loss(family)


def test_the_documentation_has_the_table() -> None:
    page = Path(__file__).parents[2] / "docs" / "transformers.md"
    assert table() in page.read_text(encoding="utf-8")


def test_a_family_that_cannot_be_attached_says_why() -> None:
    config = DogeConfig(
        vocab_size=23, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, is_moe=True
    )
    with pytest.raises(InvalidParameterError, match="DogeCDMoE cannot be opened"):
        attach(DogeForCausalLM(config))


def test_what_the_adapters_do_not_do() -> None:
    with pytest.raises(InvalidParameterError, match="JetMoeMoE, which runs no other experts"):
        attach(tiny_family("jetmoe"), scope="all")
    with kept_double():
        model, inputs = tiny_family("llama4"), inputs_of("llama4")
        wanted = wanted_gradients(model, inputs, every_expert=True)
        attach(model, ALPHA, layers="all", distance="mse", scope="all")(**inputs).loss.backward()
    assert_same(gradients(model), wanted)
