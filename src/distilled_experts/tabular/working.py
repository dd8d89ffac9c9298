"""The groups of a stack that are still in training: their part of the network, and its optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from distilled_experts.tabular.network import FIRST_WEIGHTS, StackedMixture

__all__ = ["WorkingStack"]

_MOMENTS = ("exp_avg", "exp_avg_sq")
# What matters among the features must stand out before weight decay has taken it for noise.
_RATE_FACTORS = {"feature_scale": 20.0}


class WorkingStack:
    """Network and Adam of the groups in training; groups can leave, the others go on as if nothing had happened.

    Parameters
    ----------
    network : StackedMixture
        Trained in place as long as no group has left.
    learning_rate : float
        That of feature scales is 20 times as high.
    weight_decay : float or sequence of float, length A
        Of the weights that meet the features: those of hidden layer and gate. They shrink in every step by its product
        with the learning rate; so Adam, whose steps have one size, keeps them below its inverse, and what gradients of
        changing sign move stays far below.
    frozen : sequence of str
        Names of parameters that stay as they are.

    Attributes
    ----------
    groups : Tensor of int64
        Numbers of the groups in training, ascending.
    """

    def __init__(
        self,
        network: StackedMixture,
        learning_rate: float,
        weight_decay: float | Sequence[float],
        frozen: Sequence[str] = (),
    ) -> None:
        self.network = network
        self.frozen = frozenset(frozen)
        self.groups = torch.arange(network.stack_shape[0], device=network.hidden_weight.device)
        decays = [weight_decay] * network.stack_shape[1] if isinstance(weight_decay, float | int) else weight_decay
        self._rate, self._decay = learning_rate, network.hidden_weight.new_tensor(decays)
        self._decays = any(decays)
        self.optimizer = self._make_optimizer()

    def set_learning_rate(self, rate: float) -> None:
        """Take another learning rate for the next step."""
        self._rate = rate
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]

    def step(self, loss: Tensor) -> None:
        """Follow the gradient of a loss."""
        self.optimizer.zero_grad()
        loss.backward()
        self._shrink()
        self.optimizer.step()

    def keep(self, kept: Tensor) -> None:
        """Go on with some groups alone; `kept` says which of the present ones, as bools."""
        moments = self._moments()
        self._take_network({name: p.detach()[kept] for name, p in self.network.named_parameters()})
        self.groups = self.groups[kept]
        self._set_moments({key: value if key.endswith("step") else value[kept] for key, value in moments.items()})

    def state(self) -> dict[str, Tensor]:
        """Tensors that `restore` goes on from."""
        weights = {f"parameter.{name}": p.detach() for name, p in self.network.named_parameters()}
        return {"groups": self.groups, **weights, **self._moments()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` returned."""
        self.groups = state["groups"].clone()
        self._take_network({name: state[f"parameter.{name}"] for name, _ in self.network.named_parameters()})
        self._set_moments(state)

    def _take_network(self, weights: dict[str, Tensor]) -> None:
        network, device = self.network, self.network.hidden_weight.device
        self.network = StackedMixture.from_weights(weights, top_k=network.top_k, encoding=network.encoding).to(device)
        self.optimizer = self._make_optimizer()

    @torch.no_grad()
    def _shrink(self) -> None:
        """Decay as in AdamW, which takes one strength for all members, but never beyond zero."""
        if not self._decays:
            return
        kept = (1 - self._rate * self._decay).clamp(min=0)
        for name, p in self._trained():
            if name in FIRST_WEIGHTS:
                p.mul_(kept.view(-1, *(1 for _ in p.shape[2:])))

    def _make_optimizer(self) -> torch.optim.Adam:
        for name, p in self.network.named_parameters():
            p.requires_grad_(name not in self.frozen)
        by_factor: dict[float, list[nn.Parameter]] = {}
        for name, p in self._trained():
            by_factor.setdefault(_RATE_FACTORS.get(name, 1.0), []).append(p)
        groups: list[dict[str, Any]] = [
            {"params": parameters, "lr": self._rate * factor, "factor": factor}
            for factor, parameters in by_factor.items()
        ]
        return torch.optim.Adam(groups, fused=True)

    def _trained(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, p) for name, p in self.network.named_parameters() if name not in self.frozen]

    def _moments(self) -> dict[str, Tensor]:
        """The optimizer's tensors by parameter and name; none before the first step."""
        states = ((name, self.optimizer.state.get(p, {})) for name, p in self._trained())
        return {f"optimizer.{name}.{key}": value for name, state in states for key, value in state.items()}

    def _set_moments(self, moments: dict[str, Tensor]) -> None:
        for name, p in self._trained():
            self.optimizer.state[p] = {key: moments[f"optimizer.{name}.{key}"].clone() for key in ("step", *_MOMENTS)}


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """Copies of the parameters by name."""
    return {name: p.detach().clone() for name, p in network.named_parameters()}
