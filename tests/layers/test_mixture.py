"""The mixture against the slow reference, and dense against sparse computation."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from distilled_experts import reference
from distilled_experts.errors import InvalidParameterError
from distilled_experts.functional import combine
from distilled_experts.layers import MixtureOfExperts, MoEOutput, Routing


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(**options: Any) -> MixtureOfExperts:
    sizes: dict[str, Any] = {"hidden": 5, "n_experts": 4, "dtype": torch.float64, "generator": seeded()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return MixtureOfExperts(3, 2, **(sizes | options))


def samples(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64).requires_grad_()


def slow(layer: MixtureOfExperts, x: Tensor, sample_weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The layer in plain words: every expert as a loop, the gate's choice as a mask."""
    scores = x @ layer.gate.weight.T + (0 if layer.gate.bias is None else layer.gate.bias)
    k = layer.gate.top_k or layer.n_experts
    weights, indices = reference.sparse_gate(scores, k, renormalise=layer.gate.renormalise)
    outputs = reference.mlp(layer.experts, layer.experts.activation, x)
    mask = torch.zeros(scores.shape, dtype=torch.bool).scatter(-1, indices, True)
    dense = torch.zeros_like(scores).scatter(-1, indices, weights)
    options = {"distance": layer.distance, "teacher": layer.teacher, "weighting": layer.weighting}
    output, loss = reference.combine(outputs, dense, mask, sample_weight=sample_weight, **options)
    if layer.scope == "all":
        loss = reference.mutual_distillation(outputs, dense, sample_weight, **options)
    if layer.shared is not None:
        output = output + reference.mlp(layer.shared, layer.shared.activation, x).sum(1)
    return output, loss


def compare(layer: MixtureOfExperts, x: Tensor, sample_weight: Tensor | None = None) -> MoEOutput:
    found = layer(x, sample_weight=sample_weight)
    output, loss = slow(layer, x, sample_weight)
    torch.testing.assert_close(found.output, output)
    torch.testing.assert_close(found.distillation_loss, loss)
    inputs = [x, *layer.parameters()]
    probe = torch.randn(output.shape, generator=seeded(2), dtype=output.dtype)
    a = torch.autograd.grad(
        (found.output * probe).sum() + found.distillation_loss,
        inputs,
        materialize_grads=True,
        retain_graph=True,
    )
    b = torch.autograd.grad((output * probe).sum() + loss, inputs, allow_unused=True)
    for one, other, parameter in zip(a, b, inputs, strict=True):
        # The slow form never meets the parameters of experts without samples.
        torch.testing.assert_close(one, torch.zeros_like(parameter) if other is None else other)
    return found


@pytest.mark.parametrize("activation", ["relu", "gelu", "swiglu"])
@pytest.mark.parametrize("top_k", [None, 1, 2, 4])
@pytest.mark.parametrize("n_shared", [0, 2])
def test_against_the_reference(activation: str, top_k: int | None, n_shared: int) -> None:
    compare(build(activation=activation, top_k=top_k, n_shared=n_shared), samples(7, 3))


@pytest.mark.parametrize(
    "options",
    [
        {"distance": "relative"},
        {"distance": "cosine", "teacher": "gate", "weighting": "gate"},
        {"distance": "kl", "outputs": "logits", "teacher": "leave_one_out"},
        {"renormalise": False, "teacher": "peers"},
        {"scope": "all"},
        {"bias": False},
    ],
)
@pytest.mark.parametrize("top_k", [None, 3])
def test_options_against_the_reference(options: dict[str, Any], top_k: int | None) -> None:
    weight = torch.rand(6, generator=seeded(3), dtype=torch.float64)
    compare(build(top_k=top_k, **options), samples(6, 3), weight)


@given(n=st.integers(1, 9), n_experts=st.integers(1, 6), k=st.integers(1, 6), seed=st.integers(0, 1000))
@settings(max_examples=25)
def test_sparse_equals_masked_dense(n: int, n_experts: int, k: int, seed: int) -> None:
    k = min(k, n_experts)
    layer = build(n_experts=n_experts, top_k=k, generator=seeded(seed))
    x = samples(n, 3, seed=seed)
    found = layer(x)
    outputs = layer.experts(x)
    output, loss = combine(outputs, found.routing.dense_weights(), found.routing.mask())
    assert loss is not None
    torch.testing.assert_close(found.output, output)
    torch.testing.assert_close(found.distillation_loss, loss)


