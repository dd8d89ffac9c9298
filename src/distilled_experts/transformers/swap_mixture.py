"""The mixture that takes the place of a dense feed-forward.

Legend: T tokens, E experts, k active, d width of the model, H hidden units.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedConfig, initialization
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from distilled_experts.functional import combine
from distilled_experts.layers import Dispatch, Gate
from distilled_experts.transformers.swap_forms import Linear, Pieces, linear_bias, linear_weight


class FeedForwardExperts(nn.Module):
    """Feed-forwards of one shape, their weights stacked, on the experts interface of Transformers.

    Whatever works on the experts of a mixture there works on these: ``set_experts_implementation``, and mutual
    distillation.

    Parameters
    ----------
    pieces : Pieces
        Of the dense feed-forward: its shape, activation and dropout; its weights are not taken.
    n_experts : int
        The number of experts E.
    config : PreTrainedConfig
        Of the model; names the implementation.

    Attributes
    ----------
    up_proj : Parameter (E, H, d), or gate_up_proj (E, 2H, d), the gate's half first
    down_proj : Parameter (E, d, H)
    up_proj_bias or gate_up_proj_bias, down_proj_bias : Parameter (E, H) or (E, 2H), (E, d), where the dense one has any
    """

    down_proj: nn.Parameter

    def __init__(self, pieces: Pieces, n_experts: int, config: PreTrainedConfig) -> None:
        super().__init__()
        weight = linear_weight(pieces.down)
        self.config = config
        self.num_experts = n_experts
        self.hidden_dim, self.intermediate_dim = weight.shape
        self.activation = pieces.activation
        self.dropout = nn.Dropout(pieces.dropout)
        # What the interface asks for.
        self.has_gate = len(pieces.ups) == 2
        self.has_bias = any(linear_bias(piece) is not None for piece in (*pieces.ups, pieces.down))
        self.has_post_expert_norm = self.is_transposed = self._is_expert_parallel = False
        self.is_concatenated = True
        self._up = "gate_up_proj" if self.has_gate else "up_proj"

        def empty(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(n_experts, *shape, device=weight.device, dtype=weight.dtype))

        width = self.intermediate_dim * len(pieces.ups)
        for name, shape in {self._up: (width, self.hidden_dim), "down_proj": tuple(weight.shape)}.items():
            self.register_parameter(name, empty(*shape))
            self.register_parameter(f"{name}_bias", empty(shape[0]) if self.has_bias else None)

    def maps(self) -> list[tuple[Tensor, Tensor | None]]:
        """Weight and bias of the way up and of the way down."""
        return [(getattr(self, name), getattr(self, f"{name}_bias")) for name in (self._up, "down_proj")]

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all values as `torch.nn.Linear` draws them."""
        for weight, bias in self.maps():
            bound = 1 / math.sqrt(weight.shape[-1])
            for values in (weight, bias):
                if values is not None:
                    initialization.uniform_(values, -bound, bound, generator=generator)

    @torch.no_grad()
    def copy_dense(self, pieces: Pieces, perturbation: float, generator: torch.Generator | None = None) -> None:
        """Make every expert a copy of a dense feed-forward, its weights moved by noise of this relative size."""
        for (weight, bias), dense in zip(self.maps(), (pieces.ups, [pieces.down]), strict=True):
            blocks = [_perturbed(linear_weight(piece), len(weight), perturbation, generator) for piece in dense]
            weight.copy_(torch.cat(blocks, -2))
            if bias is not None:
                bias.copy_(torch.cat([_bias(piece) for piece in dense]))

    def act_fn(self, hidden: Tensor) -> Tensor:
        """Activation and dropout, which lie between the ways up and down."""
        activated: Tensor = self.dropout(self.activation(hidden))
        return activated

    def _apply_gate(self, gate_up: Tensor) -> Tensor:
        gate, up = gate_up.chunk(2, -1)
        gated: Tensor = self.dropout(self.activation(gate) * up)
        return gated

    def forward(self, x_Td: Tensor, indices_Tk: Tensor, weights_Tk: Tensor) -> Tensor:
        """Mix the active experts of each token: (T, d), (T, k), (T, k) → (T, d)."""
        name = self.config._experts_implementation
        if name == "grouped_mm" and not self._can_be_grouped():
            name = "eager"
        implementation: Callable[..., Tensor] = ALL_EXPERTS_FUNCTIONS.get_interface(name, type(self)._eager)
        return implementation(self, x_Td, indices_Tk, weights_Tk)

    def _can_be_grouped(self) -> bool:
        """Tell whether PyTorch has a grouped product: not in double precision, and for rows of whole 16 bytes."""
        size = self.down_proj.element_size()
        return size < 8 and all(width * size % 16 == 0 for width in (self.hidden_dim, self.intermediate_dim))

    def _eager(self, x_Td: Tensor, indices_Tk: Tensor, weights_Tk: Tensor) -> Tensor:
        dispatch = Dispatch.from_indices(indices_Tk, self.num_experts)
        activate = self._apply_gate if self.has_gate else self.act_fn
        ups, downs = (zip(weight.unbind(), _unbound(bias), strict=False) for weight, bias in self.maps())
        inputs = dispatch.gather(x_Td).split(dispatch.counts.tolist())
        rows = [F.linear(activate(F.linear(x, *up)), *down) for x, up, down in zip(inputs, ups, downs, strict=True)]
        return combine(dispatch.restore(torch.cat(rows)), weights_Tk, distillation=False)[0]

    def extra_repr(self) -> str:
        """Describe the experts in the module's representation."""
        return f"{self.hidden_dim}, hidden={self.intermediate_dim}, n_experts={self.num_experts}"


class FeedForwardMixture(nn.Module):
    """Sparse mixture in the place of a dense feed-forward: (*, d) → (*, d).

    Parameters
    ----------
    pieces : Pieces
        Of the dense feed-forward.
    config : PreTrainedConfig
        Of the swapped model.

    Attributes
    ----------
    router : Gate
        Linear, without bias; softmax over the k largest scores.
    experts : FeedForwardExperts
    """

    def __init__(self, pieces: Pieces, config: PreTrainedConfig) -> None:
        super().__init__()
        weight = linear_weight(pieces.down)
        n_experts, top_k = config.mixtures["n_experts"], config.mixtures["top_k"]
        self.router = Gate(len(weight), n_experts, top_k=top_k, bias=False, device=weight.device, dtype=weight.dtype)
        self.experts = FeedForwardExperts(pieces, n_experts, config)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the experts for each token."""
        x_Td = x.reshape(-1, x.shape[-1])
        routing = self.router(x_Td)
        output: Tensor = self.experts(x_Td, routing.indices, routing.weights)
        return output.reshape(x.shape)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all values anew."""
        bound = 1 / math.sqrt(self.router.weight.shape[-1])
        initialization.uniform_(self.router.weight, -bound, bound, generator=generator)
        self.experts.reset_parameters(generator)


def _perturbed(weight: Tensor, n_experts: int, relative: float, generator: torch.Generator | None) -> Tensor:
    copies = weight.expand(n_experts, *weight.shape)
    if relative == 0:
        return copies
    noise = torch.randn(copies.shape, generator=generator, device=weight.device, dtype=weight.dtype)
    return copies + relative * weight.std() * noise


def _bias(piece: Linear) -> Tensor:
    weight, bias = linear_weight(piece), linear_bias(piece)
    return weight.new_zeros(len(weight)) if bias is None else bias


def _unbound(bias: Tensor | None) -> Iterable[Tensor | None]:
    return itertools.repeat(None) if bias is None else bias.unbind()
