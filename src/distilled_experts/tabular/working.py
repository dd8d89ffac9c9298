"""The groups of a stack that are still in training: their part of the network, and its optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from distilled_experts.tabular.network import StackedMixture

__all__ = ["WorkingStack"]

_MOMENTS = ("exp_avg", "exp_avg_sq")


class WorkingStack:
    """Network and AdamW of the groups in training; groups can leave, the others go on as if nothing had happened.

    Parameters
    ----------
    network : StackedMixture
        Trained in place as long as no group has left.
    learning_rate, weight_decay : float
        Biases do not decay.
    frozen : sequence of str
        Names of parameters that stay as they are.

    Attributes
    ----------
    groups : Tensor of int64
        Numbers of the groups in training, ascending.
    """

    def __init__(
        self, network: StackedMixture, learning_rate: float, weight_decay: float, frozen: Sequence[str] = ()
    ) -> None:
        self.network = network
        self.frozen = frozenset(frozen)
        self.groups = torch.arange(network.stack_shape[0], device=network.hidden_weight.device)
        self._rate, self._decay = learning_rate, weight_decay
        self.optimizer = self._make_optimizer()

    def set_learning_rate(self, rate: float) -> None:
        """Take another learning rate for the next step."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def step(self, loss: Tensor) -> None:
        """Follow the gradient of a loss."""
        self.optimizer.zero_grad()
        loss.backward()
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

    def _make_optimizer(self) -> torch.optim.AdamW:
        for name, p in self.network.named_parameters():
            p.requires_grad_(name not in self.frozen)
        named = self._trained()
        decayed: dict[str, Any] = {"params": [p for name, p in named if name.endswith("weight")]}
        kept: dict[str, Any] = {"params": [p for name, p in named if name.endswith("bias")], "weight_decay": 0.0}
        return torch.optim.AdamW([decayed, kept], lr=self._rate, weight_decay=self._decay, fused=True)

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
