"""The fast products against plain autograd, expert by expert."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from distilled_experts.layers import MixtureOfExperts
from distilled_experts.layers.activations import ACTIVATIONS, Activation
from distilled_experts.layers.grouped_products import backward_grouped, can_be_grouped, forward_grouped
from distilled_experts.layers.products import (
    Maps,
    Needs,
    _faster_transposed,
    backward_one_by_one,
    forward_one_by_one,
)
from distilled_experts.layers.sorted_experts import run_sorted

ACTIVATION_NAMES: tuple[Activation, ...] = ("relu", "gelu", "swiglu")
COUNTS = ([3, 0, 5, 1], [0, 0, 9, 0], [0, 0, 0, 0], [1, 1, 1, 1])


def make(
    counts: Sequence[int],
    activation: Activation,
    *,
    bias: bool = True,
    dtype: torch.dtype = torch.float64,
    widths: tuple[int, int, int] = (6, 5, 3),
) -> tuple[Tensor, Tensor, Maps]:
    generator = torch.Generator().manual_seed(0)
    d_in, hidden, d_out = widths
    n_experts, width = len(counts), ACTIVATIONS[activation].n_ups * hidden

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()

    maps = Maps(
        draw(n_experts, width, d_in),
        draw(n_experts, width) if bias else None,
        draw(n_experts, d_out, hidden),
        draw(n_experts, d_out) if bias else None,
    )
    return draw(sum(counts), d_in), torch.tensor(counts), maps


def plain(rows: Tensor, counts: Tensor, maps: Maps, activation: Activation) -> Tensor:
    """The oracle: matrix products as they are written on paper."""
    experts = torch.arange(len(counts)).repeat_interleave(counts)
    outputs = []
    for row, e in zip(rows, experts.tolist(), strict=True):
        before = maps.up[e] @ row + (0 if maps.up_bias is None else maps.up_bias[e])
        hidden = ACTIVATIONS[activation].apply(before, -1)
        outputs.append(maps.down[e] @ hidden + (0 if maps.down_bias is None else maps.down_bias[e]))
    return torch.stack(outputs) if outputs else rows.new_zeros(0, maps.down.shape[1]) + 0 * rows.sum()


def close(found: Tensor, expected: Tensor) -> None:
    """Equal but for the rounding of bfloat16."""
    scale = expected.abs().max().item() if expected.numel() else 0.0
    torch.testing.assert_close(found, expected, rtol=0.0, atol=0.03 * scale)


def inputs_of(rows: Tensor, maps: Maps) -> list[Tensor]:
    return [rows, *(values for values in maps if values is not None)]


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
@pytest.mark.parametrize("counts", COUNTS)
def test_values_and_gradients(counts: list[int], activation: Activation, bias: bool, recompute: bool) -> None:
    rows, counts_E, maps = make(counts, activation, bias=bias)
    upstream = torch.randn(len(rows), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = run_sorted(rows, counts_E, maps, activation, recompute)
    expected = plain(rows, counts_E, maps, activation)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    inputs = inputs_of(rows, maps)
    gradients = torch.autograd.grad(found, inputs, upstream)
    oracle = torch.autograd.grad(expected, inputs, upstream, materialize_grads=True, allow_unused=True)
    for one, other in zip(gradients, oracle, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bias", [False, True])
def test_few_rows_and_wide_experts(bias: bool) -> None:
    """Those whose products are computed the other way round, and their neighbours."""
    rows, counts_E, maps = make([1, 2, 3, 4, 5], "swiglu", bias=bias, dtype=torch.float32, widths=(256, 256, 3))
    exact = Maps(*(None if values is None else values.double() for values in maps))
    assert [_faster_transposed(rows[:n], maps.up[0]) for n in range(1, 6)] == [False, True, True, True, False]
    with torch.no_grad():
        found = run_sorted(rows, counts_E, maps, "swiglu")
        expected = plain(rows.double(), counts_E, exact, "swiglu")
    torch.testing.assert_close(found.double(), expected, rtol=0.0, atol=1e-6 * expected.abs().max().item())


@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_gradients_of_gradients(activation: Activation) -> None:
    rows, counts_E, maps = make([2, 0, 3], activation)
    assert torch.autograd.gradgradcheck(
        lambda *inputs: run_sorted(inputs[0], counts_E, Maps(*inputs[1:]), activation), inputs_of(rows, maps)
    )


@pytest.mark.parametrize("wanted", list(itertools.product([False, True], repeat=3)))
def test_only_what_is_wanted(wanted: tuple[bool, bool, bool]) -> None:
    rows, counts_E, maps = make([2, 4], "swiglu")
    inputs = [rows, maps.up, maps.down]
    expected = torch.autograd.grad(plain(rows, counts_E, maps, "swiglu").sum(), inputs)
    for values in inputs_of(rows, maps):
        values.requires_grad_(False)
    for values, is_wanted in zip(inputs, wanted, strict=True):
        values.requires_grad_(is_wanted)
    output = run_sorted(rows, counts_E, maps, "swiglu")
    assert output.requires_grad == any(wanted)
    if any(wanted):
        output.sum().backward()
    for values, is_wanted, gradient in zip(inputs, wanted, expected, strict=True):
        assert (values.grad is not None) == is_wanted
        if values.grad is not None:
            torch.testing.assert_close(values.grad, gradient, rtol=1e-12, atol=1e-12)


@given(counts=st.lists(st.integers(0, 150), min_size=1, max_size=4), activation=st.sampled_from(ACTIVATION_NAMES))
@settings(max_examples=25, deadline=None)
def test_rounded_numbers_of_rows_change_nothing(counts: list[int], activation: Activation) -> None:
    """In bfloat16 products go on into rows of the next experts: what they write there must not stay."""
    rows, counts_E, maps = make(counts, activation, dtype=torch.bfloat16, widths=(16, 8, 8))
    upstream = torch.randn(len(rows), 8, generator=torch.Generator().manual_seed(1)).bfloat16()
    inputs = inputs_of(rows, maps)
    output = run_sorted(rows, counts_E, maps, activation)
    found = torch.autograd.grad(output, inputs, upstream)
    start = 0
    for e, count in enumerate(counts):
        alone = Maps(*(None if values is None else values[e : e + 1] for values in maps))
        part = slice(start, start + count)
        expected = run_sorted(
            rows[part].float(), counts_E[e : e + 1], Maps(*(v if v is None else v.float() for v in alone)), activation
        )
        close(output[part].float(), expected)
        gradients = torch.autograd.grad(expected, inputs, upstream[part].float(), allow_unused=True)
        close(found[0][part], gradients[0][part])
        for one, other in zip(found[1:], gradients[1:], strict=True):
            close(one[e], other[e])
        start += count


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
@pytest.mark.parametrize("counts", [[3, 0, 5, 1], [0, 0, 9, 0]])
def test_all_experts_in_one_call(counts: list[int], activation: Activation, bias: bool) -> None:
    """What runs on a GPU, here on the CPU, whose grouped products take float32."""
    rows, counts_E, maps = make(counts, activation, bias=bias, dtype=torch.float32, widths=(8, 4, 12))
    assert not can_be_grouped(rows, maps)
    rows, maps = rows.detach(), Maps(*(None if values is None else values.detach() for values in maps))
    upstream = torch.randn(len(rows), 12, generator=torch.Generator().manual_seed(1))
    forms, needs = ACTIVATIONS[activation], Needs(True, True)
    one_by_one = forward_one_by_one(rows, counts, maps, forms, True)
    grouped = forward_grouped(rows, counts_E, maps, forms, True)
    torch.testing.assert_close(grouped[0], one_by_one[0])
    oracle = backward_one_by_one(upstream, rows, one_by_one[1], counts, maps, forms, needs)
    kept = backward_grouped(upstream, rows, grouped[1], counts_E, maps, forms, needs)
    computed_again = backward_grouped(upstream, rows, rows.new_empty(0), counts_E, maps, forms, needs)
    for gradients in (kept, computed_again):
        for found, expected in zip(gradients, oracle, strict=True):
            torch.testing.assert_close(found, expected)
    rows_alone = backward_grouped(upstream, rows, grouped[1], counts_E, maps, forms, Needs(True, False))
    torch.testing.assert_close(rows_alone[0], oracle[0])
    assert rows_alone[1:] == (None,) * 4


def test_autocast() -> None:
    rows, counts_E, maps = make([4, 2], "swiglu", dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        output = run_sorted(rows, counts_E, maps, "swiglu")
    assert output.dtype == torch.bfloat16
    output.sum().backward()
    assert rows.grad is not None
    assert rows.grad.dtype == torch.float32
    torch.testing.assert_close(output.float(), plain(rows, counts_E, maps, "swiglu"), rtol=0.05, atol=0.3)


def test_operations_keep_what_pytorch_asks_of_them() -> None:
    rows, counts_E, maps = make([2, 0, 3], "swiglu", dtype=torch.float32)
    torch.library.opcheck(torch.ops.distilled_experts.sorted_experts, (rows, counts_E, *maps, "swiglu", True))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # by torch.compile itself
@pytest.mark.parametrize("top_k", [2, None])
@pytest.mark.parametrize("distance", ["mse", "relative"])
def test_the_layer_compiles_as_one_graph(distance: str, top_k: int | None) -> None:
    layer = MixtureOfExperts(
        6,
        4,
        hidden=8,
        n_experts=4,
        top_k=top_k,
        activation="swiglu",
        distance=distance,
        generator=torch.Generator().manual_seed(0),
    )
    x = torch.randn(10, 6, generator=torch.Generator().manual_seed(1), requires_grad=True)

    def loss(x: Tensor) -> Tensor:
        out = layer(x)
        assert out.distillation_loss is not None
        return out.output.square().mean() + out.distillation_loss

    inputs = [x, *layer.parameters()]
    expected = torch.autograd.grad(loss(x), inputs)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        for one, other in zip(torch.autograd.grad(compiled(x), inputs), expected, strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_two_runs_have_the_same_bits(dtype: torch.dtype) -> None:
    def gradients() -> list[Tensor]:
        layer = MixtureOfExperts(
            16, 8, hidden=8, n_experts=4, top_k=2, generator=torch.Generator().manual_seed(0), dtype=dtype
        )
        out = layer(torch.randn(100, 16, generator=torch.Generator().manual_seed(1)).to(dtype))
        assert out.distillation_loss is not None
        (out.output.float().square().sum() + out.distillation_loss).backward()
        return [parameter.grad for parameter in layer.parameters() if parameter.grad is not None]

    assert all(torch.equal(one, other) for one, other in zip(gradients(), gradients(), strict=True))
