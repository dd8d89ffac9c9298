"""The stacked network against plain modules, one model after the other."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from distilled_experts.tabular.network import StackedMixture, matching_width

SIZES = [(2, 3, 4, 5, 7, 3, 9), (1, 1, 1, 3, 2, 1, 5), (3, 1, 2, 4, 1, 2, 1)]  # S A E H D C B


def build(size: tuple[int, ...], top_k: int | None = None, scaled: bool = False) -> tuple[StackedMixture, torch.Tensor]:
    S, A, E, H, D, C, B = size
    options = {"top_k": top_k, "scaled": scaled, "dtype": torch.float64}
    stack = StackedMixture(range(S), A, D, C, n_experts=E, hidden=H, **options)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in stack.parameters():  # members start alike; here they must differ
            p += 0.3 * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return stack, torch.randn(S, B, D, generator=generator, dtype=torch.float64)


def expert_by_hand(stack: StackedMixture, s: int, a: int, e: int, x: torch.Tensor) -> torch.Tensor:
    if stack.feature_scale is not None:
        x = x * stack.feature_scale[s, a]
    hidden = nn.functional.linear(x, stack.hidden_weight[s, a, e], stack.hidden_bias[s, a, e]).relu()
    return nn.functional.linear(hidden, stack.output_weight[s, a, e], stack.output_bias[s, a, e])


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_experts_and_all_their_gradients_are_those_of_single_networks(size, scaled):
    S, A, E = size[:3]
    stack, x = build(size, scaled=scaled)
    x.requires_grad_()
    by_hand = torch.stack(
        [
            torch.stack([torch.stack([expert_by_hand(stack, s, a, e, x[s]) for e in range(E)], 1) for a in range(A)])
            for s in range(S)
        ]
    )
    upstream = torch.randn(by_hand.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    leaves = [x, stack.hidden_weight, stack.hidden_bias, stack.output_weight, stack.output_bias]
    leaves += [stack.feature_scale] if scaled else []
    expected = torch.autograd.grad((by_hand * upstream).sum(), leaves)
    experts = stack(x).experts
    actual = torch.autograd.grad((experts * upstream).sum(), leaves)
    torch.testing.assert_close(experts, by_hand)
    for got, wanted in zip(actual, expected, strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("top_k", [None, 1, 2])
def test_gate_weights_are_those_of_single_gates(top_k):
    stack, x = build(SIZES[0], top_k)
    out = stack(x)
    for s in range(2):
        for a in range(3):
            scores = nn.functional.linear(x[s], stack.gate_weight[s, a], stack.gate_bias[s, a])
            for row, weights in zip(scores, out.weights[s, a], strict=True):
                kept = row.topk(top_k or 4).indices
                wanted = torch.zeros(4, dtype=torch.float64)
                wanted[kept] = row[kept].softmax(0)
                torch.testing.assert_close(weights, wanted)
    if top_k:
        assert torch.equal(out.active, out.weights > 0)


def test_a_groups_models_do_not_depend_on_the_stack_around_them():
    alone = StackedMixture([5], 1, 6, 3, n_experts=4, hidden=8)
    among = StackedMixture([3, 5], 4, 6, 3, n_experts=4, hidden=8)
    for single, stacked in zip(alone.parameters(), among.parameters(), strict=True):
        for member in range(4):
            assert torch.equal(single[0, 0], stacked[1, member])
    assert not torch.equal(among.hidden_weight[0], among.hidden_weight[1])


def test_zero_columns_change_nothing_but_the_shape():
    stack, x = build(SIZES[0])
    wide = StackedMixture(range(2), 3, 9, 3, n_experts=4, hidden=5, fan_in=[7, 7], dtype=torch.float64)
    bound = 7**-0.5
    assert wide.hidden_weight.abs().max() <= bound
    assert wide.hidden_weight.abs().max() > 9**-0.5
    padded = torch.nn.functional.pad(x, (0, 2))
    with torch.no_grad():
        wide.hidden_weight[..., :7], wide.gate_weight[..., :7] = stack.hidden_weight, stack.gate_weight
        for name in ("hidden_bias", "output_weight", "output_bias", "gate_bias"):
            getattr(wide, name).copy_(getattr(stack, name))
    torch.testing.assert_close(wide(padded).mixture(), stack(x).mixture())


def test_selected_models_share_memory_and_agree():
    stack, x = build(SIZES[0], top_k=2)
    part = stack.select(slice(1, 2), slice(2, 3))
    torch.testing.assert_close(part(x[1:2]).mixture(), stack(x).mixture()[1:2, 2:3])
    assert part.hidden_weight.data_ptr() == stack.hidden_weight[1, 2].data_ptr()
    assert part.stack_shape == (1, 1)


@pytest.mark.parametrize("n_experts", [1, 4])
def test_scales_are_those_of_the_features_and_weights_can_take_them_up(n_experts):
    generator = torch.Generator().manual_seed(0)
    shape = {"n_experts": n_experts, "hidden": 5, "dtype": torch.float64}
    plain, scaled = (StackedMixture([0, 1], 3, 7, 2, **shape, scaled=scaled) for scaled in (False, True))
    x = torch.randn(2, 9, 7, generator=generator, dtype=torch.float64)
    assert torch.equal(scaled(x).mixture(), plain(x).mixture())
    with torch.no_grad():
        scaled.feature_scale.copy_(torch.randn(2, 3, 7, generator=generator))
    for s in range(2):
        for a in range(3):
            expected = plain.select(slice(s, s + 1), slice(a, a + 1))(x[s : s + 1] * scaled.feature_scale[s, a])
            found = scaled.select(slice(s, s + 1), slice(a, a + 1))(x[s : s + 1])
            torch.testing.assert_close(found.mixture(), expected.mixture())
    merged = scaled.merged()
    torch.testing.assert_close(merged(x).mixture(), scaled(x).mixture())
    assert merged.feature_scale is None
    assert dict(merged.named_parameters()).keys() == dict(plain.named_parameters()).keys()


def test_one_expert_is_a_plain_network_without_a_gate():
    stack, x = build(SIZES[1])
    assert not hasattr(stack, "gate_weight")
    torch.testing.assert_close(stack(x).mixture()[0, 0], expert_by_hand(stack, 0, 0, 0, x[0]))


@pytest.mark.parametrize(("features", "outputs"), [(5, 2), (64, 10), (617, 26), (3, 1)])
def test_the_dense_network_has_as_many_parameters_as_the_mixture(features, outputs):
    mixture = StackedMixture([0], 1, features, outputs, n_experts=4, hidden=16).parameters_per_model()
    width = matching_width(mixture, features, outputs)
    dense = StackedMixture([0], 1, features, outputs, n_experts=1, hidden=width).parameters_per_model()
    assert abs(dense - mixture) <= (features + 1 + outputs) / 2
