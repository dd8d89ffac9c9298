"""Dense feed-forwards become mixtures: what the model computes."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
import transformers
from dense_models import FAMILIES, TOKENS, answer, close, dense, mixtures_of, own_random_state, seeded
from torch import nn

from distilled_experts.transformers import swap


@pytest.fixture(autouse=True)
def fixed() -> Iterator[None]:
    with own_random_state():
        yield


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("name", FAMILIES)
def test_copies_compute_what_the_feed_forward_computed(name: str, dtype: torch.dtype, tolerance: float) -> None:
    model = dense(name, dtype)
    before = answer(model, name)
    swap(model, n_experts=4, perturbation=0)
    assert len(mixtures_of(model)) == FAMILIES[name].feed_forwards
    assert close(answer(model, name), before, tolerance)


@pytest.mark.parametrize("implementation", ["eager", "grouped_mm", "batched_mm"])
@pytest.mark.parametrize("name", ["t5", "t5_gated", "bart"])
def test_implementations_agree(name: str, implementation: str) -> None:
    model = swap(dense(name, torch.float32), n_experts=4, init="fresh")
    expected = answer(copy.deepcopy(model).double(), name)
    model.set_experts_implementation(implementation)
    assert close(answer(model, name), expected, 1e-5)


def test_widths_without_a_grouped_product() -> None:
    model = dense("t5", torch.float32, d_ff=25)
    before = answer(model, "t5")
    assert close(answer(swap(model, n_experts=4, perturbation=0), "t5"), before, 1e-6)
    assert model.config._experts_implementation == "grouped_mm"


@pytest.mark.parametrize("name", FAMILIES)
def test_noise_tells_the_copies_apart_and_moves_the_model_little(name: str) -> None:
    model = dense(name)
    before = answer(model, name)
    swap(model, n_experts=3, generator=seeded())
    for mixture in mixtures_of(model):
        for weight, _ in mixture.experts.maps():
            apart = (weight[0] - weight[1]).std() / weight.std()
            assert 0.01 < apart < 0.02  # √2 · 0.01
    assert 0 < (answer(model, name) - before).norm() / before.norm() < 0.02


def test_fresh_experts_are_drawn_as_linear_maps_are() -> None:
    model = swap(dense("bert"), n_experts=4, init="fresh", generator=seeded(3))
    again = swap(dense("bert"), n_experts=4, init="fresh", generator=seeded(3))
    for mixture, same in zip(mixtures_of(model), mixtures_of(again), strict=True):
        for (weight, bias), (weight_again, _) in zip(mixture.experts.maps(), same.experts.maps(), strict=True):
            bound = weight.shape[-1] ** -0.5
            for values in (weight, bias):
                assert 0.8 * bound < values.abs().max() <= bound
            assert torch.equal(weight, weight_again)
            assert not torch.equal(weight[0], weight[1])


def test_router_and_experts_agree_with_a_loop_over_tokens() -> None:
    model = swap(dense("llama"), n_experts=5, top_k=3, init="fresh")
    mixture = mixtures_of(model)[0]
    x = torch.randn(2, 4, 16, generator=seeded(), dtype=torch.float64)
    rows = []
    for token in x.reshape(-1, 16):
        scores = mixture.router.weight @ token
        chosen = scores.topk(3).indices
        gate, up = mixture.experts.gate_up_proj[chosen].unflatten(1, (2, -1)).unbind(1)
        hidden = nn.functional.silu(gate @ token) * (up @ token)
        said = torch.einsum("kdh,kh->kd", mixture.experts.down_proj[chosen], hidden)
        rows.append(scores[chosen].softmax(-1) @ said)
    assert close(mixture(x), torch.stack(rows).reshape(2, 4, 16), 1e-12)


def test_dropout_stays_where_it_was() -> None:
    bart = swap(dense("bart"), n_experts=2)
    layer = bart.model.encoder.layers[0]
    assert layer.fc2.experts.dropout.p == 0.1
    assert (layer.activation_dropout, layer.dropout) == (0.0, 0.2)
    t5 = swap(dense("t5"), n_experts=2)
    assert t5.encoder.block[0].layer[1].DenseReluDense.experts.dropout.p == 0.2
    gpt2 = swap(dense("gpt2", resid_pdrop=0.3), n_experts=2)
    assert gpt2.transformer.h[0].mlp.dropout.p == 0.3
    assert gpt2.transformer.h[0].mlp.c_proj.experts.dropout.p == 0.0


@pytest.mark.parametrize("name", ["bart", "t5_gated"])
def test_dropout_between_the_maps_is_that_of_the_dense_model(name: str) -> None:
    # One expert, so that both draw the same numbers in the same order.
    model = dense(name)
    swapped = swap(copy.deepcopy(model), n_experts=1, top_k=1, perturbation=0)
    answers = []
    for one in (model, swapped):
        torch.random.default_generator.manual_seed(7)
        answers.append(answer(one.train(), name))
    assert close(answers[1], answers[0], 1e-12)
    assert not close(answers[0], answer(model.eval(), name), 1e-3)


@pytest.mark.parametrize("name", ["t5", "gpt2"])
def test_generation(name: str) -> None:
    model = dense(name)
    before = model.generate(TOKENS, max_new_tokens=5, do_sample=False)
    after = swap(model, n_experts=3, perturbation=0).generate(TOKENS, max_new_tokens=5, do_sample=False)
    assert torch.equal(before, after)


def test_a_swapped_model_can_be_copied() -> None:
    model = swap(dense("gpt2"), n_experts=3)
    assert torch.equal(answer(copy.deepcopy(model), "gpt2"), answer(model, "gpt2"))


def test_the_dense_configuration_stays_dense() -> None:
    config = transformers.GPT2Config(**FAMILIES["gpt2"].options)
    first, second = (transformers.GPT2LMHeadModel(config) for _ in range(2))
    swap(first, n_experts=2)
    assert second.config.model_type == "gpt2"
    assert first.config is first.transformer.config is first.transformer.h[0].mlp.c_proj.experts.config
    assert first.config.model_type == "mode_gpt2"
