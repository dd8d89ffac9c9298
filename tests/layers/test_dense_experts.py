"""All experts on all rows: the fast ways against plain autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from distilled_experts.layers import Experts, dense_experts
from distilled_experts.layers.activations import ACTIVATIONS, Activation
from distilled_experts.layers.dense_experts import run_all

ACTIVATION_NAMES: tuple[Activation, ...] = ("relu", "gelu", "swiglu")


@pytest.fixture(params=["all at once", "two by two", "one by one"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "all at once":
        monkeypatch.setattr(dense_experts, "_CHUNK_BYTES", 0)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 1 if request.param == "one by one" else 2)


def make(activation: Activation, bias: bool = True) -> tuple[Tensor, Experts]:
    generator = torch.Generator().manual_seed(0)
    experts = Experts(
        5, 3, hidden=4, n_experts=3, activation=activation, bias=bias, generator=generator, dtype=torch.float64
    )
    return torch.randn(7, 5, dtype=torch.float64, generator=generator, requires_grad=True), experts


def plain(x: Tensor, experts: Experts) -> Tensor:
    """The oracle: one sample and one expert at a time."""
    bias = experts.up_bias is not None
    rows = [
        [
            experts.down[e]
            @ ACTIVATIONS[experts.activation].apply(experts.up[e] @ row + (experts.up_bias[e] if bias else 0), -1)
            + (experts.down_bias[e] if bias else 0)
            for e in range(len(experts.up))
        ]
        for row in x
    ]
    return torch.stack([torch.stack(row) for row in rows])


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_values_and_gradients(activation: Activation, bias: bool) -> None:
    x, experts = make(activation, bias)
    found, expected = experts(x), plain(x, experts)
    assert found.stride() == (1, 21, 7)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    upstream = torch.randn(7, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    inputs = [x, *experts.parameters()]
    oracle = torch.autograd.grad(expected, inputs, upstream)
    for one, other in zip(torch.autograd.grad(found, inputs, upstream), oracle, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        assert torch.equal(experts(x), found)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_gradients_of_gradients(activation: Activation) -> None:
    x, experts = make(activation)
    assert torch.autograd.gradgradcheck(
        lambda *inputs: run_all(inputs[0], type(experts.maps)(*inputs[1:]), activation), [x, *experts.maps]
    )


@pytest.mark.usefixtures("way")
def test_no_rows() -> None:
    x, experts = make("swiglu")
    out = experts(x[:0])
    assert out.shape == (0, 3, 3)
    out.sum().backward()
    assert all(not parameter.grad.any() for parameter in experts.parameters() if parameter.grad is not None)


@pytest.mark.usefixtures("way")
def test_rows_with_gaps_in_memory() -> None:
    x, experts = make("gelu")
    wide = x.detach().repeat_interleave(2, -1)[:, ::2]
    assert not wide.is_contiguous()
    torch.testing.assert_close(experts(wide), experts(x), rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("way")
def test_frozen_experts_give_gradients_of_rows_alone() -> None:
    x, experts = make("relu")
    expected = torch.autograd.grad(experts(x).square().sum(), x)
    experts.requires_grad_(False)
    experts(x).square().sum().backward()
    torch.testing.assert_close(x.grad, expected[0])
    assert all(parameter.grad is None for parameter in experts.parameters())


def test_gradients_of_each_sample() -> None:
    x, experts = make("swiglu")
    parameters = {name: parameter.detach() for name, parameter in experts.named_parameters()}

    def loss(parameters: dict[str, Tensor], row: Tensor) -> Tensor:
        outputs: Tensor = functional_call(experts, parameters, row.unsqueeze(0))
        return outputs.square().sum()

    together = vmap(grad(loss), (None, 0))(parameters, x.detach())
    for i, row in enumerate(x.detach()):
        alone = torch.autograd.grad(experts(row.unsqueeze(0)).square().sum(), list(experts.parameters()))
        for found, expected in zip(together.values(), alone, strict=True):
            torch.testing.assert_close(found[i], expected)


def test_autocast() -> None:
    x, experts = make("swiglu")
    x, experts = x.detach().float(), experts.float()
    with torch.autocast("cpu", torch.bfloat16):
        out = experts(x)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), experts(x), rtol=0.05, atol=0.05)
