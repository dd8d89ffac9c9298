"""Routing taken over at one layer of a model: exact, and gone without a trace."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from distilled_experts.errors import InvalidParameterError
from distilled_experts.layers import MixtureOfExperts, Routing, forced_expert, forced_routing, recorded_calls


class Deep(nn.Module):
    def __init__(self, top_k: int | None = None, n_shared: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        sizes = {"hidden": 6, "n_experts": 3, "top_k": top_k, "n_shared": n_shared, "dtype": torch.float64}
        self.bottom = MixtureOfExperts(4, 5, generator=generator, **sizes)
        self.top = MixtureOfExperts(5, 2, generator=generator, **sizes)

    def forward(self, x: Tensor) -> Tensor:
        return self.top(x=self.bottom(x).output.relu()).output


def rows() -> Tensor:
    return torch.randn(7, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("top_k", [None, 2, 1])
@pytest.mark.parametrize("n_shared", [0, 1])
@pytest.mark.filterwarnings("ignore:top_k=1")
@pytest.mark.parametrize("expert", [0, 2])
def test_one_expert_alone_is_written_out_by_hand(top_k, n_shared, expert):
    model, x = Deep(top_k, n_shared).eval(), rows()
    with forced_expert(model.bottom, expert):
        found = model(x)
    alone = model.bottom.experts(x)[:, expert]
    if n_shared:
        alone = alone + model.bottom.shared(x).sum(-2)
    torch.testing.assert_close(found, model.top(alone.relu()).output)


def test_the_model_is_afterwards_as_before_even_after_a_failure():
    model, x = Deep(2).eval(), rows()
    before = model(x)
    with pytest.raises(RuntimeError), forced_expert(model.top, 1), recorded_calls(model.bottom):
        model(x[:, :2])
    assert torch.equal(model(x), before)
    for part in model.modules():
        assert not part._forward_hooks
        assert not part._forward_pre_hooks


def test_blocks_within_blocks_each_rule_their_own_layer():
    model, x = Deep().eval(), rows()
    with forced_expert(model.bottom, 0), recorded_calls(model.top) as calls:
        with forced_expert(model.top, 1):
            model(x)
        model(x)
    forced, free = calls
    assert torch.equal(forced.x, free.x)
    assert forced.out.routing.indices.unique().tolist() == [1]
    assert free.out.routing.indices is None


def test_a_routing_of_ones_own_is_taken_with_any_leading_axes():
    layer = MixtureOfExperts(4, 2, hidden=3, n_experts=2, dtype=torch.float64)
    x = rows()[:6].reshape(2, 3, 4)

    def halves(given: Tensor) -> Routing:
        return Routing(given.new_zeros(2, 3, 2), given.new_full((2, 3, 2), 0.5))

    with forced_routing(layer, halves):
        out = layer(x).output
    torch.testing.assert_close(out, layer.experts(x.reshape(6, 4)).mean(1).reshape(2, 3, 2))


@pytest.mark.parametrize("expert", [-1, 3, 0.0, True])
def test_an_expert_that_is_not_there(expert):
    with pytest.raises(InvalidParameterError, match=r"expert: .* allowed: whole numbers from 0 to 2"):
        forced_expert(Deep().top, expert).__enter__()
