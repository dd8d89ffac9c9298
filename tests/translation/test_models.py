"""Encoder-decoders: equal sizes, equal beginnings."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from distilled_experts.errors import InvalidParameterError
from distilled_experts.transformers.sizes import n_parameters
from distilled_experts.translation import ModelSettings, build_model, dense_settings

SMALL = ModelSettings(width=16, hidden=8)
NLLB = replace(SMALL, model="nllb-moe")
BATCH = {
    "input_ids": torch.tensor([[5, 6, 2], [7, 2, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]]),
    "decoder_input_ids": torch.tensor([[1, 8, 9], [1, 9, 0]]),
    "labels": torch.tensor([[8, 9, 2], [9, 2, -100]]),
}


@pytest.mark.parametrize("settings", [SMALL, NLLB])
def test_arms_of_a_seed_begin_with_the_same_weights(settings: ModelSettings) -> None:
    plain, distilled, other = (
        build_model(settings, 50, seed=seed, alpha=alpha).state_dict() for seed, alpha in ((0, 0.0), (0, 0.5), (1, 0.0))
    )
    assert plain.keys() == distilled.keys()
    assert all(torch.equal(value, distilled[name]) for name, value in plain.items())
    assert not torch.equal(plain["model.shared.weight"], other["model.shared.weight"])
    dense = build_model(dense_settings(settings), 50, seed=0).state_dict()
    shared = plain.keys() & dense.keys()
    assert {"model.shared.weight", "model.decoder.layers.1.self_attn.q_proj.weight"} <= shared
    assert all(torch.equal(plain[name], dense[name]) for name in shared if plain[name].shape == dense[name].shape)


@pytest.mark.parametrize("settings", [ModelSettings(), ModelSettings(model="nllb-moe")])
def test_feed_forwards_of_all_arms_start_at_the_scale_of_their_inputs(settings: ModelSettings) -> None:
    for form in (settings, dense_settings(settings)):
        weights = dict(build_model(form, 50, seed=0).named_parameters())
        maps = [p for n, p in weights.items() if n.endswith(("fc1.weight", "fc2.weight", "up_proj", "down_proj"))]
        assert maps
        for weight in maps:
            assert weight.detach().abs().max().item() == pytest.approx(weight.shape[-1] ** -0.5, rel=1e-3)


@pytest.mark.parametrize("settings", [SMALL, NLLB, ModelSettings(n_experts=8, hidden=64)])
def test_the_dense_network_is_as_large(settings: ModelSettings) -> None:
    sizes = [n_parameters(build_model(one, 500, seed=0)) for one in (settings, dense_settings(settings))]
    # Four feed-forwards, each at most four hidden units off.
    assert abs(sizes[0] - sizes[1]) <= 4 * 4 * (2 * settings.width + 1)


@pytest.mark.parametrize(("distilled", "expected"), [("first", [0]), ("all", [0, 1, 2, 3]), (-1, [3])])
@pytest.mark.parametrize("settings", [SMALL, NLLB])
def test_named_mixtures_distil_and_all_are_balanced(
    settings: ModelSettings, distilled: str | int, expected: list[int]
) -> None:
    model = build_model(replace(settings, distilled=distilled), 50, seed=0, alpha=0.5).train()
    outputs = model(**BATCH)
    assert list(outputs.distillation_losses) == expected
    assert float(outputs.distillation_loss) > 0
    outputs.loss.backward()
    routers = [value.grad for name, value in model.named_parameters() if "router" in name]
    assert len(routers) == 4
    assert all(grad is not None and grad.abs().sum() > 0 for grad in routers)


def test_a_dense_gate_activates_all_experts() -> None:
    model = build_model(replace(SMALL, top_k=None), 50, seed=0)
    assert model.config.mixtures["top_k"] == model.config.mixtures["n_experts"] == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "bert"}, "model: 'bert' is not allowed; allowed: marian, nllb-moe"),
        ({"heads": 3}, "heads: 3 is not allowed; allowed: divisors of the width 128"),
        ({"model": "nllb-moe", "top_k": 1}, "top_k: 1 is not allowed; allowed: 2 for nllb-moe"),
    ],
)
def test_bad_settings(options: dict, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        ModelSettings(**options)
