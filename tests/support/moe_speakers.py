"""What the experts of every kind of mixture say, asked one by one by the model's own means."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilled_experts.transformers.mixtures import Mixture


def interface(layer: nn.Module, hidden: Tensor, indices: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """All experts on all tokens, one expert a call, and the active ones of each token."""
    one = torch.ones_like(weights[:, :1])
    said = [
        type(layer).forward(layer, hidden, torch.full_like(indices[:, :1], i), one).reshape(len(weights), -1)
        for i in range(layer.num_experts)
    ]
    return torch.stack(said, 1), F.one_hot(indices, layer.num_experts).sum(1).bool()


def switch(layer: nn.Module, hidden: Tensor, one_hot: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    return torch.stack([expert(hidden) for expert in layer.values()], 1), one_hot[:, 0].bool()


def nllb(layer: nn.Module, hidden: Tensor, slots: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """A slot with a weight is the first expert's where its entry is 0, the second one's where it is 1."""
    said = torch.stack([layer.expert_0(hidden), layer.expert_1(hidden)], 1)
    runs = [((slots == i) & (weights > 0)).any(-1) for i in range(2)]
    return said if layer.training else said * (1 - layer.moe_token_dropout), torch.stack(runs, -1)


def jetmoe(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    flat, said = x.reshape(-1, x.shape[-1]), []
    for up, down in zip(layer.input_linear.weight, layer.output_linear.weight, strict=True):
        gate, value = F.linear(flat, up).chunk(2, -1)
        said.append(F.linear(layer.activation(gate) * value, down))
    chosen = layer.router.layer(flat).topk(layer.router.top_k).indices
    return torch.stack(said, 1), F.one_hot(chosen, len(said)).sum(1).bool()


def llama4(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    flat, said = x.reshape(-1, x.shape[-1]), []
    for up, down in zip(layer.experts.gate_up_proj, layer.experts.down_proj, strict=True):
        gate, value = (flat @ up).chunk(2, -1)
        said.append((value * layer.experts.act_fn(gate)) @ down)
    chosen = F.linear(flat, layer.router.weight).topk(layer.top_k).indices
    return torch.stack(said, 1), F.one_hot(chosen, len(said)).sum(1).bool()


SPEAKERS: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "SwitchTransformersExperts": switch,
    "NllbMoeExperts": nllb,
    "JetMoeMoE": jetmoe,
    "Llama4TextMoe": llama4,
}


def speak(layer: nn.Module, *args: Tensor) -> tuple[Tensor, Tensor]:
    """What all experts say of each token, (T, E, D), and which of them are active, (T, E)."""
    return SPEAKERS.get(type(layer).__name__, interface)(layer, *args)


@contextmanager
def listening(mixtures: Sequence[Mixture], every_expert: bool) -> Iterator[list[tuple[Mixture, Tensor, Tensor]]]:
    """Collect what all experts say of each token, (T, E, D), and which of them are compared, (T, E)."""
    heard: list[tuple[Mixture, Tensor, Tensor]] = []

    def listen(mixture: Mixture) -> Callable[..., None]:
        def hook(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            said, active = speak(layer, *args)
            heard.append((mixture, said, active.any(-1, True).expand_as(active) if every_expert else active))

        return hook

    handles = [mixture.layer.register_forward_hook(listen(mixture)) for mixture in mixtures]
    yield heard
    for handle in handles:
        handle.remove()
