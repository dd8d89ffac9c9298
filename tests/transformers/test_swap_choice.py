"""Which feed-forwards of a model are swapped, and which models cannot be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import transformers
from dense_models import FAMILIES, ODD, Odd, close, dense, own_random_state, seeded
from torch import nn

from distilled_experts.errors import DistilledExpertsError, InvalidParameterError
from distilled_experts.transformers import FeedForwardForm, swap
from distilled_experts.transformers.swap_mixture import FeedForwardMixture


@pytest.fixture(autouse=True)
def fixed() -> Iterator[None]:
    with own_random_state():
        yield


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"layers": "first"}, ["encoder.block.0.layer.1.DenseReluDense"]),
        ({"layers": [0, -1]}, ["encoder.block.0.layer.1.DenseReluDense", "decoder.block.1.layer.2.DenseReluDense"]),
        ({"layers": 1, "pattern": "decoder.*"}, ["decoder.block.1.layer.2.DenseReluDense"]),
    ],
)
def test_layers_and_pattern_choose(options: dict[str, Any], names: list[str]) -> None:
    model = swap(dense("t5"), n_experts=2, **options)
    assert [name for name, module in model.named_modules() if isinstance(module, FeedForwardMixture)] == names
    assert model.config.mixtures["feed_forwards"] == names


def test_a_form_names_the_pieces() -> None:
    model = Odd(transformers.GPT2Config(**FAMILIES["gpt2"].options))
    x = torch.randn(3, 16, generator=seeded())
    before = model.odd(x)
    swap(model, n_experts=2, form=ODD, perturbation=0, balance=0)
    assert model.config.mixtures["feed_forwards"] == ["odd"]
    assert close(model.odd(x), before, 1e-6)


def test_a_module_that_does_more_than_its_form_is_left_alone() -> None:
    model = Odd(transformers.GPT2Config(**FAMILIES["gpt2"].options))
    model.odd.factor = 0.5
    with pytest.raises(InvalidParameterError, match="feed-forwards of a known form"):
        swap(model, form=ODD)


def test_norms_between_the_pieces_are_not_overlooked() -> None:
    config = transformers.ConvNextV2Config(depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 16, 16])
    with pytest.raises(InvalidParameterError, match="feed-forwards of a known form"):
        swap(transformers.ConvNextV2ForImageClassification(config))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_experts": 0}, "n_experts: 0 is not allowed; allowed: whole numbers ≥ 1"),
        ({"n_experts": 4, "top_k": 5}, "top_k: 5 is not allowed; allowed: whole numbers from 1 to 4"),
        ({"init": "copy"}, "init: 'copy' is not allowed; allowed: upcycle, fresh"),
        ({"perturbation": -0.1}, "perturbation: -0.1 is not allowed; allowed: numbers ≥ 0"),
        ({"perturbation": float("nan")}, "perturbation: nan is not allowed; allowed: numbers ≥ 0"),
        ({"alpha": -1.0}, "alpha: -1.0 is not allowed; allowed: numbers ≥ 0"),
        ({"layers": [0, 7]}, "layers: [0, 7] is not allowed; allowed: first, all, numbers from -3 to 2"),
        ({"layers": []}, "layers: [] is not allowed; allowed: first, all, numbers from -3 to 2"),
        ({"layers": "last"}, "layers: 'last' is not allowed; allowed: first, all, numbers from -3 to 2"),
        ({"layers": [0.5]}, "layers: [0.5] is not allowed; allowed: first, all, numbers from -3 to 2"),
        (
            {"pattern": "encoder.*"},
            "pattern: 'encoder.*' is not allowed; allowed: wildcards that match one of transformer.h.0.mlp, "
            "transformer.h.1.mlp, transformer.h.2.mlp",
        ),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    model = dense("gpt2")
    with pytest.raises(InvalidParameterError) as error:
        swap(model, **options)
    assert str(error.value) == message
    assert model.config.model_type == "gpt2"  # untouched


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda: swap(dense("gpt2"), n_experts=2), "dense models; this one was swapped before"),
        (lambda: nn.Linear(2, 2), "models of Transformers"),
        (lambda: dense("gpt2").to("meta"), "models with their weights in memory"),
        (lambda: dense("gpt2").transformer.wte, "models of Transformers"),
    ],
)
def test_models_that_cannot_be_swapped(spoil: Callable[[], Any], message: str) -> None:
    with pytest.raises(DistilledExpertsError, match=message):
        swap(spoil())


def test_a_gated_form_is_whole() -> None:
    with pytest.raises(InvalidParameterError, match="True for a form with a gate"):
        FeedForwardForm(up="a", gate="b", activation="c", down="d")