@pytest.mark.parametrize("n_experts", [3, 9])
def test_all_experts_active_equals_dense(n_experts: int) -> None:
    sparse = build(n_experts=n_experts, top_k=n_experts)
    dense = build(n_experts=n_experts)
    x = samples(6, 3)
    a, b = sparse(x), dense(x)
    torch.testing.assert_close(a.output, b.output)
    torch.testing.assert_close(a.distillation_loss, b.distillation_loss)


@pytest.mark.parametrize("top_k", [None, 2])
def test_strength_zero_is_plain_to_the_bit(top_k: int | None) -> None:
    plain = build(top_k=top_k, distillation=False, dtype=torch.float32)
    distilled = build(top_k=top_k, dtype=torch.float32)
    x = samples(17, 3).float().detach()
    a, b = plain(x), distilled(x)
    assert a.distillation_loss is None
    assert torch.equal(a.output, b.output)
    a.output.square().sum().backward()
    (b.output.square().sum() + 0.0 * b.distillation_loss).backward()
    for one, other in zip(plain.parameters(), distilled.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.equal(one.grad, other.grad)


@pytest.mark.parametrize("top_k", [None, 2])
class TestInputs:
    def test_leading_axes(self, top_k: int | None) -> None:
        layer, x = build(top_k=top_k), samples(2, 3, 4, 3)
        weight = torch.rand(2, 3, 4, generator=seeded(), dtype=torch.float64)
        found = layer(x, sample_weight=weight, return_expert_outputs=True)
        flat = layer(x.reshape(-1, 3), sample_weight=weight.flatten(), return_expert_outputs=True)
        k = top_k or 4
        assert found.output.shape == (2, 3, 4, 2)
        assert found.expert_outputs.shape == (2, 3, 4, k, 2)
        assert found.routing.scores.shape == (2, 3, 4, 4)
        assert found.routing.weights.shape == (2, 3, 4, k)
        assert found.distillation_loss.shape == found.balance_loss.shape == found.z_loss.shape == ()
        torch.testing.assert_close(found.output.reshape(-1, 2), flat.output)
        for name in ("distillation_loss", "balance_loss", "z_loss"):
            torch.testing.assert_close(getattr(found, name), getattr(flat, name))

    def test_one_sample_without_axis(self, top_k: int | None) -> None:
        layer, x = build(top_k=top_k), samples(3)
        found = layer(x)
        assert found.output.shape == (2,)
        torch.testing.assert_close(found.output, layer(x.unsqueeze(0)).output[0])

    def test_empty_batch(self, top_k: int | None) -> None:
        layer, x = build(top_k=top_k, n_shared=1), samples(0, 3)
        found = layer(x)
        assert found.output.shape == (0, 2)
        assert found.distillation_loss == 0
        (found.output.sum() + found.distillation_loss + found.balance_loss).backward()
        assert all(p.grad is not None and not p.grad.any() for p in layer.parameters())

    def test_not_contiguous(self, top_k: int | None) -> None:
        x = samples(3, 14).detach().T[::2].requires_grad_()
        assert not x.is_contiguous()
        compare(build(top_k=top_k), x)

    def test_all_samples_on_one_expert(self, top_k: int | None) -> None:
        layer = build(top_k=top_k)
        with torch.no_grad():
            layer.gate.bias[2] = 100
        compare(layer, samples(5, 3))

    def test_order_of_samples_does_not_matter(self, top_k: int | None) -> None:
        layer, x = build(top_k=top_k), samples(9, 3)
        order = torch.randperm(9, generator=seeded())
        torch.testing.assert_close(layer(x[order]).output, layer(x).output[order])

    def test_order_of_experts_does_not_matter(self, top_k: int | None) -> None:
        layer, x = build(top_k=top_k), samples(9, 3)
        other = copy.deepcopy(layer)
        order = torch.randperm(4, generator=seeded(5))
        with torch.no_grad():
            for parameter in [*other.gate.parameters(), *other.experts.parameters()]:
                parameter.copy_(parameter[order].clone())
        a, b = layer(x), other(x)
        torch.testing.assert_close(a.output, b.output)
        torch.testing.assert_close(a.distillation_loss, b.distillation_loss)

    def test_bfloat16_and_autocast(self, top_k: int | None) -> None:
        layer = build(top_k=top_k, dtype=torch.bfloat16)
        found = layer(samples(5, 3).bfloat16())
        assert (found.output.dtype, found.distillation_loss.dtype) == (torch.bfloat16, torch.float32)
        layer = build(top_k=top_k, dtype=torch.float32)
        with torch.autocast("cpu"):
            found = layer(samples(5, 3).float())
        (found.output.float().sum() + found.distillation_loss).backward()
        assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in layer.parameters())


