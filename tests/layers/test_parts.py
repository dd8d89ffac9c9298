"""Gate, dispatch, experts and records one by one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distilled_experts.functional import importance, load_balance, z_loss
from distilled_experts.layers import Dispatch, Experts, Gate, MoEOutput, Routing


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(n=st.integers(0, 8), n_experts=st.integers(1, 6), k=st.integers(1, 6), seed=st.integers(0, 1000))
@settings(max_examples=40)
def test_dispatch_there_and_back(n: int, n_experts: int, k: int, seed: int) -> None:
    k = min(k, n_experts)
    indices = torch.rand(n, n_experts, generator=seeded(seed)).argsort(-1)[:, :k]
    dispatch = Dispatch.from_indices(indices, n_experts)
    x = torch.arange(n * 2.0).reshape(n, 2)
    rows = dispatch.gather(x)
    assert sum(dispatch.counts) == len(rows) == n * k
    assert len(dispatch.counts) == n_experts
    assert torch.equal(dispatch.restore(rows), x.unsqueeze(1).expand(n, k, 2))
    expert = torch.arange(n_experts).repeat_interleave(dispatch.counts)
    assert torch.equal(dispatch.restore(expert.unsqueeze(-1)).squeeze(-1), indices)


def test_initial_values_come_from_the_generator_alone() -> None:
    state = torch.get_rng_state()
    first = Experts(3, 2, hidden=5, n_experts=4, generator=seeded())
    gate = Gate(3, 4, noise=1.0, generator=seeded())
    gate(torch.ones(2, 3))
    assert torch.equal(state, torch.get_rng_state())
    second = Experts(3, 2, hidden=5, n_experts=4, generator=seeded())
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
    assert first.up.abs().max() <= 3**-0.5
    assert first.down.abs().max() <= 5**-0.5


def test_experts_keep_a_layout_with_experts_outermost() -> None:
    outputs = Experts(3, 2, hidden=5, n_experts=4)(torch.ones(6, 3))
    assert outputs.shape == (6, 4, 2)
    assert outputs.stride() == (1, 12, 6)


def test_noise_has_the_spread_of_the_paper() -> None:
    gate = Gate(1, 2, noise=2.0, bias=False, generator=seeded())
    assert gate.noise_weight is not None
    with torch.no_grad():
        gate.noise_weight.fill_(1.5)
    x = torch.ones(20_000, 1)
    noise = gate(x).scores - x @ gate.weight.T
    spread = 2 * torch.nn.functional.softplus(torch.tensor(1.5)).item()
    assert noise.std().item() == pytest.approx(spread, rel=0.02)
    assert noise.mean().item() == pytest.approx(0, abs=0.05)
    gate.eval()
    assert torch.equal(gate(x).scores, x @ gate.weight.T)


def test_losses_of_a_record() -> None:
    scores = torch.randn(2, 3, 4, generator=seeded())
    weight = torch.tensor([[1.0, 1, 0], [1, 0, 0]])
    keep = weight.bool()
    gate = Gate(1, 4, top_k=2)
    with torch.no_grad():
        gate.weight.zero_()
    top = scores.topk(2)
    sparse = Routing(scores, top.values.softmax(-1), top.indices)
    dense = Routing(scores, scores.softmax(-1))
    for routing in (sparse, dense):
        out = MoEOutput(torch.zeros(2, 3, 1), None, routing, sample_weight=weight)
        torch.testing.assert_close(out.z_loss, z_loss(scores[keep]))
        if routing is dense:
            expected = importance(dense.weights[keep])
        else:
            expected = load_balance(scores.softmax(-1)[keep], sparse.mask()[keep])
        torch.testing.assert_close(out.balance_loss, expected)
    assert sparse.dense_weights().count_nonzero() == 12
    assert torch.equal(dense.dense_weights(), dense.weights)
    assert dense.mask().all()


def test_representation_and_state(tmp_path: object) -> None:
    gate = Gate(3, 4, top_k=2)
    experts = Experts(3, 2, hidden=5, n_experts=4, activation="swiglu", bias=False)
    assert "top_k=2" in repr(gate)
    assert "hidden=5, n_experts=4" in repr(experts)
    assert {name: tuple(value.shape) for name, value in experts.state_dict().items()} == {
        "up": (4, 10, 3),
        "down": (4, 2, 5),
    }