def test_active_and_others_are_compared() -> None:
    layer = build(top_k=1, scope="active+2")
    x = samples(50, 3)
    found = layer(x, return_expert_outputs=True)
    torch.testing.assert_close(found.output, build(top_k=1)(x).output)
    assert found.expert_outputs.shape == (50, 1, 2)
    assert found.distillation_loss > 0
    weights, indices = layer._compared(found.routing)
    assert indices is not None
    assert torch.equal(indices[:, :1], found.routing.indices)
    assert all(len(set(row)) == 3 for row in indices.tolist())
    assert not weights[:, 1:].any()
    everyone = build(top_k=1, scope="active+3")(x).distillation_loss
    torch.testing.assert_close(everyone, build(top_k=1, scope="all")(x).distillation_loss)


def test_scope_all_means_all_whatever_gate_a_mixture_is_given_later() -> None:
    x, layer = samples(6, 3), build(scope="all")
    sparse = build(top_k=2, scope="all")
    layer.load_state_dict(sparse.state_dict())
    layer.gate = sparse.gate
    torch.testing.assert_close(layer(x).distillation_loss, sparse(x).distillation_loss)


def test_expert_outputs_are_those_of_the_active_experts() -> None:
    x = samples(6, 3)
    expected = build(top_k=2)(x, return_expert_outputs=True).expert_outputs
    found = build(top_k=2, scope="all")(x, return_expert_outputs=True).expert_outputs
    torch.testing.assert_close(found, expected)
    assert build(top_k=2)(x).expert_outputs is None


def test_evaluation_has_no_loss_and_no_noise() -> None:
    x = samples(6, 3)
    layer = build(top_k=2, noise=1.0, scope="all")
    assert not torch.equal(layer(x).output, layer(x).output)
    layer.eval()
    first = layer(x)
    assert first.distillation_loss is None
    assert torch.equal(first.output, layer(x).output)


def test_forced_routing() -> None:
    layer, x = build(top_k=2).eval(), samples(6, 3)
    forced = Routing(torch.zeros(6, 4), torch.ones(6, 1), torch.full((6, 1), 3))
    torch.testing.assert_close(layer(x, routing=forced).output, layer.experts(x)[:, 3])


@pytest.mark.parametrize(("options", "advice"), [({"top_k": 1}, r"scope='active\+1'"), ({"n_experts": 1}, "two")])
def test_nothing_to_distil_warns_once(options: dict[str, Any], advice: str) -> None:
    sizes: dict[str, Any] = {"hidden": 5, "n_experts": 4} | options
    with pytest.warns(UserWarning, match=advice):
        layer = MixtureOfExperts(3, 2, **sizes)
    assert layer(torch.ones(5, 3)).distillation_loss == 0
    MixtureOfExperts(3, 2, **sizes, distillation=False)


@pytest.mark.parametrize(
    ("options", "parameter"),
    [
        ({"top_k": 5}, "top_k"),
        ({"top_k": 0}, "top_k"),
        ({"n_experts": 0}, "n_experts"),
        ({"hidden": 0}, "hidden"),
        ({"hidden": 2.5}, "hidden"),
        ({"n_shared": -1}, "n_shared"),
        ({"activation": "tanh"}, "activation"),
        ({"noise": -1.0}, "noise"),
        ({"noise": float("nan")}, "noise"),
        ({"distance": "kl"}, "distance"),
        ({"distance": "l1"}, "distance"),
        ({"teacher": "best"}, "teacher"),
        ({"outputs": "labels"}, "outputs"),
        ({"scope": "most"}, "scope"),
        ({"scope": "active+0"}, "scope"),
        ({"top_k": 2, "scope": "active+3"}, "scope"),
        ({"scope": "active+1"}, "scope"),
    ],
)
def test_bad_parameters(options: dict[str, Any], parameter: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        build(**options)
    assert caught.value.parameter == parameter
